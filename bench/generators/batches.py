"""The training images, and what each step draws from them."""

import numpy as np
import torch

from bench.config import TrainingConfig
from bench.seeds import derive_seed

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""(x0, eps, t): float32 (B, 3, H, W) in [-1, 1], normals of that shape, int64 timesteps (B,)."""


class Batches:
    """The training images, resident on the device, and what step s draws from them."""

    def __init__(self, images: np.ndarray, training: TrainingConfig, seed: int, device: torch.device) -> None:
        self.images = torch.from_numpy(np.array(images)).to(device)  # uint8; a copy, as a mapped file is read-only
        self.training = training
        self.seed = seed
        self.generator = torch.Generator(device)
        self.epochs: dict[int, torch.Tensor] = {}

    def draw(self, step: int, num_timesteps: int) -> Batch:
        """What this step trains on.

        The timesteps of a batch are evenly spread from a random start (Kingma et al. 2021, appendix I.1): each is
        uniform, and together they vary less, which is worth most in small batches.
        """
        rows = self.rows(step)
        random = self.generator.manual_seed(derive_seed(self.seed, 0, "step", step))
        x0 = self.images[rows].float() / 127.5 - 1.0
        if self.training.horizontal_flip:
            flip = torch.rand(len(rows), generator=random, device=x0.device) < 0.5
            x0 = torch.where(flip[:, None, None, None], x0.flip(-1), x0)
        eps = torch.randn(x0.shape, generator=random, device=x0.device)
        offset = torch.rand((), generator=random, device=x0.device)
        spread = (torch.arange(len(rows), device=x0.device) + offset) / len(rows)
        t = (spread * num_timesteps).long().clamp(max=num_timesteps - 1)
        return x0, eps, t

    def rows(self, step: int) -> torch.Tensor:
        """Rows of the batch, int64 (B,): every image once per epoch; a batch may straddle two."""
        n, size = len(self.images), self.training.batch_size
        position, end = step * size, (step + 1) * size
        pieces = []
        while position < end:
            epoch, first = divmod(position, n)
            piece = self.epoch(epoch)[first : first + end - position]
            pieces.append(piece)
            position += len(piece)
        return torch.cat(pieces)

    def epoch(self, epoch: int) -> torch.Tensor:
        if epoch not in self.epochs:
            random = self.generator.manual_seed(derive_seed(self.seed, 0, "epoch", epoch))
            order = torch.randperm(len(self.images), generator=random, device=self.images.device)
            self.epochs = {epoch: order}
        return self.epochs[epoch]
