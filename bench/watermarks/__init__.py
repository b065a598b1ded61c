"""Watermarks: marks that a generator leaves in its samples, so that vetting can detect them. One file per watermark.

A watermark offers `Config` (a `KeyedWatermarkConfig`), `VERSION`, `CITATION`, and `scores(config, key, items, noise)`,
which are higher for items that carry the mark of the key. It also offers one of two functions that leave the mark:
`mark_items(config, key, items)` in the pixels of finished samples, or `mark_noise(config, key, noise)` in the initial
noise of a sampler that can be inverted.
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
        """Whether the mark is in the initial noise, so that it is read by inverting the sampler."""
        return hasattr(self.module, "mark_noise")

    def key(self, generation: int) -> int:
        """Return the key that marks the samples of a generation: one for the whole chain, or one per generation."""
        own = generation if self.config.keys == "per_generation" else 0
        return derive_seed(self.config.key, own, "watermark")

    def spec(self, generation: int) -> dict[str, Any]:
        """Return everything that changes the marks of a generation's samples, for their key in the store."""
        about = asdict(self.config) | {"key": self.key(generation), "version": registry.version(self.module, "sample")}
        del about["keys"]
        return about

    def mark_items(self, generation: int, items: np.ndarray) -> np.ndarray:
        """Return finished samples, uint8 (n, 3, H, H), with the mark in their pixels; unchanged if the mark is in the
        noise."""
        return items if self.in_noise else self.module.mark_items(self.config, self.key(generation), items)

    def mark_noise(self, generation: int) -> "Callable[[torch.Tensor], torch.Tensor] | None":
        """Return a function that puts the mark into initial noise, float32 (n, 3, H, H); None for a mark in pixels."""
        if not self.in_noise:
            return None
        return lambda noise: self.module.mark_noise(self.config, self.key(generation), noise)

    def scores(self, generation: int, items: "Items", noise: np.ndarray | None) -> np.ndarray:
        """Return how strongly items carry the mark of a generation, float64 (N,).

        Args:
            generation: The generation whose key is used.
            items: uint8 (N, 3, H, H).
            noise: float32 (N, 3, H, H), from inverting that generation's sampler; None for a mark in pixels.
        """
        return self.module.scores(self.config, self.key(generation), items, noise)


def resolve(config: WatermarkConfig) -> Watermark | None:
    """Return the watermark that `config` names; None for `none`. Raises `ConfigError` if there is none of that name."""
    if config.name == registry.NONE:
        return None
    return Watermark(registry.load("bench.watermarks", config.name, "watermark.name"), config)
