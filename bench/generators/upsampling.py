"""Upsampling by repetition and the 3 x 3 convolution after it, as the one transposed convolution that they are."""

import torch
import torch.nn.functional as F
from diffusers.models.upsampling import Upsample2D
from torch import Tensor


class MergedUpsample2D(Upsample2D):
    """An `Upsample2D` without the repeated pixels: the same result up to rounding, from 4 products a pixel and channel
    instead of 9, and nothing of the doubled size is kept for the gradient."""

    conv: torch.nn.Conv2d  # type: ignore[assignment]  # what `merge_upsampling` asks for

    def forward(self, hidden_states: Tensor, output_size: int | None = None, *args: object, **kwargs: object) -> Tensor:
        if output_size is not None:  # not a doubling
            return super().forward(hidden_states, output_size, *args, **kwargs)
        return F.conv_transpose2d(hidden_states, merged_kernel(self.conv.weight), self.conv.bias, stride=2, padding=1)


def merge_upsampling(unet: torch.nn.Module) -> None:
    """Has every doubling of the network computed as one convolution; its weights and their names stay."""
    for module in unet.modules():
        if type(module) is Upsample2D and _can_merge(module):
            module.__class__ = MergedUpsample2D


def _can_merge(module: Upsample2D) -> bool:
    """Whether it repeats pixels, then convolves them with 3 x 3 taps and a border of zeros, and nothing else."""
    conv = getattr(module, "conv", None)
    if module.use_conv_transpose or not module.interpolate or module.norm is not None:
        return False
    return isinstance(conv, torch.nn.Conv2d) and (conv.kernel_size, conv.padding) == ((3, 3), (1, 1))


def merged_kernel(weight: Tensor) -> Tensor:
    """(out, in, 3, 3) of a convolution after doubling to (in, out, 4, 4) of a transposed one with stride 2, padding 1:
    each tap meets both copies of a pixel. Autocast leaves sums alone, so they are as precise as the weights."""
    taps = weight.flip(2, 3).transpose(0, 1)  # a transposed convolution reads its kernel backwards
    rows = F.pad(taps, (0, 0, 1, 0)) + F.pad(taps, (0, 0, 0, 1))
    return F.pad(rows, (1, 0)) + F.pad(rows, (0, 1))
