"""Reads the watermark of a chain: with its generator, whose sampler is inverted where the mark is in the noise."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import generators, registry, watermarks
from bench.config import Config
from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.kinds import Items
    from bench.machine.device import Progress, Runtime


def check(config: Config, kind: str) -> None:
    """Raise `ConfigError` where the items of a chain or its generator cannot carry its watermark, or its vetting looks
    for one that it does not have."""
    watermark = watermarks.resolve(config.watermark)
    if watermark is None:
        if config.vetting.name == "watermark":
            raise ConfigError("watermark.name", registry.NONE, "vetting=watermark looks for a mark: choose watermark=…")
        return
    if kind != "images":
        raise ConfigError("watermark.name", watermark.name, f"marks images, and the data are {kind}")
    if watermark.in_noise:
        generators.check_invertible(config.generator, f"watermark={watermark.name}")


def reader(
    config: Config, models: Sequence[Path], runtime: "Runtime", progress: "Progress"
) -> "Callable[[int, Items], np.ndarray]":
    """Return what reads the mark of an earlier generation: (generation, N items) -> how strongly each carries it,
    float64 (N,).

    Args:
        config: Of a chain with a watermark.
        models: Folders of the models of generations 0, 1, ….
        runtime: Device and precision.
        progress: Called with (items done, items in all) where a sampler is inverted.
    """
    watermark = watermarks.resolve(config.watermark)
    assert watermark is not None

    def read(generation: int, items: "Items") -> np.ndarray:
        noise = None
        if watermark.in_noise:
            noise = generators.invert(config.generator, models[generation], items, runtime=runtime, progress=progress)
        return watermark.scores(generation, items, noise)

    return read


def spec(config: Config, generation: int) -> dict[str, Any]:
    """Return what changes the scores that `reader` gives of the marks before a generation, apart from models and items,
    for store keys. Empty without a watermark."""
    watermark = watermarks.resolve(config.watermark)
    if watermark is None:
        return {}
    inversion = {"inversion": generators.invert_spec(config.generator)} if watermark.in_noise else {}
    return {"marks": [watermark.spec(g) for g in range(generation)], **inversion}
