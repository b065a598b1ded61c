"""Watermarks: what a generator leaves in its samples, so that a vetting can tell them later. One file per watermark.

A watermark offers `Config` (`KeyedWatermarkConfig`), `VERSION`, `CITATION`, `scores(config, key, items, noise)`, which
are higher for what carries the mark of a key, and one of two ways to leave it: `mark_items(config, key, items)`, in the
pixels of finished samples, or `mark_noise(config, key, noise)`, in the initial noise of a sampler that can be inverted.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import registry
from bench.config import WatermarkConfig
from bench.seeds import derive_seed

if TYPE_CHECKING:
    import torch

    from bench.kinds import Items


class Watermark(registry.Component):
    """The watermark of a chain."""

    @property
    def in_noise(self) -> bool:
        """Whether it is left in the initial noise, and read by inverting the sampler."""
        return hasattr(self.module, "mark_noise")

    def key(self, generation: int) -> int:
        """Return the key of the samples of a generation: one for the chain, or one for each generation."""
        own = generation if self.config.keys == "per_generation" else 0
        return derive_seed(self.config.key, own, "watermark")

    def spec(self, generation: int) -> dict[str, Any]:
        """Return what changes the samples of a generation, for their key in the store."""
        about = asdict(self.config) | {"key": self.key(generation), "version": registry.version(self.module, "sample")}
        del about["keys"]
        return about

    def mark_items(self, generation: int, items: np.ndarray) -> np.ndarray:
        """Return finished samples, uint8 (n, 3, H, H), with the mark in their pixels where it is one of pixels."""
        return items if self.in_noise else self.module.mark_items(self.config, self.key(generation), items)

    def mark_noise(self, generation: int) -> "Callable[[torch.Tensor], torch.Tensor] | None":
        """Return what puts the mark into initial noise, float32 (n, 3, H, H); None for a mark of pixels."""
        if not self.in_noise:
            return None
        return lambda noise: self.module.mark_noise(self.config, self.key(generation), noise)

    def scores(self, generation: int, items: "Items", noise: np.ndarray | None) -> np.ndarray:
        """Return how strongly items carry the mark of a generation, float64 (N,).

        Args:
            generation: Whose key.
            items: uint8 (N, 3, H, H).
            noise: float32 (N, 3, H, H), from inverting that generation's sampler; None for a mark of pixels.
        """
        return self.module.scores(self.config, self.key(generation), items, noise)


def resolve(config: WatermarkConfig) -> Watermark | None:
    """Return the watermark that a chain names; None for `none`. Raises `ConfigError` where there is none of that
    name."""
    if config.name == registry.NONE:
        return None
    return Watermark(registry.load("bench.watermarks", config.name, "watermark.name"), config)
