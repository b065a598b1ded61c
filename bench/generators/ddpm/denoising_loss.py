"""The risk of a diffusion model: its denoising loss on given images, per noise level, with fixed noise per image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.generators.ddpm.process import build_process
from bench.generators.ddpm.settings import Config
from bench.generators.shared.risk_by_level import risk_by_level
from bench.generators.shared.unet_sampling import load_network
from bench.kinds import Items
from bench.machine.device import Runtime


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
    comparable. Image i gets the noise of `seeds[i]` for every model.

    Args:
        config: The generator's configuration.
        model: Directory of a trained model.
        images: uint8 (N, 3, H, H).
        seeds: int64 (N,), the noise seed of each image.
        runtime: Device and precision.
        progress: Called with (images done, total images).

    Returns:
        "total", the mean over the noise levels, and one entry per level, "t50", "t150", …: float64 (N,) each, one loss
        per image.
    """
    network, _ = load_network(model, runtime)
    process = build_process(config.noise, runtime.device)

    def errors(x0: torch.Tensor, eps: torch.Tensor, t: Any) -> torch.Tensor:
        return process.predicted_noise(network, process.noisy(x0, eps, t), t) - eps

    return risk_by_level(errors, process.levels(), images, seeds, runtime=runtime, progress=progress)
