"""Linear regression for the certificate: a data set and a generator in the form of a user-defined module.

An item is a point (x, y) with x ~ N(0, I) and y = x·w + N(0, 1) noise. The generator is ordinary least squares, and its
samples have new x. For this loop, model collapse has exact formulas in any dimension (Gerstgrasser et al. 2404.01413).
"""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from bench.certify.world import Config
from bench.datasets.shared.source import Source

VERSION, KIND, KINDS = 1, "points", ("points",)
WEIGHTS = np.array([1.0, -2.0, 0.5, 3.0])
FILE = "weights.safetensors"


def open_source(config: Config) -> Source:
    """Return points drawn with the true weights, float64 (N, d + 1). The benchmark splits them by their names."""
    num = config.num_items
    items = draw(WEIGHTS, [np.random.default_rng([config.split_seed, i]) for i in range(num)])
    return Source([f"point-{i}" for i in range(num)], lambda rows: (items[rows], {}))


def draw(weights: np.ndarray, generators: list[np.random.Generator]) -> np.ndarray:
    """Draw one point (x, y) from each random generator, float64 (n, d + 1)."""
    normal = np.stack([rng.standard_normal(len(weights) + 1) for rng in generators])
    normal[:, -1] += normal[:, :-1] @ weights
    return normal


def fit(config: Config, items: Any, *, out: Path, **others: Any) -> dict[str, Any]:
    """Compute the least-squares weights and write them, float64 (d,)."""
    points = items[np.arange(len(items))]
    weights = np.linalg.lstsq(points[:, :-1], points[:, -1])[0]
    out.mkdir(parents=True)
    save_file({"weights": weights}, out / FILE)
    return {"num_images": len(items), "seconds": 0.0}


def sample(config: Config, model: Path, seeds: np.ndarray, **others: Any) -> np.ndarray:
    """Draw point i from `seeds[i]` alone, float64 (n, d + 1)."""
    return draw(load(model), [np.random.default_rng(seed) for seed in seeds])


def load(model: Path) -> np.ndarray:
    """Return the weights of a fitted model."""
    return load_file(model / FILE)["weights"]
