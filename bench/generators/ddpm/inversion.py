"""Inversion of the deterministic sampler: from an image to the initial noise that it was drawn from."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from bench.generators.ddpm.edm import EDMProcess, sigmas
from bench.generators.ddpm.process import Process, build_process
from bench.generators.ddpm.settings import Config
from bench.generators.ddpm.solvers import spaced
from bench.generators.shared.unet import Network
from bench.generators.shared.unet_sampling import invert_images, load_network
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
    """Follow the probability-flow ODE from images to noise, by Euler steps at the sampler's times. x0 is not clipped.

    The network is evaluated on the image at the start of each step. The noise level that it gets is that of the start
    with EDM (for the first step, which starts at 0, the smallest σ), and that of the end with DDIM.

    Args:
        config: The generator's configuration.
        model: Directory of a trained model.
        images: uint8 (N, 3, H, H).
        runtime: Device and precision.
        progress: Called with (images done, total images).

    Returns:
        The noise, float32 (N, 3, H, H), approximately standard normal if the images are samples of this model.
    """
    network, _ = load_network(model, runtime)
    process = build_process(config.noise, runtime.device)

    def way_back(x: torch.Tensor) -> torch.Tensor:
        with runtime.mixed_precision():
            if isinstance(process, EDMProcess):
                return _edm(process, network, x, sigmas(config.sampling.sigma, config.sampling.num_steps)[::-1])
            steps = spaced(config.sampling.spacing, config.sampling.num_steps, config.noise.num_timesteps)
            return _ddim(process, network, x, steps[::-1])

    return invert_images(images, way_back, runtime=runtime, progress=progress)


def _ddim(process: Process, network: Network, x: torch.Tensor, timesteps: list[int]) -> torch.Tensor:
    """Return the noise of images by the steps of DDIM in reverse (Song et al. 2021, eq. 14; Dhariwal & Nichol 2021,
    appendix F). timesteps: Rising timesteps."""
    signal, noise = 1.0, 0.0
    for t in timesteps:
        eps = process.predicted_noise(network, x, t)
        x0 = (x - noise * eps) / signal
        signal, noise = float(process.signal[t]), float(process.noise[t])
        x = signal * x0 + noise * eps
    return x


def _edm(process: EDMProcess, network: Network, x: torch.Tensor, steps: list[float]) -> torch.Tensor:
    """Return the noise of images along dx/dσ = eps(x; σ) (Karras et al. 2022, eq. 3). steps: The σ, rising from 0."""
    for now, then in pairwise(steps):
        x = x + (then - now) * process.predicted_noise(network, x, now or then)
    return x / steps[-1]
