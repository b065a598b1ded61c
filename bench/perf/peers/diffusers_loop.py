"""The training loop of diffusers' documented example for unconditional images, in plain torch.

Settings are those of `examples/unconditional_image_generation`: float32, AdamW, cosine schedule with warm-up, EMA, and
reading the loss at every step. Its slow extras are left out: progress bar, tracker, `accelerate` and image files.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.optimization import get_scheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms


class DiffusersLoop:
    """`run(n)` continues a training of 100 000 steps for n steps. images: uint8 (N, 3, H, H)."""

    def __init__(self, unet: UNet2DModel, images: np.ndarray, batch_size: int, device: torch.device) -> None:
        self.unet = unet.train()
        self.num_parameters = unet.num_parameters()
        self.unet.to(device)  # type: ignore[arg-type]  # diffusers' wrapper hides the type
        self.device = device
        self.scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear", prediction_type="epsilon")
        self.optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        self.rate = get_scheduler("cosine", self.optimizer, num_warmup_steps=500, num_training_steps=100_000)
        self.average = EMAModel(unet.parameters(), 0.9999, use_ema_warmup=True, power=3 / 4, model_cls=UNet2DModel)
        self.batches = endless_batches(images, batch_size)
        self.losses: list[float] = []

    def run(self, num_steps: int) -> None:
        for _ in range(num_steps):
            clean = next(self.batches).to(self.device)
            noise = torch.randn(clean.shape, device=self.device)
            t = torch.randint(0, 1000, (len(clean),), device=self.device).long()
            loss = self.loss(clean, noise, t)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
            self.optimizer.step()
            self.rate.step()
            self.optimizer.zero_grad()
            self.average.step(self.unet.parameters())
            self.losses.append(loss.detach().item())

    def loss(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Compute the loss for epsilon prediction, a scalar. clean, noise: float32 (n, 3, H, H); t: int64 (n,)."""
        noisy = self.scheduler.add_noise(clean, noise, t)
        return F.mse_loss(self.unet(noisy, t).sample.float(), noise.float())


def endless_batches(images: np.ndarray, batch_size: int) -> Iterator[Tensor]:
    """Yield batches, float32 (batch_size, 3, H, H), with the example's transforms."""
    steps = [
        transforms.Resize(images.shape[-1], interpolation=transforms.InterpolationMode.BILINEAR),
        transforms.CenterCrop(images.shape[-1]),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.5], [0.5]),
    ]
    transform = transforms.Compose(steps)
    pictures: Any = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]

    def collate(batch: list[Image.Image]) -> Tensor:
        return torch.stack([transform(picture.convert("RGB")) for picture in batch])

    loader = DataLoader(pictures, batch_size, shuffle=True, drop_last=True, collate_fn=collate)
    while True:
        yield from loader
