"""The `Trainer` of denoising-diffusion-pytorch: its own defaults, on image files in a folder, at a given size."""

import contextlib
import os
from pathlib import Path

import numpy as np
import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet
from PIL import Image


class DenoisingDiffusion:
    """`run(n)` goes on for n steps of the real `Trainer.train()`.

    images: uint8 (N, 3, H, H), N ≥ 100, written as PNG into `folder` first, as the trainer reads files. num_parameters,
    num_levels: of the network to match; `dim` is chosen so that the count comes nearest. The device is the one that
    accelerate finds.
    """

    def __init__(self, images: np.ndarray, batch_size: int, num_parameters: int, num_levels: int, folder: Path) -> None:
        pictures = folder / "pictures"
        pictures.mkdir(parents=True)
        for index, image in enumerate(images):
            Image.fromarray(image.transpose(1, 2, 0)).save(pictures / f"{index:06d}.png")
        self.unet = nearest_unet(num_parameters, num_levels)
        self.num_parameters = count(self.unet)
        diffusion = GaussianDiffusion(self.unet, image_size=images.shape[-1])
        self.trainer = Trainer(
            diffusion,
            str(pictures),
            train_batch_size=batch_size,
            gradient_accumulate_every=1,
            train_num_steps=0,
            save_and_sample_every=2**62,  # it would sample and save in between
            calculate_fid=False,  # it would download InceptionV3
            results_folder=str(folder / "results"),
        )

    def run(self, num_steps: int) -> None:
        self.trainer.train_num_steps += num_steps
        with (
            Path(os.devnull).open("w") as nowhere,
            contextlib.redirect_stderr(nowhere),  # the progress bar
            contextlib.redirect_stdout(nowhere),  # "training complete" after every turn
        ):
            self.trainer.train()


def nearest_unet(num_parameters: int, num_levels: int) -> Unet:
    """Its `Unet` with widths doubling from level to level, and the `dim` that comes nearest to `num_parameters`."""
    mults = tuple(2**level for level in range(num_levels))
    with torch.device("meta"):  # counting needs no memory
        counts = {dim: count(Unet(dim, dim_mults=mults)) for dim in range(8, 129, 4)}
    return Unet(min(counts, key=lambda dim: abs(counts[dim] - num_parameters)), dim_mults=mults)


def count(unet: torch.nn.Module) -> int:
    return sum(p.numel() for p in unet.parameters())
