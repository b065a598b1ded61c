"""The risk of a diffusion model: its denoising loss on given images, per noise level, with a fixed noise per image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.generators.ddpm.network import autocast, build_process
from bench.generators.ddpm.sampling import TILES, load_network
from bench.generators.ddpm.settings import Config
from bench.generators.shared.noise import normal
from bench.kinds import Items
from bench.machine.device import Runtime

LEVELS = 10
"""Number of noise levels at which the loss is evaluated: the midpoints of equal parts of the timesteps."""


@torch.no_grad()
def denoising_loss(
    config: Config,
    model: Path,
    images: Items,
    seeds: np.ndarray,
    *,
    runtime: Runtime,
    progress: Callable[[int, int], None],
) -> dict[str, np.ndarray]:
    """Return the squared error of the predicted noise (Ho et al. 2020, eq. 14), averaged over pixels and channels.

    The network's output is converted to an estimate of the noise, so that models with different prediction types are
    comparable. Image i gets the noise of `seeds[i]` in every model.

    Args:
        config: The generator's configuration.
        model: Directory of a trained model.
        images: uint8 (N, 3, H, H).
        seeds: int64 (N,), the noise seed of each image.
        runtime: Device and precision.
        progress: Called with (images done, images in all).

    Returns:
        "total", the mean over the noise levels, and one entry per level, "t50", "t150", …: float64 (N,) each, one loss
        per image.
    """
    network, resolution = load_network(model, runtime)
    process = build_process(config.noise, runtime.device)
    tile = TILES[runtime.device.type]
    timesteps = [int((i + 0.5) * config.noise.num_timesteps / LEVELS) for i in range(LEVELS)]
    losses = np.empty((LEVELS, len(images)))
    for first in range(0, len(images), tile):
        rows = np.arange(first, min(first + tile, len(images)))
        padded = np.resize(rows, tile)  # fill the tile by repetition
        x0 = torch.from_numpy(images[padded]).to(runtime.device).float() / 127.5 - 1.0
        keys = torch.from_numpy(seeds[padded]).to(runtime.device)
        for level, t in enumerate(timesteps):
            eps = normal(keys, (3, resolution, resolution), draw=level)
            with autocast(runtime):
                estimate = process.predicted_noise(network, process.signal[t] * x0 + process.noise[t] * eps, t)
            error = (estimate - eps).square().mean(dim=(1, 2, 3))[: len(rows)]
            losses[level, rows] = error.double().cpu().numpy()
        progress(int(rows[-1]) + 1, len(images))
    return {"total": losses.mean(axis=0), **{f"t{t}": losses[level] for level, t in enumerate(timesteps)}}
