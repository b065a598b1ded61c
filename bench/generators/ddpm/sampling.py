"""Sampling: an image is a function of the model and its own noise seed.

The network is evaluated on tiles of a constant number of images, whatever `sampling.batch_size` is, because the
libraries that torch calls choose kernels by batch size, and these round differently. The last tile is padded, and the
padding is discarded.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from bench.errors import SamplingError
from bench.generators.ddpm.network import Network, Process, autocast, build_process, place
from bench.generators.ddpm.settings import Config
from bench.generators.ddpm.solvers import build_solver
from bench.generators.shared.blocks import sample_in_blocks
from bench.generators.shared.noise import normal
from bench.machine.device import Runtime

Mark = Callable[[torch.Tensor], torch.Tensor]

TILES = {"cpu": 32, "cuda": 128}
"""Images per network evaluation, by type of device. Part of the sampling version: another value may change the last
bit."""


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
        progress: Called with (images done, images in all).
        mark: Puts a watermark into the initial noise.

    Returns:
        uint8 (n, 3, H, H).
    """
    network, resolution = load_network(model, runtime)
    process = build_process(config.noise, runtime.device)
    tile = TILES[runtime.device.type]

    def draw(part: np.ndarray, report: Callable[[int], None]) -> np.ndarray:
        images = np.empty((len(part), 3, resolution, resolution), np.uint8)
        for first in range(0, len(part), tile):
            keys = part[first : first + tile]
            padded = torch.from_numpy(np.resize(keys, tile)).to(runtime.device)  # fill the tile by repetition
            x = trajectory(config, process, network, padded, resolution, runtime, mark)
            if not x.isfinite().all():
                raise SamplingError(f"{model}: images of the seeds {keys[0]} to {keys[-1]} have NaN or infinity")
            images[first : first + tile] = quantise(x)[: len(keys)].cpu().numpy()
            report(first + len(keys))
        return images

    return sample_in_blocks(
        seeds,
        draw,
        shape=(3, resolution, resolution),
        dtype=np.uint8,
        block=-(-config.sampling.batch_size // tile) * tile,
        work=work,
        progress=progress,
    )


def load_network(model: Path, runtime: Runtime) -> tuple[Network, int]:
    """Return the network of a stored model, in evaluation mode on the runtime's device, and the resolution of its
    images. Raises `SamplingError` for weights that are NaN or infinite: clamped and quantised, their images would be
    plain black or white."""
    unet = UNet2DModel.from_pretrained(model / "unet", low_cpu_mem_usage=False)
    bad = [name for name, weight in unet.state_dict().items() if not weight.isfinite().all()]
    if bad:
        raise SamplingError(f"{model}: {len(bad)} weights, e.g. {bad[0]}, are NaN or infinite: train it again")
    unet.eval()
    return place(unet, runtime), unet.config.sample_size


def quantise(x: torch.Tensor) -> torch.Tensor:
    """Return values in [-1, 1] as uint8, rounded to nearest. Samples are quantised here and nowhere else."""
    return ((x.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def trajectory(
    config: Config,
    process: Process,
    network: Network,
    seeds: torch.Tensor,
    resolution: int,
    runtime: Runtime,
    mark: Mark | None = None,
) -> torch.Tensor:
    """Solve the reverse process from the initial noise of each seed to an image.

    Args:
        config: Sampler, number of steps, temperature, forward process.
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
    solver = build_solver(config.sampling, config.noise)
    with autocast(runtime):  # around all steps, so that most weights are cast only once
        for index, t in enumerate(solver.timesteps):
            x0 = process.denoise(network, x, t)
            noise = normal(seeds, shape, draw=index + 1) if solver.is_stochastic else None
            x = solver.step(x, x0, noise)
    return x
