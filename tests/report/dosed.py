"""A made-up sweep with a known exchange rate: FID depends on nothing but how many real images a training set equals."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fabricate
import numpy as np

from bench import ledger
from bench.ledger import Row

NUM = 1024
ALONE = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares left out in the arms of real images alone, of which 0 is a blend."""
WORTH = {0.25: 0.9, 0.5: 0.6, 0.75: 0.3, 1.0: 0.4}
"""Synthetic ratio -> worth of one synthetic image at generation 1. It falls by FADE a generation."""
FADE = 0.15


def fid_of(size: float) -> float:
    """Return the FID that so many real images alone reach."""
    return 40 + 9000 * size**-0.6


def worth(ratio: float, generation: int) -> float:
    return WORTH[ratio] - FADE * (generation - 1) * ratio


def sweep(
    directory: Path,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    num_generations: int = 4,
    noise: float = 0.01,
    alone: tuple[float, ...] = ALONE,
    ratios: Mapping[float, tuple[int, ...] | None] | None = None,
    **kwargs: Any,
) -> Path:
    """Write ledgers below `directory` and return the sweep's directory. ratios: ratio -> its seeds, None for all."""
    arms = [("real_only" if ratio else "blend", ratio, seeds) for ratio in alone]
    chosen = dict.fromkeys(WORTH) if ratios is None else ratios
    arms += [("blend", ratio, own or seeds) for ratio, own in chosen.items()]
    for policy, ratio, own in arms:
        for seed in own:
            for generation in range(num_generations):
                made = _row(policy, ratio, generation, seed, noise, **kwargs)
                ledger.append(directory / "dosed" / made.chain / ledger.FILENAME, made)
    return directory / "dosed"


def _row(policy: str, ratio: float, generation: int, seed: int, noise: float, **kwargs: Any) -> Row:
    made = fabricate.row(ratio, generation, seed, sweep="dosed", policy=policy, **kwargs)
    num_other = round(NUM * ratio) if generation else 0
    is_mixed = policy == "blend" and num_other > 0
    size = NUM - num_other + (num_other * worth(ratio, generation) if is_mixed else 0)
    key = [seed, generation, round(100 * ratio) if generation else 0, policy == "blend" or generation == 0]
    draw = np.random.default_rng(key).normal() + np.random.default_rng([seed]).normal()
    value = fid_of(size) * float(np.exp(noise * draw))
    fid = next(s for s in made.scores if (s["metric"], s["reference"], s["subject"]) == ("fid", "heldout", "samples"))
    others = [s for s in made.scores if s is not fid]
    num_synthetic = num_other if policy == "blend" else 0
    composition = {
        "num_real": NUM - num_other,
        "num_synthetic": num_synthetic,
        "synthetic_ratio": num_synthetic / (NUM - num_other + num_synthetic),
        "per_generation": {"-1": NUM - num_other} | ({str(generation - 1): num_synthetic} if num_synthetic else {}),
    }
    mixing = {"policy": policy, "synthetic_ratio": ratio, "real_part": "redrawn"}
    return dataclasses.replace(
        made,
        scores=[{**fid, "value": value}, *others],
        composition=composition,
        config={**made.config, "mixing": mixing},
    )
