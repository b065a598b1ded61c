"""The `Trainer` of denoising-diffusion-pytorch with its own defaults, for image files and a network of a given size."""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet
from PIL import Image


class DenoisingDiffusion:
    """`run(n)` continues the real `Trainer.train()` for n steps, on the device that accelerate selects.

    images: uint8 (N, 3, H, H), N ≥ 100, written as PNG files. num_parameters, num_levels: size of the network to match.
    """

    def __init__(self, images: np.ndarray, batch_size: int, num_parameters: int, num_levels: int) -> None:
        self._folder = tempfile.TemporaryDirectory()  # removed with this object
        pictures = Path(self._folder.name, "pictures")
        pictures.mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image.transpose(1, 2, 0)).save(pictures / f"{index:06d}.png")
        unet = nearest_unet(num_parameters, num_levels)
        self.num_parameters = count(unet)
        self.trainer = Trainer(
            GaussianDiffusion(unet, image_size=images.shape[-1]),
            str(pictures),
            train_batch_size=batch_size,
            gradient_accumulate_every=1,
            train_num_steps=0,
            save_and_sample_every=2**62,  # otherwise it would sample and save in between
            calculate_fid=False,  # otherwise it would download InceptionV3
            results_folder=f"{self._folder.name}/results",
        )

    def run(self, num_steps: int) -> None:
        self.trainer.train_num_steps += num_steps
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):  # progress bar
            self.trainer.train()


def nearest_unet(num_parameters: int, num_levels: int) -> Unet:
    """Return a `Unet` whose widths double from level to level, with the `dim` that brings its number of parameters
    closest to `num_parameters`."""
    mults = tuple(2**level for level in range(num_levels))
    with torch.device("meta"):  # counting needs no memory
        counts = {dim: count(Unet(dim, dim_mults=mults)) for dim in range(8, 129, 4)}
    return Unet(min(counts, key=lambda dim: abs(counts[dim] - num_parameters)), dim_mults=mults)


def count(unet: torch.nn.Module) -> int:
    return sum(p.numel() for p in unet.parameters())
