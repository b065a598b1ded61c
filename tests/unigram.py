"""A generator of texts without a network: independent words, drawn as often as they were read. With that, chains of
tokens take a second, and every score of its likelihood can be worked out by hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from bench.config import GeneratorConfig

VERSION = 1
KINDS = ("tokens",)
LIKELIHOOD = True


@dataclass
class Config(GeneratorConfig):
    num_words: int = 512


def fit(config: Config, items: Any, *, out: Path, **rest: Any) -> dict[str, Any]:
    tokens = items[np.arange(len(items))]
    counts = np.bincount(tokens.ravel(), minlength=config.num_words) + 0.5
    out.mkdir(parents=True)
    save_file({"shares": counts / counts.sum(), "size": np.array(tokens.shape[1])}, out / "words.safetensors")
    return {"num_images": len(items), "seconds": 0.0}


def shares(model: Path) -> np.ndarray:
    return load_file(model / "words.safetensors")["shares"]


def sample(config: Config, model: Path, seeds: np.ndarray, **rest: Any) -> np.ndarray:
    size = int(load_file(model / "words.safetensors")["size"])
    drawn = [np.random.default_rng(s).choice(config.num_words, size, p=shares(model)) for s in seeds]
    return np.array(drawn, np.int32)


def risk(config: Config, model: Path, items: Any, seeds: np.ndarray, **rest: Any) -> dict[str, np.ndarray]:
    return {"total": -np.log(shares(model))[np.asarray(items)].mean(axis=1)}


def features(config: Config, model: Path, items: Any, **rest: Any) -> np.ndarray:
    """Loss of the first half and of the second half of a block."""
    losses = -np.log(shares(model))[np.asarray(items)]
    return np.stack([half.mean(axis=1) for half in np.split(losses, 2, axis=1)], axis=1).astype(np.float32)
