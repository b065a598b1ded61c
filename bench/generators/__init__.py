"""Generators: `fit(images)` writes a model, `sample(seeds)` draws from it. `config.name` says which one runs.

Importing this package loads neither torch nor diffusers, so `check` answers at once.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config import DDPMConfig, GeneratorConfig
from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.machine.device import Runtime
    from bench.pool import Images


def train_spec(config: GeneratorConfig) -> dict[str, Any]:
    """Everything in the configuration that changes a trained model, and the version of the training code.
    JSON-able."""
    return _specs(config).train_spec(config)


def sample_spec(config: GeneratorConfig) -> dict[str, Any]:
    """Everything in the configuration that changes the pixels of a sample, given the model. JSON-able."""
    return _specs(config).sample_spec(config)


def check(config: GeneratorConfig, resolution: int) -> None:
    """Raises `ConfigError` where this generator cannot be built for images of that many pixels a side."""
    _specs(config).check(config, resolution)


def fit(
    config: GeneratorConfig,
    images: "Images",
    *,
    seed: int,
    out: Path,
    work: Path,
    runtime: "Runtime",
    progress: Callable[[int, int], None] | None = None,
    init: Path | None = None,
) -> dict[str, Any]:
    """Trains on `images` and writes the model into the directory `out`.

    images: uint8 (N, 3, H, H), possibly memory-mapped. work: a directory that outlives a killed process; the
    same call again goes on from the checkpoint found there, and ends in the same bytes. init: the directory
    of a model to start from, instead of seeded random weights. Returns facts for the ledger (steps, images
    seen, losses, seconds, ...). Raises `ConfigError` or `DataError` before any training, `TrainingError` when
    the loss is no longer a number.
    """
    return _ddpm(config).fit(
        config, images, seed=seed, out=out, work=work, runtime=runtime, progress=progress, init=init
    )


def sample(
    config: GeneratorConfig,
    model: Path,
    seeds: np.ndarray,
    *,
    work: Path,
    runtime: "Runtime",
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Draws image i from the noise seed `seeds[i]` (int64). Returns uint8 (n, 3, H, H).

    On one machine an image depends on the model and its own seed alone: not on n, its neighbours, or the
    batch size (byte for byte on the CPU; up to the last bits of float arithmetic on CUDA). Finished blocks
    are kept in `work`.
    """
    return _sampling(config).sample(config, model, seeds, work=work, runtime=runtime, progress=progress)


def _specs(config: GeneratorConfig) -> ModuleType:
    if not isinstance(config, DDPMConfig):
        raise ConfigError("generator.name", config.name, "must be one of ddpm")
    from bench.generators.ddpm import specs

    return specs


def _ddpm(config: GeneratorConfig) -> ModuleType:
    _specs(config)
    from bench.generators.ddpm import training

    return training


def _sampling(config: GeneratorConfig) -> ModuleType:
    _specs(config)
    from bench.generators.ddpm import sampling

    return sampling
