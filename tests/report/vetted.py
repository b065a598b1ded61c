"""A made-up sweep over an oracle's error rates whose verdicts are known: FID follows a curve for each condition."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fabricate

from bench import ledger
from bench.ledger import Row

CURVES = {
    "stable": [100.0, 101, 99, 100, 101, 99, 100, 100, 101],
    "bounded": [100.0, 150, 180, 190, 195, 196, 197, 196, 197],
    "diverging": [100.0, 120, 140, 160, 180, 200, 220, 240, 260],
}
"""Word of the verdict -> FID by generation of the middle one of three seeds."""
CHANGES = {"stable": 0.01, "bounded": 0.97, "diverging": 1.6}
Rates = tuple[float, float] | None


def sweep(
    directory: Path,
    verdicts: Mapping[tuple[float, Rates], str],
    seeds: tuple[int, ...] = (0, 1, 2),
    num_generations: int = 9,
    **vetting: Any,
) -> Path:
    """Write ledgers below `directory` and return the sweep's directory.

    Args:
        directory: where to write.
        verdicts: (synthetic ratio, (TPR, FPR) of the oracle or None) -> key of `CURVES`.
        seeds: they differ by a percent, and the outer ones are not symmetric.
        num_generations: of each chain.
        vetting: further options of the oracle.
    """
    for (ratio, rates), word in verdicts.items():
        for seed in seeds:
            for generation in range(num_generations):
                made = _row(ratio, rates, CURVES[word][generation], generation, seed, vetting)
                ledger.append(directory / "vetted" / made.chain / ledger.FILENAME, made)
    return directory / "vetted"


def _row(ratio: float, rates: Rates, fid: float, generation: int, seed: int, vetting: dict[str, Any]) -> Row:
    made = fabricate.row(ratio, generation, seed, sweep="vetted")
    value = fid * {0: 0.99, 1: 1.0, 2: 1.03}[seed] if generation else fid
    scores = [fabricate.score("fid", value)]
    config, facts = made.config, {}
    if rates is not None:
        rule = {"name": "oracle", "refill": False, "true_positive_rate": rates[0], "false_positive_rate": rates[1]}
        config = {**config, "vetting": {**rule, **vetting}}
        facts = _facts(made.composition["num_real"], made.composition["num_synthetic"], rates, generation)
    return dataclasses.replace(
        made,
        chain=f"{made.chain}-{rates}-{vetting}",
        scores=scores,
        config=config,
        vetting=facts,
        config_hash=f"{rates} {vetting}",
    )


def _facts(num_real: int, num_synthetic: int, rates: tuple[float, float], generation: int) -> dict[str, Any]:
    dropped = round(rates[0] * num_synthetic), round(rates[1] * num_real)
    kept = num_synthetic - dropped[0], num_real - dropped[1]
    return {
        "rule": "oracle",
        "num_synthetic_dropped": dropped[0],
        "num_real_dropped": dropped[1],
        "num_kept": sum(kept),
        "num_refilled": 0,
        "effective_ratio": kept[0] / sum(kept) if sum(kept) else 0.0,
        "true_positive_rate": rates[0] if num_synthetic else None,
        "false_positive_rate": rates[1] if num_real else None,
        "auroc": None,
        "threshold": None,
        "seconds": 0.5 + generation,
    }
