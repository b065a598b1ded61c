"""Sampling: an image is a function of the model and its own noise seed.

The network is evaluated on tiles of a fixed number of images. On the CPU that number never changes, because
the libraries below torch choose other kernels, which round differently, for other batch sizes; on CUDA it is
`sampling.batch_size`. The last tile is padded, and the padding thrown away.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from bench.config import DDPMConfig
from bench.generators.ddpm.network import Network, Process, autocast, build_process, place
from bench.generators.ddpm.solvers import build_solver
from bench.generators.shared.noise import normal
from bench.machine import distributed
from bench.machine.device import Runtime, silent

log = logging.getLogger(__name__)

CPU_TILE = 32
"""Images per network evaluation on the CPU. Part of the sampling version: another value may change the last
bit."""


def sample(
    config: DDPMConfig,
    model: Path,
    seeds: np.ndarray,
    *,
    work: Path,
    runtime: Runtime,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """See `bench.generators.sample`."""
    progress = progress or silent
    unet = UNet2DModel.from_pretrained(model / "unet", low_cpu_mem_usage=False)
    unet.eval()
    network = place(unet, runtime)
    process = build_process(config.noise, runtime.device)
    resolution = unet.config.sample_size
    tile = CPU_TILE if runtime.device.type == "cpu" else config.sampling.batch_size
    block = -(-config.sampling.batch_size // tile) * tile
    work.mkdir(parents=True, exist_ok=True)

    images = np.empty((len(seeds), 3, resolution, resolution), np.uint8)
    starts = range(0, len(seeds), block)
    for start in distributed.share(starts):
        wanted = seeds[start : start + block]
        name = f"block-{start:08d}-{_digest(wanted)}"
        finished = _read(work, name)
        if finished is None:
            finished = np.empty((len(wanted), 3, resolution, resolution), np.uint8)
            for first in range(0, len(wanted), tile):
                part = wanted[first : first + tile]
                padded = np.resize(part, tile)  # repeats, as far as needed
                keys = torch.from_numpy(padded).to(runtime.device)
                x = trajectory(config, process, network, keys, resolution, runtime)
                finished[first : first + tile] = quantise(x)[: len(part)].cpu().numpy()
                progress(start + first + len(part), len(seeds))
            _write(work, name, finished)
        images[start : start + block] = finished
        progress(start + len(wanted), len(seeds))
    distributed.fill(images, starts, block)
    return images


def quantise(x: torch.Tensor) -> torch.Tensor:
    """[-1, 1] to uint8, rounded to the nearest; the only place where a sample loses precision."""
    return ((x.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def trajectory(
    config: DDPMConfig,
    process: Process,
    network: Network,
    seeds: torch.Tensor,
    resolution: int,
    runtime: Runtime,
) -> torch.Tensor:
    """From noise to images, float32 (n, 3, H, H), for the int64 (n,) seeds on the device."""
    shape = (3, resolution, resolution)
    x = config.sampling.temperature * normal(seeds, shape, draw=0)
    solver = build_solver(config.sampling, config.noise)
    with autocast(runtime):  # around the whole way: most weights are cast once
        for index, t in enumerate(solver.timesteps):
            x0 = process.denoise(network, x, t)
            noise = normal(seeds, shape, draw=index + 1) if solver.is_stochastic else None
            x = solver.step(x, x0, noise)
    return x


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _read(work: Path, name: str) -> np.ndarray | None:
    """A finished block, or None where there is none with the bytes that its file is named after."""
    for path in work.glob(f"{name}-*.npy"):
        try:
            block = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            log.warning("%s is not a readable block (%s): sampling it again", path, error)
            continue
        if path.stem == f"{name}-{_digest(block)}":
            return block
        log.warning("%s does not match its checksum: sampling it again", path)
    return None


def _write(work: Path, name: str, block: np.ndarray) -> None:
    path = work / f"{name}-{_digest(block)}.npy"
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, block, allow_pickle=False)
    partial.rename(path)
