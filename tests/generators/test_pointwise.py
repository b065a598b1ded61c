"""A convolution of 1 x 1 taps as a product must be no other function, and leave all other convolutions alone."""

import copy

import pytest
import torch
from torch import nn

from bench.generators.pointwise import PointwiseConv2d, as_products


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 5, 7, 3), (4, 8, 16, 16)])
def test_output_and_gradients_are_those_of_the_convolution(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(shape[1], 6, 1).double()
    product = nn.Sequential(copy.deepcopy(conv))
    as_products(product)
    assert isinstance(product[0], PointwiseConv2d)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    found, wanted = product(x), conv(x)
    towards = torch.randn_like(wanted)
    torch.testing.assert_close(found, wanted)
    for a, b in zip(
        torch.autograd.grad(found, (x, *product.parameters()), towards),
        torch.autograd.grad(wanted, (x, *conv.parameters()), towards),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_it_is_no_less_exact_in_bf16() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(64, 32, 1), torch.randn(4, 64, 8, 8)
    product = nn.Sequential(copy.deepcopy(conv))
    as_products(product)
    with torch.no_grad():
        exact = conv.double()(x.double())
        conv.float()
        with torch.autocast("cpu", torch.bfloat16):
            ours, theirs = ((f(x).double() - exact).norm() for f in (product, conv))
    assert ours < 1.1 * theirs


def test_other_convolutions_stay() -> None:
    others = nn.ModuleList(
        [
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Conv2d(4, 4, 1, stride=2),
            nn.Conv2d(4, 4, 1, padding=1),
            nn.Conv2d(4, 4, 1, groups=2),
            nn.Conv2d(4, 4, 1, bias=False),
        ]
    )
    as_products(others)
    assert all(type(module) is nn.Conv2d for module in others)
