"""The merged upsampling against diffusers' own, which repeats pixels and then convolves."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.upsampling import Upsample2D
from torch import Tensor

from bench.config import DDPMConfig, RuntimeConfig
from bench.generators.network import build_unet, place
from bench.generators.upsampling import MergedUpsample2D, merge_upsampling, merged_kernel
from bench.runtime import resolve


def pair(dtype: torch.dtype) -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    stock = torch.nn.Sequential(Upsample2D(5, use_conv=True, out_channels=7)).to(dtype)
    merged = copy.deepcopy(stock)
    merge_upsampling(merged)
    assert isinstance(merged[0], MergedUpsample2D)
    return stock, merged


def outcome(module: torch.nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and the gradients of the input, of the kernel and of the bias."""
    x = x.clone().requires_grad_()
    y = module(x)
    towards = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view_as(y).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, (x, *module.parameters()), towards)]


@pytest.mark.parametrize("shape", [(2, 5, 1, 1), (1, 5, 3, 4), (3, 5, 8, 8)])
def test_the_same_up_to_rounding(shape: tuple[int, ...]) -> None:
    stock, merged = pair(torch.float64)
    x = torch.randn(shape, dtype=torch.float64)
    for ours, theirs in zip(outcome(merged, x), outcome(stock, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_no_less_exact_in_bf16() -> None:
    """Both are held against float64; the kernel's sums are rounded once, so they cost no digits."""
    exact, _ = pair(torch.float64)
    stock, merged = pair(torch.float32)
    x = torch.randn(4, 5, 16, 16).bfloat16()
    wanted = outcome(exact, x.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = [outcome(module, x) for module in (stock, merged)]

    def error(outcome: list[Tensor], index: int) -> float:
        return float((outcome[index].double() - wanted[index]).norm() / wanted[index].norm())

    for index in range(len(wanted)):
        assert error(found[1], index) < max(1.5 * error(found[0], index), 1e-6)


def test_another_size_than_the_double_is_left_to_diffusers() -> None:
    stock, merged = pair(torch.float32)
    x = torch.randn(1, 5, 4, 4)
    assert torch.equal(merged[0](x, output_size=(7, 7)), stock[0](x, output_size=(7, 7)))


def test_the_network_keeps_its_weights_and_their_names(tiny: Callable[..., DDPMConfig]) -> None:
    unet = build_unet(tiny().unet, 8, seed=0)
    before = copy.deepcopy(unet.state_dict())
    place(unet, resolve(RuntimeConfig(device="cpu", precision="fp32")))
    assert any(isinstance(module, MergedUpsample2D) for module in unet.modules())
    assert unet.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_by_hand(dtype: torch.dtype) -> None:
    """A kernel that copies the pixel itself repeats it twice in each direction; one shifted by a row repeats that."""
    weight = torch.zeros(1, 1, 3, 3, dtype=dtype)
    weight[0, 0, 1, 1] = 1
    expected = torch.tensor([[0.0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=dtype)
    assert torch.equal(merged_kernel(weight)[0, 0], expected)
    assert torch.equal(merged_kernel(weight.roll(1, 2))[0, 0], expected.roll(-1, 0))


@pytest.mark.parametrize(
    "other",
    [
        {"use_conv": False},
        {"use_conv_transpose": True},
        {"use_conv": True, "kernel_size": 5, "padding": 2},
        {"use_conv": True, "padding": 0},
        {"use_conv": True, "interpolate": False},
        {"use_conv": True, "norm_type": "ln_norm", "eps": 1e-5, "elementwise_affine": True},
        {"use_conv": True, "name": "other"},
    ],
)
def test_what_is_something_else_stays(other: dict[str, Any]) -> None:
    module = torch.nn.Sequential(Upsample2D(4, **other))
    merge_upsampling(module)
    assert type(module[0]) is Upsample2D
