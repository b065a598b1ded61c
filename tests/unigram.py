"""A generator of texts without a network: independent words, drawn as often as they were read. With that, chains of
tokens take a second, and every score of its likelihood can be worked out by hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from shrunk import composed

from bench.config import Config as ChainConfig
from bench.config import GeneratorConfig
from bench.ledger import Row, read_runs
from bench.loop import run_chain
from bench.machine.console import Console

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


def run(out: Path, *overrides: str) -> tuple[ChainConfig, list[Row]]:
    """Run a chain of three generations on drawn text; its configuration and its rows."""
    own = ["experiment=none", "data=grammar", "data.block_size=16", "data.num_train=120", "data.num_heldout=100"]
    own += ["generator=custom", "generator.module=unigram", "mixing=replace", "metrics=own_network"]
    own += ["metrics.scores=[risk,perplexity,language,spread,frechet]", "metrics.num_images=90", "num_generations=3"]
    own += ["num_probes=2", "runtime.device=cpu", f"output_dir={out}", f"store_dir={out}/store"]
    config = composed(*own, *overrides)
    (chain,) = read_runs([run_chain(config, Console(quiet=True))])
    return config, chain.rows
