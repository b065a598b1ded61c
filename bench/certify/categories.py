"""Categories for the certificate: a data set and a generator in the form of a user-defined module.

An item is a category and a number that distinguishes real items. The generator's model is the shares of the categories.
Its loops are those of population genetics (Wright–Fisher): a category that is lost never comes back.
"""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from bench.certify.world import Config
from bench.datasets.shared.source import Source

VERSION, KIND, KINDS = 1, "tokens", ("tokens",)
SHARES = np.array([0.4, 0.2, 0.15, 0.1, 0.1, 0.05])
COMMONEST, RAREST = int(SHARES.argmax()), int(SHARES.argmin())
FILE = "shares.safetensors"


def open_source(config: Config) -> Source:
    """Return items drawn with the true shares, int32 (N, 2). The benchmark splits them by their names."""
    num = config.num_items
    drawn = np.random.default_rng(config.split_seed).choice(len(SHARES), num, p=SHARES)
    items = np.stack([drawn, np.arange(num)], axis=1).astype(np.int32)
    return Source([f"item-{i}" for i in range(num)], lambda rows: (items[rows], {}))


def fit(config: Config, items: Any, *, out: Path, **others: Any) -> dict[str, Any]:
    """Compute the shares of the categories and write them, float64 (k,)."""
    counts = np.bincount(items[np.arange(len(items))][:, 0], minlength=len(SHARES))
    out.mkdir(parents=True)
    save_file({"shares": counts / len(items)}, out / FILE)
    return {"num_images": len(items), "seconds": 0.0}


def sample(config: Config, model: Path, seeds: np.ndarray, **others: Any) -> np.ndarray:
    """Draw item i from `seeds[i]` alone, int32 (n, 2); its number is 0."""
    chance = np.array([np.random.default_rng(seed).random() for seed in seeds])
    edges = np.cumsum(load(model))
    drawn = np.searchsorted(edges / edges[-1], chance, side="right")
    return np.stack([drawn, np.zeros(len(seeds))], axis=1).astype(np.int32)


def load(model: Path) -> np.ndarray:
    """Return the shares of a fitted model."""
    return load_file(model / FILE)["shares"]
