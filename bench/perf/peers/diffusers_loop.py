"""The training loop of diffusers' documented example for unconditional images, in plain torch.

Settings are those of `examples/unconditional_image_generation`: float32, AdamW, cosine schedule with warm-up, EMA, and
the loss read at every step. Where the example would only cost more, it is spared it: decoded PIL images lie in memory,
there is no progress bar, no tracker and no `accelerate` around the loop.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.optimization import get_scheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.training_utils import EMAModel
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Pictures(Dataset[torch.Tensor]):
    """PIL images and the example's transforms. images: uint8 (N, 3, H, H)."""

    def __init__(self, images: np.ndarray) -> None:
        resolution = images.shape[-1]
        self.pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
        self.transform = transforms.Compose(
            [
                transforms.Resize(resolution, interpolation=transforms.InterpolationMode.BILINEAR),
                transforms.CenterCrop(resolution),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([0.5], [0.5]),
            ]
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(self.pictures[index].convert("RGB"))


class DiffusersLoop:
    """`run(n)` goes on for n steps. num_steps: of the whole training, which the learning rate is scheduled over."""

    def __init__(
        self, unet: UNet2DModel, images: np.ndarray, batch_size: int, num_steps: int, device: torch.device
    ) -> None:
        self.unet = unet.train()
        self.unet.to(device)  # type: ignore[arg-type]  # diffusers' wrapper hides the type
        self.device = device
        self.scheduler = self.build_scheduler()
        self.optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        self.rate = get_scheduler(
            "cosine", optimizer=self.optimizer, num_warmup_steps=500, num_training_steps=num_steps
        )
        self.average = EMAModel(
            unet.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=3 / 4, model_cls=UNet2DModel
        )
        self.loader = DataLoader(Pictures(images), batch_size=batch_size, shuffle=True, num_workers=0, drop_last=True)
        self.batches = self._endless()
        self.losses: list[float] = []

    @staticmethod
    def build_scheduler() -> DDPMScheduler:
        return DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear", prediction_type="epsilon")

    def _endless(self) -> Iterator[torch.Tensor]:
        while True:
            yield from self.loader

    def run(self, num_steps: int) -> None:
        for _ in range(num_steps):
            clean = next(self.batches).to(self.device)
            noise = torch.randn(clean.shape, device=self.device)
            t = torch.randint(0, 1000, (len(clean),), device=self.device).long()
            loss = stock_loss(self.unet, self.scheduler, clean, noise, t)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
            self.optimizer.step()
            self.rate.step()
            self.optimizer.zero_grad()
            self.average.step(self.unet.parameters())
            self.losses.append(loss.detach().item())


def stock_loss(
    unet: UNet2DModel, scheduler: DDPMScheduler, clean: torch.Tensor, noise: torch.Tensor, t: torch.Tensor
) -> torch.Tensor:
    """The example's loss for epsilon prediction, a scalar. clean, noise: float32 (n, 3, H, H); t: int64 (n,)."""
    noisy = scheduler.add_noise(clean, noise, t)  # type: ignore[arg-type]  # diffusers declares an IntTensor
    return F.mse_loss(unet(noisy, t).sample.float(), noise.float())
