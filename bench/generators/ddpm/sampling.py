"""Sampling of a DDPM. Tiles and blocks are implemented in `bench.generators.shared.unet_sampling`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.generators.ddpm.edm import EDMProcess, sigmas
from bench.generators.ddpm.process import Process, build_process
from bench.generators.ddpm.settings import Config, SamplingConfig
from bench.generators.ddpm.solvers import build_solver
from bench.generators.shared.noise import normal
from bench.generators.shared.ode import solve
from bench.generators.shared.unet import Network
from bench.generators.shared.unet_sampling import Mark, load_network, sample_images
from bench.machine.device import Runtime


def sample(
    config: Config,
    model: Path,
    seeds: np.ndarray,
    *,
    work: Path,
    runtime: Runtime,
    progress: Callable[[int, int], None],
    mark: Mark | None = None,
) -> np.ndarray:
    """Draw images from a stored model. See also `bench.generators.sample`.

    Args:
        config: The generator's configuration.
        model: Directory of a trained model.
        seeds: int64 (n,), the noise seed of each image.
        work: Directory that outlives a killed process, for finished blocks.
        runtime: Device and precision.
        progress: Called with (images done, total images).
        mark: Puts a watermark into the initial noise.

    Returns:
        uint8 (n, 3, H, H).
    """
    network, resolution = load_network(model, runtime)
    process = build_process(config.noise, runtime.device)
    return sample_images(
        model,
        lambda keys: trajectory(config, process, network, keys, resolution, runtime, mark),
        seeds,
        resolution=resolution,
        batch_size=config.sampling.batch_size,
        work=work,
        runtime=runtime,
        progress=progress,
    )


@torch.no_grad()
def trajectory(
    config: Config,
    process: Process | EDMProcess,
    network: Network,
    seeds: torch.Tensor,
    resolution: int,
    runtime: Runtime,
    mark: Mark | None = None,
) -> torch.Tensor:
    """Solve the reverse process from the initial noise of each seed to an image.

    Args:
        config: Gives the sampler, the number of steps, the temperature and the forward process.
        process: The forward process on the device.
        network: A network that predicts what `config.noise.prediction` names.
        seeds: int64 (n,) on the device, one per image.
        resolution: Side H of the images, in pixels.
        runtime: Device and precision.
        mark: Puts a watermark into the initial noise, float32 (n, 3, H, H).

    Returns:
        Images, float32 (n, 3, H, H), scaled to [-1, 1].
    """
    shape = (3, resolution, resolution)
    x = config.sampling.temperature * normal(seeds, shape, draw=0)
    x = x if mark is None else mark(x)
    if isinstance(process, EDMProcess):
        return _solve_edm(config.sampling, process, network, x, runtime)
    solver = build_solver(config.sampling, config.noise)
    with runtime.mixed_precision():  # around all steps, so that most weights are cast only once
        for index, t in enumerate(solver.timesteps):
            x0 = process.denoise(network, x, t)
            noise = normal(seeds, shape, draw=index + 1) if solver.is_stochastic else None
            x = solver.step(x, x0, noise)
    return x


def _solve_edm(
    sampling: SamplingConfig, process: EDMProcess, network: Network, eps: torch.Tensor, runtime: Runtime
) -> torch.Tensor:
    """Return the images that dx/dσ = (x - D(x; σ)) / σ (Karras et al. 2022, eq. 3) leads to from the noise eps."""
    steps = sigmas(sampling.sigma, sampling.num_steps)
    with runtime.mixed_precision():
        return solve(
            lambda x, sigma: process.predicted_noise(network, x, sigma), steps[0] * eps, steps, sampling.sampler
        )
