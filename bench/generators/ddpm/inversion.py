"""Inversion of the deterministic sampler: from an image to the initial noise that it was drawn from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.generators.ddpm.network import autocast, build_process
from bench.generators.ddpm.sampling import TILES, load_network
from bench.generators.ddpm.settings import Config
from bench.generators.ddpm.solvers import spaced
from bench.kinds import Items
from bench.machine.device import Runtime


@torch.no_grad()
def invert(
    config: Config,
    model: Path,
    images: Items,
    *,
    runtime: Runtime,
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """Follow the probability-flow ODE from images to noise, by the Euler steps of DDIM in reverse (Song et al. 2021,
    eq. 14; Dhariwal & Nichol 2021, appendix F). They are at the timesteps that the sampler takes, each evaluated where
    it starts. x0 is not clipped.

    Args:
        config: The generator's configuration.
        model: Directory of a trained model.
        images: uint8 (N, 3, H, H).
        runtime: Device and precision.
        progress: Called with (images done, images in all).

    Returns:
        float32 (N, 3, H, H), near a standard normal where the images are samples of this model.
    """
    network, resolution = load_network(model, runtime)
    process = build_process(config.noise, runtime.device)
    tile = TILES[runtime.device.type]
    ascending = spaced(config.sampling.spacing, config.sampling.num_steps, config.noise.num_timesteps)[::-1]
    found = np.empty((len(images), 3, resolution, resolution), np.float32)
    for first in range(0, len(images), tile):
        rows = np.arange(first, min(first + tile, len(images)))
        x = torch.from_numpy(images[np.resize(rows, tile)]).to(runtime.device).float() / 127.5 - 1.0
        signal, noise = 1.0, 0.0
        with autocast(runtime):
            for t in ascending:
                eps = process.predicted_noise(network, x, t)
                x0 = (x - noise * eps) / signal
                signal, noise = float(process.signal[t]), float(process.noise[t])
                x = signal * x0 + noise * eps
        found[rows] = x[: len(rows)].float().cpu().numpy()
        progress(int(rows[-1]) + 1, len(images))
    return found
