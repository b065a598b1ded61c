"""The training images, and what each step draws from them.

Where the images are kept never changes a draw. What fits is kept resident: on the device, or on the CPU simply where
it is, in memory or memory-mapped. What does not fit the device is streamed to it step by step.
"""

import logging
import math
from abc import ABC, abstractmethod

import numpy as np
import torch

from bench.config import TrainingConfig
from bench.machine.device import free_memory
from bench.pool import Images
from bench.seeds import derive_seed

log = logging.getLogger(__name__)

RESIDENT_SHARE = 0.25
"""Of the device's free memory (on the CPU: of the available memory) that resident images may take; the rest is for
activations and moments, which are not there yet when this is decided."""

_BLOCK = 4096

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""(x0, eps, t): float32 (B, 3, H, W) in [-1, 1], normals of that shape, int64 timesteps (B,)."""


class Batches:
    """What step s trains on. data: "resident" or "streamed"."""

    def __init__(self, images: Images, training: TrainingConfig, seed: int, device: torch.device) -> None:
        self.training = training
        self.seed = seed
        self.generator = torch.Generator(device)
        size, free = math.prod(images.shape), free_memory(device)
        self.data = "resident" if size <= RESIDENT_SHARE * free else "streamed"
        on_device = self.data == "resident" and device.type != "cpu"
        self.source: Source = (OnDevice if on_device else OnHost)(images, training, seed, device)
        log.info("training images: %.1f MB, with %.0f MB free on %s: %s", size / 1e6, free / 1e6, device, self.data)

    def draw(self, step: int, num_timesteps: int) -> Batch:
        """What this step trains on.

        The timesteps of a batch are evenly spread from a random start (Kingma et al. 2021, appendix I.1): each is
        uniform, and together they vary less, which is worth most in small batches.
        """
        x0 = self.source.pixels(step).float() / 127.5 - 1.0
        random = self.generator.manual_seed(derive_seed(self.seed, 0, "step", step))
        if self.training.horizontal_flip:
            flip = torch.rand(len(x0), generator=random, device=x0.device) < 0.5
            x0 = torch.where(flip[:, None, None, None], x0.flip(-1), x0)
        eps = torch.randn(x0.shape, generator=random, device=x0.device)
        offset = torch.rand((), generator=random, device=x0.device)
        spread = (torch.arange(len(x0), device=x0.device) + offset) / len(x0)
        t = (spread * num_timesteps).long().clamp(max=num_timesteps - 1)
        return x0, eps, t


class Order:
    """Which rows a step trains on: every image once per epoch; a batch may straddle two. An epoch's order is drawn on
    the device; on_host: it is then brought to the host."""

    def __init__(
        self, num_images: int, training: TrainingConfig, seed: int, device: torch.device, on_host: bool = False
    ) -> None:
        self.on_host = on_host
        self.num_images = num_images
        self.batch_size = training.batch_size
        self.seed = seed
        self.generator = torch.Generator(device)
        self.epochs: dict[int, torch.Tensor] = {}

    def rows(self, step: int) -> torch.Tensor:
        """Rows of the batch, int64 (B,)."""
        position, end = step * self.batch_size, (step + 1) * self.batch_size
        pieces = []
        while position < end:
            epoch, first = divmod(position, self.num_images)
            piece = self.epoch(epoch)[first : first + end - position]
            pieces.append(piece)
            position += len(piece)
        return torch.cat(pieces)

    def epoch(self, epoch: int) -> torch.Tensor:
        if epoch not in self.epochs:
            random = self.generator.manual_seed(derive_seed(self.seed, 0, "epoch", epoch))
            order = torch.randperm(self.num_images, generator=random, device=random.device)
            self.epochs = {epoch: order.cpu() if self.on_host else order}
        return self.epochs[epoch]


class Source(ABC):
    """Where the images of a step come from."""

    @abstractmethod
    def pixels(self, step: int) -> torch.Tensor:
        """uint8 (B, 3, H, W) on the device."""


class OnDevice(Source):
    """All images in the device's memory."""

    def __init__(self, images: Images, training: TrainingConfig, seed: int, device: torch.device) -> None:
        self.order = Order(len(images), training, seed, device)
        self.images = torch.empty(images.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(images), _BLOCK):
            part = self.images[start : start + _BLOCK]
            part.copy_(torch.from_numpy(images[np.arange(start, start + len(part))]))

    def pixels(self, step: int) -> torch.Tensor:
        return self.images[self.order.rows(step)]


class OnHost(Source):
    """Images that stay where they are, in memory or on disk. The host gathers a step's images while the device still
    computes the steps before, and waits for it once per epoch, for the order that the device has drawn."""

    def __init__(self, images: Images, training: TrainingConfig, seed: int, device: torch.device) -> None:
        self.images = images
        self.order = Order(len(images), training, seed, device, on_host=True)
        self.device = device

    def pixels(self, step: int) -> torch.Tensor:
        pixels = torch.from_numpy(self.images[self.order.rows(step).numpy()])
        if self.device.type == "cpu":
            return pixels
        return pixels.pin_memory().to(self.device, non_blocking=True)
