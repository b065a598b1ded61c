"""The random draws of each step of a diffusion training: images, noise and times."""

from collections.abc import Callable

import torch

from bench.generators.shared.batches import open_batches, to_device
from bench.generators.shared.schedule import TrainingConfig
from bench.kinds import Items
from bench.seeds import derive_seed

NoisyBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""(x0, eps, u): images, float32 (B, 3, H, W) in [-1, 1]; standard normals of the same shape; and uniform numbers in
[0, 1], float32 (B,), which the process turns into times."""


class NoisyBatches:
    """The noisy batch of each step, which depends on the seed and the step, not on where the images are kept.

    Args:
        images: uint8 (N, 3, H, H).
        training: Gives the batch size and the augmentation.
        seed: Seed of the training.
        device: Device of the batches.
        draw_on: Device that draws noise, times and horizontal flips. Their values depend on it.
    """

    def __init__(
        self, images: Items, training: TrainingConfig, seed: int, device: torch.device, draw_on: torch.device
    ) -> None:
        self.training = training
        self.seed = seed
        self.generator = torch.Generator(draw_on)
        self.batches = open_batches(images, training, seed, device)

    def draw(self, step: int) -> NoisyBatch:
        """Return the batch of a step.

        The times of a batch are evenly spaced from a random start (Kingma et al. 2021, appendix I.1). Each time is
        uniform, and their mean varies less than that of independent times, which matters most in small batches.
        """
        x0 = self.batches.of_step(step).float() / 127.5 - 1.0
        self.generator.manual_seed(derive_seed(self.seed, 0, "step", step))
        if self.training.horizontal_flip:
            flip = self._drawn(torch.rand, (len(x0),), x0.device) < 0.5
            x0 = torch.where(flip[:, None, None, None], x0.flip(-1), x0)
        eps = self._drawn(torch.randn, x0.shape, x0.device)
        offset = self._drawn(torch.rand, (), x0.device)
        u = (torch.arange(len(x0), device=x0.device) + offset) / len(x0)
        return x0, eps, u

    def _drawn(self, draw: Callable[..., torch.Tensor], shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        return to_device(draw(shape, generator=self.generator, device=self.generator.device), device)
