"""Sampling with a UNet, in which an image is a function of the model and its own noise seed; and its inversion.

The network is evaluated on tiles of a constant number of images, independent of `sampling.batch_size`, because the
libraries that torch calls choose kernels by batch size, and these round differently. The last tile is padded, and the
padding is discarded.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.errors import SamplingError
from bench.generators.shared.blocks import sample_in_blocks
from bench.generators.shared.unet import Network, place
from bench.generators.shared.unet_remedies import SELF_TRAINED, guidance_weight, guided, load_unet
from bench.kinds import Items
from bench.machine.device import Runtime

Mark = Callable[[torch.Tensor], torch.Tensor]
"""Puts a watermark into initial noise, float32 (n, 3, H, H)."""

TILES = {"cpu": 32, "cuda": 128}
"""Images per network evaluation, by type of device. They are part of the sampling version: another value may change the
last bits."""


def sample_images(
    model: Path,
    trajectory: Callable[[torch.Tensor], torch.Tensor],
    seeds: np.ndarray,
    *,
    resolution: int,
    batch_size: int,
    work: Path,
    runtime: Runtime,
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """Draw images in tiles and blocks.

    Args:
        model: Directory of the trained model, for messages.
        trajectory: Maps the seeds of a tile, int64 (n,) on the device, to images scaled to [-1, 1], (n, 3, H, H).
        seeds: int64 (n,), the noise seed of each image.
        resolution: Side H of the images, in pixels.
        batch_size: Images per block, rounded up to whole tiles. A block is stored when it is finished.
        work: Directory that outlives a killed process, for finished blocks.
        runtime: Device and precision.
        progress: Called with (images done, total images).

    Returns:
        uint8 (n, 3, H, H).
    """
    tile, shape = TILES[runtime.device.type], (3, resolution, resolution)

    def draw(part: np.ndarray, report: Callable[[int], None]) -> np.ndarray:
        images = np.empty((len(part), *shape), np.uint8)
        for first in range(0, len(part), tile):
            keys = part[first : first + tile]
            padded = torch.from_numpy(np.resize(keys, tile)).to(runtime.device)  # fill the tile by repetition
            x = trajectory(padded)
            if not x.isfinite().all():
                raise SamplingError(f"{model}: images of the seeds {keys[0]} to {keys[-1]} have NaN or infinity")
            images[first : first + tile] = quantise(x)[: len(keys)].cpu().numpy()
            report(first + len(keys))
        return images

    block = -(-batch_size // tile) * tile
    return sample_in_blocks(seeds, draw, shape=shape, dtype=np.uint8, block=block, work=work, progress=progress)


def invert_images(
    images: Items,
    way_back: Callable[[torch.Tensor], torch.Tensor],
    *,
    runtime: Runtime,
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """Invert sampling, from images to noise, in tiles.

    Args:
        images: uint8 (N, 3, H, H).
        way_back: Maps the images of a tile, scaled to [-1, 1], float32 (n, 3, H, H) on the device, to their noise.
        runtime: Device and precision.
        progress: Called with (images done, total images).

    Returns:
        The noise, float32 (N, 3, H, H).
    """
    tile = TILES[runtime.device.type]
    found = np.empty(images.shape, np.float32)
    for first in range(0, len(images), tile):
        rows = np.arange(first, min(first + tile, len(images)))
        x = torch.from_numpy(images[np.resize(rows, tile)]).to(runtime.device).float() / 127.5 - 1.0
        found[rows] = way_back(x)[: len(rows)].float().cpu().numpy()
        progress(int(rows[-1]) + 1, len(images))
    return found


def load_network(model: Path, runtime: Runtime) -> tuple[Network, int]:
    """Return the network of a stored model, in evaluation mode on the runtime's device, and the resolution of its
    images. For a guided model, the network is the guided one.

    Raises `SamplingError` if a weight is NaN or infinite. Clamping and quantising would otherwise hide this in plain
    black or white images.
    """
    network, resolution = _load_one(model, runtime)
    weight = guidance_weight(model)
    if weight is None:
        return network, resolution
    return guided(network, _load_one(model / SELF_TRAINED, runtime)[0], weight), resolution


def _load_one(model: Path, runtime: Runtime) -> tuple[Network, int]:
    unet = load_unet(model)
    bad = [name for name, weight in unet.state_dict().items() if not weight.isfinite().all()]
    if bad:
        raise SamplingError(f"{model}: {len(bad)} weights, e.g. {bad[0]}, are NaN or infinite: train it again")
    unet.eval()
    return place(unet, runtime), int(unet.config["sample_size"])


def quantise(x: torch.Tensor) -> torch.Tensor:
    """Return values in [-1, 1] as uint8, rounded to nearest. The images of all UNet models are quantised here."""
    return ((x.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
