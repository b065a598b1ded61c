"""Sampling, inversion and risk of a flow. Tiles and blocks are implemented in `bench.generators.shared`."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.generators.flow.process import FlowProcess
from bench.generators.flow.settings import Config, SamplingConfig
from bench.generators.shared.noise import normal
from bench.generators.shared.ode import solve
from bench.generators.shared.risk_by_level import risk_by_level
from bench.generators.shared.spacing import SPACINGS
from bench.generators.shared.unet import Network
from bench.generators.shared.unet_sampling import Mark, invert_images, load_network, sample_images
from bench.kinds import Items
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
    """Draw images from a stored model, uint8 (n, 3, H, H). Args are those of `bench.generators.sample`."""
    network, resolution = load_network(model, runtime)
    return sample_images(
        model,
        lambda keys: trajectory(config, network, keys, resolution, runtime, mark),
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
    network: Network,
    seeds: torch.Tensor,
    resolution: int,
    runtime: Runtime,
    mark: Mark | None = None,
) -> torch.Tensor:
    """Follow the path from the initial noise of each seed to an image.

    Args:
        config: Gives the sampler, the number of steps, the temperature and the path.
        network: A network that predicts velocities.
        seeds: int64 (n,) on the device, one per image.
        resolution: Side H of the images, in pixels.
        runtime: Device and precision.
        mark: Puts a watermark into the initial noise, float32 (n, 3, H, H).

    Returns:
        Images, float32 (n, 3, H, H), scaled to [-1, 1].
    """
    x = config.sampling.temperature * normal(seeds, (3, resolution, resolution), draw=0)
    x = x if mark is None else mark(x)
    velocity = functools.partial(FlowProcess(config.time).velocity, network)
    with runtime.mixed_precision():  # around all steps, so that most weights are cast only once
        return solve(velocity, x, times(config.sampling), config.sampling.sampler)


@torch.no_grad()
def invert(
    config: Config, model: Path, images: Items, *, runtime: Runtime, progress: Callable[[int, int], None]
) -> np.ndarray:
    """Follow the path from images to noise, by Euler steps at the sampler's times. Returns float32 (N, 3, H, H). Args
    are those of `bench.generators.invert`."""
    network, _ = load_network(model, runtime)
    velocity = functools.partial(FlowProcess(config.time).velocity, network)

    def way_back(x: torch.Tensor) -> torch.Tensor:
        with runtime.mixed_precision():
            return solve(velocity, x, times(config.sampling)[::-1], "euler")

    return invert_images(images, way_back, runtime=runtime, progress=progress)


def times(sampling: SamplingConfig) -> list[float]:
    """Return the times of the steps and their end time, falling from 1 to 0."""
    spacing, num_steps = SPACINGS[sampling.spacing], sampling.num_steps
    return [spacing(1 - i / num_steps) for i in range(num_steps)] + [0.0]


def velocity_loss(
    config: Config,
    model: Path,
    images: Items,
    seeds: np.ndarray,
    *,
    runtime: Runtime,
    progress: Callable[[int, int], None],
) -> dict[str, np.ndarray]:
    """Return the squared error of the velocity at fixed times (Lipman et al. 2023, eq. 9), averaged over pixels and
    channels: "total" and "t0.05", "t0.15", …, float64 (N,) each.

    Args are those of `bench.generators.risk`.
    """
    network, _ = load_network(model, runtime)
    process = FlowProcess(config.time)
    errors = functools.partial(process.errors, network)
    return risk_by_level(errors, process.levels(), images, seeds, runtime=runtime, progress=progress)
