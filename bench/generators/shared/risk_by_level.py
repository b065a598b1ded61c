"""The risk of a generator that removes noise: its loss at fixed noise levels, with fixed noise for each image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.generators.shared.noise import normal
from bench.generators.shared.unet_sampling import TILES
from bench.kinds import Items
from bench.machine.device import Runtime

LEVELS = 10
"""Number of noise levels at which the loss is evaluated."""

Errors = Callable[[torch.Tensor, torch.Tensor, Any], torch.Tensor]
"""(x0, eps, time of a level) -> error of each value. x0, images in [-1, 1], their noise eps and the error are float32
(n, 3, H, W)."""


@torch.no_grad()
def risk_by_level(
    errors: Errors,
    levels: dict[str, Any],
    images: Items,
    seeds: np.ndarray,
    *,
    runtime: Runtime,
    progress: Callable[[int, int], None],
) -> dict[str, np.ndarray]:
    """Return the squared error averaged over pixels and channels. Image i gets the noise of `seeds[i]` for every model.

    Args:
        errors: Evaluates the network and returns its errors.
        levels: The time of each noise level, by name.
        images: uint8 (N, 3, H, H).
        seeds: int64 (N,), the noise seed of each image.
        runtime: Device and precision.
        progress: Called with (images done, total images).

    Returns:
        "total", the mean over the noise levels, and one entry per level: float64 (N,) each, one loss per image.
    """
    tile = TILES[runtime.device.type]
    losses = np.empty((len(levels), len(images)))
    for first in range(0, len(images), tile):
        rows = np.arange(first, min(first + tile, len(images)))
        padded = np.resize(rows, tile)  # fill the tile by repetition
        x0 = torch.from_numpy(images[padded]).to(runtime.device).float() / 127.5 - 1.0
        keys = torch.from_numpy(seeds[padded]).to(runtime.device)
        for level, t in enumerate(levels.values()):
            eps = normal(keys, tuple(x0.shape[1:]), draw=level)
            with runtime.mixed_precision():
                error = errors(x0, eps, t)
            loss = error.square().mean(dim=(1, 2, 3))[: len(rows)]
            losses[level, rows] = loss.double().cpu().numpy()
        progress(int(rows[-1]) + 1, len(images))
    return {"total": losses.mean(axis=0), **dict(zip(levels, losses, strict=True))}
