"""A made-up sweep in which no two numbers are equal, so that tests detect a number in the wrong place.

Three synthetic ratios; their seeds and lengths differ, the furthest chain is not the one of the lowest seed, and the
scores of a row are in an order in which taking the first is wrong. `value` returns what every score was.
"""

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any, NamedTuple

import fabricate
import numpy as np

from bench import ledger
from bench.analysis.study import Study, studies

LENGTHS = {0.0: {0: 5, 1: 5, 2: 5}, 0.5: {0: 4, 1: 6, 2: 6}, 1.0: {0: 5, 3: 6, 7: 6}}
"""ratio -> seed -> number of generations."""
LAST_COMMON = 3
A, B = "efficientnet_lite0", "inception_v3"


class Score(NamedTuple):
    metric: str
    space: str = A
    reference: str = "heldout"
    num_subject: int = 1024
    num_reference: int = 1024
    k: int | None = None
    attribute: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        return {name: v for name, v in (("k", self.k), ("attribute", self.attribute)) if v is not None}

    @property
    def direction(self) -> str:
        return "down" if self.metric in ("fid", "kid") else "up"


SAMPLES = [
    Score("coverage", k=3),
    Score("fid", reference="real_train"),
    Score("fid"),
    Score("recall", k=3),
    Score("recall", B, k=3),
    Score("kid", num_subject=512, num_reference=768),
    Score("fid", B),
    Score("precision", k=3),
    Score("class_accuracy", attribute="species"),
    Score("class_accuracy", attribute="hue"),
]
FLOORS = [  # in the ledger's order; some are of what the samples are never scored in
    Score("fid", num_subject=512),
    Score("fid", B),
    Score("precision", k=5),
    Score("precision", k=3),
    Score("fid"),
    Score("recall", k=3),
    Score("recall", B, k=3),
    Score("coverage", k=3),
]
CONTROLS = [Score("fid"), Score("recall", k=3)]
CLASSES = {"iris": {"rare": 4.0, "common": 400.0, "never": 0.0, "middling": 40.0}}


def value(score: Score, subject: str, ratio: float = -1, generation: int = -1, seed: int = -1) -> float:
    """FID falls at ratio 0 and grows above; all else is without meaning. No chain shares its generation 0."""
    digest = hashlib.sha256(repr((score, subject, ratio, generation, seed)).encode()).digest()
    noise = float(np.random.default_rng(list(digest[:8])).uniform(0.2, 0.9))
    if score.metric not in ("fid", "kid"):
        return noise * (1 if score.metric != "class_accuracy" else 0.5)
    scale = {A: 100, B: 37}[score.space] * (0.55 if score.reference == "real_train" else 1)
    growth = (0.6 * ratio**2 - 0.05) * generation
    return scale * math.exp(growth + 0.1 * noise) if subject == "samples" else 10 + scale * noise / 10


def entry(score: Score, subject: str, number: float) -> dict[str, Any]:
    return {
        "metric": score.metric,
        "feature_space": score.space,
        "reference": score.reference,
        "subject": subject,
        "num_subject": score.num_subject,
        "num_reference": score.num_reference,
        "parameters": score.parameters,
        "value": number,
        "direction": score.direction,
    }


def counts(ratio: float, generation: int, seed: int) -> dict[str, list[float]]:
    """Return class of the attribute `iris` -> number of images, and how many were expected."""
    numbers = {"common": 400 - 30 * generation - seed, "middling": 40 - 5 * generation - seed, "rare": 4 - ratio}
    return {name: [float(numbers.get(name, 0)), expected] for name, expected in CLASSES["iris"].items()}


def per_generation(ratio: float, generation: int, seed: int) -> dict[str, int]:
    origins = {"-1": 2000 + 100 * seed + 10 * generation + int(4 * ratio)}
    return origins | {str(g): 100 * seed + 10 * generation + g + 1 for g in range(generation) if ratio > 0}


def row(ratio: float, generation: int, seed: int, store_dir: str = "store") -> ledger.Row:
    made = fabricate.row(ratio, generation, seed, store_dir=store_dir)
    scores = [entry(s, "samples", value(s, "samples", ratio, generation, seed)) for s in SAMPLES]
    floors = [entry(s, "real_train", value(s, "real_train")) for s in FLOORS]
    controls = [entry(s, "shuffled", value(s, "shuffled", ratio, generation, seed)) for s in CONTROLS]
    survival = entry(
        Score("class_survival", attribute="iris"), "samples", value(Score("x"), "s", ratio, generation, seed)
    )
    number = 100 * int(4 * ratio) + 10 * generation + seed
    return dataclasses.replace(
        made,
        scores=[*floors, *scores, *controls, {**survival, "counts": counts(ratio, generation, seed)}],
        composition={**made.composition, "per_generation": per_generation(ratio, generation, seed)},
        train={**made.train, "images_seen": 10_000 + number, "seconds": 1000.0 + number},
        sample={**made.sample, "seconds": 3000.0 + 2 * number},
        score={**made.score, "seconds": 5000.0 + 3 * number},
        artifacts={**made.artifacts, "probes": f"sample/{number:064d}/probes.npy"},
        config_hash=f"{number:016d}",
        environment={
            **made.environment,
            "command": f"python -m bench --number {number}",
            "versions": {"torch": f"2.{seed}"},
            "platform": f"system {seed}",
            "processor": f"chip {seed}",
            "code_revision": f"{seed:040d}",
        },
        finished_at=f"2026-01-{1 + generation:02d}T{10 + seed:02d}:00:00+00:00",
    )


def picture(ratio: float, generation: int, seed: int, probe: int) -> np.ndarray:
    """uint8 (3,): the one colour of a probe."""
    return np.array([100 * ratio + 10 * probe, 40 * generation, 30 * seed], np.uint8)


def sweep(directory: Path, pictures: bool = False) -> Study:
    """The study of all chains, read from ledgers below `directory`. pictures: four probes of 16 px a generation."""
    store = directory / "store"
    for ratio, seeds in LENGTHS.items():
        for seed, length in seeds.items():
            for generation in range(length):
                made = row(ratio, generation, seed, store_dir=str(store))
                ledger.append(directory / "made-up" / made.chain / ledger.FILENAME, made)
                if pictures:
                    path = store / made.artifacts["probes"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    colours = np.stack([picture(ratio, generation, seed, probe) for probe in range(4)])
                    np.save(path, np.broadcast_to(colours[:, :, None, None], (4, 3, 16, 16)), allow_pickle=False)
    (study,) = studies(ledger.read_runs([directory / "made-up"]))
    return study


def seeds_at(ratio: float, generation: int) -> list[int]:
    return [seed for seed, length in LENGTHS[ratio].items() if generation < length]


def values(score: Score, ratio: float, generation: int) -> dict[int, float]:
    """seed -> the score of the samples, of the seeds that got so far."""
    return {seed: value(score, "samples", ratio, generation, seed) for seed in seeds_at(ratio, generation)}


def baselines(score: Score) -> dict[str, float]:
    means = {"real_train": value(score, "real_train")} if score in FLOORS else {}
    if score in CONTROLS:
        every = [
            value(score, "shuffled", ratio, generation, seed)
            for ratio, seeds in LENGTHS.items()
            for seed, length in seeds.items()
            for generation in range(length)
        ]
        means["shuffled"] = float(np.mean(every))
    return means
