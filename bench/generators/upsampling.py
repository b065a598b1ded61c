"""Upsampling by repetition and the 3 x 3 convolution after it, as the one transposed convolution that they are."""

import torch
import torch.nn.functional as F
from diffusers.models.upsampling import Upsample2D
from torch import Tensor


class MergedUpsample2D(Upsample2D):
    """An `Upsample2D` without the repeated pixels: the same result up to rounding, from 4 products a pixel and channel
    instead of 9, and nothing of the doubled size is kept for the gradient."""

    spread: Tensor

    def forward(self, hidden_states: Tensor, output_size: int | None = None, *args: object, **kwargs: object) -> Tensor:
        if output_size is not None:  # not a doubling
            return super().forward(hidden_states, output_size, *args, **kwargs)
        kernel = merged_kernel(self.conv.weight, self.spread)
        return F.conv_transpose2d(hidden_states, kernel, self.conv.bias, stride=2, padding=1)


def merge_upsampling(unet: torch.nn.Module) -> None:
    """Has every doubling of the network computed as one convolution; its weights and their names stay."""
    for module in unet.modules():
        if type(module) is Upsample2D and module.use_conv and module.name == "conv" and module.norm is None:
            module.__class__ = MergedUpsample2D
            module.register_buffer("spread", _spread().to(module.conv.weight), persistent=False)


def merged_kernel(weight: Tensor, spread: Tensor) -> Tensor:
    """(out, in, 3, 3) of a convolution after doubling to (in, out, 4, 4) of a transposed one with stride 2, padding 1.
    spread: `_spread()`. Summed in the weights' own precision, whatever the products of the network run in."""
    with torch.autocast(weight.device.type, enabled=False):
        return (weight.flatten(2) @ spread).unflatten(2, (4, 4)).transpose(0, 1)


def _spread() -> Tensor:
    """float32 (9, 16): which places of the transposed kernel each tap of the convolution is added to. On one axis, tap
    0 meets the two copies of a pixel at places 2 and 3, tap 1 at 1 and 2, tap 2 at 0 and 1."""
    axis = torch.tensor([[0.0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]])
    return torch.einsum("yv,xu->yxvu", axis, axis).reshape(9, 16)
