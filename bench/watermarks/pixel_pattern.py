"""A watermark in the pixels: a pattern of ±a grey levels, derived from the key, is added and read by correlation
(spread spectrum; Cox et al. 1997).

The correlation is between the differences of each pixel from the mean of its four neighbours, of the image and of the
pattern, because the smooth content of an image would otherwise dominate the pattern.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config import KeyedWatermarkConfig
from bench.options import option

if TYPE_CHECKING:
    from bench.kinds import Items

VERSION = 1
CITATION = """@article{cox1997spread,
  title   = {Secure Spread Spectrum Watermarking for Multimedia},
  author  = {Cox, Ingemar J. and Kilian, Joe and Leighton, F. Thomson and Shamoon, Talal},
  journal = {IEEE Transactions on Image Processing},
  volume  = {6},
  number  = {12},
  pages   = {1673--1687},
  year    = {1997},
}"""
ROWS = 4096
"""Number of images that are read at a time."""


@dataclass
class Config(KeyedWatermarkConfig):
    """A watermark in the pixels: a pattern of ±`strength` grey levels is added to every sample."""

    name: str = "pixel_pattern"
    strength: int = option(4, at_least=1, at_most=64)


def pattern(key: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pattern of a key, float32 of `shape` (3, H, H), 1 or −1."""
    return np.random.default_rng(key).choice(np.array([-1, 1], np.float32), shape)


def mark_items(config: Config, key: int, items: np.ndarray) -> np.ndarray:
    """Return images, uint8 (n, 3, H, H), with the pattern added and values clipped to [0, 255]."""
    added = config.strength * pattern(key, items.shape[1:]).astype(np.int16)
    return (items.astype(np.int16) + added).clip(0, 255).astype(np.uint8)


def residual(images: np.ndarray) -> np.ndarray:
    """Return each pixel minus the mean of its four neighbours, float32 (…, H, H), with the edge pixels repeated."""
    around = np.pad(images.astype(np.float32), [(0, 0)] * (images.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    neighbours = around[..., :-2, 1:-1] + around[..., 2:, 1:-1] + around[..., 1:-1, :-2] + around[..., 1:-1, 2:]
    return around[..., 1:-1, 1:-1] - neighbours / 4


def scores(config: Config, key: int, items: "Items", noise: Any = None) -> np.ndarray:
    """Return the projection of each image's residual on that of the pattern, in grey levels, float64 (N,). Its mean is
    the strength for marked images without clipped pixels, and 0 without a mark."""
    wanted = residual(pattern(key, items.shape[1:]))
    wanted /= np.square(wanted).sum()
    parts = [
        (residual(items[np.arange(first, min(first + ROWS, len(items)))]) * wanted).sum(axis=(1, 2, 3), dtype=float)
        for first in range(0, len(items), ROWS)
    ]
    return np.concatenate(parts)
