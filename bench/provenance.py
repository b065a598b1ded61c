"""Read the watermark of a chain. If the mark is in the noise, the sampler of the chain's generator is inverted."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import generators, metrics, registry, watermarks
from bench.config import Config
from bench.detection import check_enough_to_calibrate
from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.kinds import Items
    from bench.machine.device import Progress, Runtime


def check(config: Config, kind: str) -> None:
    """Raise `ConfigError` if the items or the generator of a chain cannot carry its watermark, if its vetting or its
    scores look for a watermark that the chain does not have, or if too few items are scored to calibrate the score
    family watermark. kind: The kind of the items."""
    watermark = watermarks.resolve(config.watermark)
    asked = ["vetting=watermark"] if config.vetting.name == "watermark" else []
    asked += ["the score family watermark"] if "watermark" in config.metrics.scores else []
    if watermark is None:
        if asked:
            raise ConfigError("watermark.name", registry.NONE, f"{asked[0]} looks for a mark: choose watermark=…")
        return
    if "watermark" in config.metrics.scores:
        rate = next(
            family.options.false_positive_rate
            for family in metrics.families(config.metrics)
            if family.name == "watermark"
        )
        check_enough_to_calibrate(config.metrics.num_images, rate, key="metrics.num_images")
    if kind != "images":
        raise ConfigError("watermark.name", watermark.name, f"marks images, but the data are {kind}")
    if watermark.in_noise:
        generators.check_invertible(config.generator, f"watermark={watermark.name}")


def reader(
    config: Config, models: Sequence[Path], runtime: "Runtime", progress: "Progress"
) -> "Callable[[int, Items], np.ndarray]":
    """Return a function that reads the mark of an earlier generation: (generation, N items) -> how strongly each item
    carries it, float64 (N,).

    Args:
        config: The configuration of a chain with a watermark.
        models: Folders of the models of generations 0, 1, ….
        runtime: Device and precision.
        progress: Called with (items done, total items) while a sampler is inverted.
    """
    watermark = watermarks.resolve(config.watermark)
    assert watermark is not None

    def read(generation: int, items: "Items") -> np.ndarray:
        noise = None
        if watermark.in_noise:
            noise = generators.invert(config.generator, models[generation], items, runtime=runtime, progress=progress)
        return watermark.scores(generation, items, noise)

    return read


def mark_spec(config: Config, generation: int, model: str) -> dict[str, Any]:
    """Return everything, apart from items and arithmetic, that changes how `reader` scores the mark of one generation,
    for store keys. model: The key of the generation's training, which is not needed for a mark in pixels."""
    watermark = watermarks.resolve(config.watermark)
    assert watermark is not None
    inverted = {"model": model, "inversion": generators.invert_spec(config.generator)} if watermark.in_noise else {}
    return {"mark": watermark.spec(generation), **inverted}


def spec(config: Config, generation: int) -> dict[str, Any]:
    """Return everything, apart from models and items, that changes how `reader` scores the marks of the generations
    before `generation`, for store keys. Empty without a watermark."""
    watermark = watermarks.resolve(config.watermark)
    if watermark is None:
        return {}
    inversion = {"inversion": generators.invert_spec(config.generator)} if watermark.in_noise else {}
    return {"marks": [watermark.spec(g) for g in range(generation)], **inversion}
