"""FLOPs of a network are counted, and rates of a machine measured, as documented."""

import time

import pytest
import torch
from configs import UNetConfig

from bench.generators.shared.unet import build_unet
from bench.perf.machine_limits import LONG_ENOUGH, fastest
from bench.perf.roofline import H100, gflop, report


def unet(width: int) -> UNetConfig:
    return UNetConfig([width, 2 * width], [False, False], 1)


def test_a_step_is_counted_on_the_network():
    """A network twice as wide has about four times the FLOPs, and a batch twice as large exactly twice."""
    one, batch, wide = (
        gflop(unet(width), (size, 3, 16, 16), training=True) for width, size in ((32, 4), (32, 8), (64, 4))
    )
    assert batch == pytest.approx(2 * one, rel=0.01)
    assert 3.5 < wide / one < 4.1


def test_flops_by_hand():
    network = build_unet(unet(8), 8, 0)
    products = 0  # multiply-adds of one image forward

    def count(module: torch.nn.Module, given: tuple[torch.Tensor], got: torch.Tensor) -> None:
        nonlocal products
        weight = module.weight
        products += got.numel() * weight[0].numel() if isinstance(module, torch.nn.Conv2d) else weight.numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64))
    first = 2 * 8 * 8 * 8 * 3 * 9  # images need no gradient, and neither does the sine embedding of the timestep
    assert 1e9 * gflop(unet(8), (1, 3, 8, 8), training=True) == pytest.approx(3 * 2 * products - first, rel=1e-3)
    assert 1e9 * gflop(unet(8), (1, 3, 8, 8), training=False) == pytest.approx(2 * products, rel=1e-3)


def test_the_report_names_hours():
    text = "\n".join(report("an H100", H100))
    assert "37.1 M parameters" in text and "18.0 TFLOP" in text and "730 trainings of collapse_v1" in text


def test_a_fast_call_is_repeated_until_the_end_of_a_measurement_does_not_count():
    calls = 0

    def work() -> None:
        nonlocal calls
        calls += 1
        until = time.perf_counter() + 1e-3
        while time.perf_counter() < until:
            pass

    assert 1e-3 <= fastest(work) < 2e-3
    assert calls > 3 * LONG_ENOUGH / 2e-3
