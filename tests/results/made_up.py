"""Made-up runs of a protocol and of a sweep without one, for tests of the files of results."""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "report"))

import fabricate
from shrunk import composed

from bench import ledger, protocols
from bench.code_versions import code_versions
from bench.config import Config, chain_id, config_hash, to_dict
from bench.ledger import Chain, Row

PROTOCOL = "collapse_mini_v1"
RATIOS, SEEDS, NUM_GENERATIONS = (0.0, 0.5, 1.0), (0, 1, 2), 10


@cache
def config_of(ratio: float, seed: int, *others: str) -> Config:
    return composed(f"protocol={PROTOCOL}", f"mixing.synthetic_ratio={ratio}", f"seed={seed}", *others)


def row(ratio: float, generation: int, seed: int, *others: str, noise: int = 0, **changes: Any) -> Row:
    """A row of a chain that follows the protocol. others: overrides that deviate. noise: other samples and scores of
    the same distribution."""
    config = config_of(ratio, seed, *others)
    made = fabricate.row(ratio, generation, seed + 1000 * noise, sweep=PROTOCOL)
    overrides = " ".join([f"protocol={PROTOCOL}", f"mixing.synthetic_ratio={ratio:g}", f"seed={seed}", *others])
    sample = made.artifacts["sample"].split("/")[1]
    return replace(
        made,
        seed=seed,
        chain=chain_id(config),
        config={**to_dict(config), "output_dir": "/home/jane/outputs", "store_dir": "/home/jane/store"},
        config_hash=config_hash(config),
        protocol=protocols.facts(config),
        code=code_versions(config),
        checksums={"real": fabricate.REAL, "sample": sample, "score": sample[::-1]},
        store_dir="/home/jane/store",
        environment={
            **made.environment,
            "platform": "Linux-6.1.0-jane-laptop-x86_64-with-glibc2.36",
            "num_threads": 2,
            "command": f"python -m bench {overrides} output_dir=/home/jane/outputs",
        },
        **changes,
    )


def chains(
    ratios: tuple[float, ...] = RATIOS,
    seeds: tuple[int, ...] = SEEDS,
    *others: str,
    noise: int = 0,
    num_generations: int = NUM_GENERATIONS,
) -> list[Chain]:
    """A whole run."""
    made = []
    for ratio in ratios:
        for seed in seeds:
            rows = [row(ratio, generation, seed, *others, noise=noise) for generation in range(num_generations)]
            made.append(Chain(rows[0].chain, Path("nowhere"), rows))
    return made


def written(run: list[Chain], folder: Path) -> Path:
    """The same as ledgers below a folder."""
    for chain in run:
        for one in chain.rows:
            ledger.append(folder / chain.id / ledger.FILENAME, one)
    return folder


def family(generator: str) -> list[Chain]:
    """A run of another generator, without a protocol."""
    made = []
    for ratio in RATIOS:
        for seed in SEEDS:
            rows = [fabricate.row(ratio, g, seed, sweep=f"{generator}16", generator=generator) for g in range(4)]
            made.append(Chain(rows[0].chain, Path("nowhere"), rows))
    return made
