"""A feature space for tests: 24 numbers an image, in no time."""

import torch
from torch import Tensor, nn


class Blocks(nn.Module):
    """Mean colours of the quarters of an image, and of these the squares, so that the features are not linear."""

    dimension, input_size = 24, 16

    def forward(self, images: Tensor) -> Tensor:
        means = nn.functional.adaptive_avg_pool2d(images.float() / 255, 2).flatten(1)
        return torch.cat([means, means**2], 1)


def make(weights: str | None) -> nn.Module:
    return Blocks()
