"""What is counted on a network, and what a time says beside the limits that the counts set."""

import time

import pytest
import torch

from bench.config import DDPMConfig, NoiseConfig, TrainingConfig, UNetConfig
from bench.generators.network import build_unet
from bench.perf import counting, profiles
from bench.perf.counting import Count, beside_limits, evaluation, training_step
from bench.perf.machine import Machine
from bench.runtime import Runtime


def config(width: int, batch: int) -> DDPMConfig:
    unet = UNetConfig([width, 2 * width], [False, False], 1)
    return DDPMConfig(unet=unet, noise=NoiseConfig(), training=TrainingConfig(batch_size=batch))


def test_a_step_is_counted_on_the_network():
    """A network twice as wide has about four times the FLOPs, and a batch twice as large exactly twice."""
    one, batch, wide = (training_step(config(*size), 16) for size in ((32, 4), (32, 8), (64, 4)))
    assert batch.flops == pytest.approx(2 * one.flops, rel=0.01)
    assert 3.5 < wide.flops / one.flops < 4.1
    assert one.bytes_fused < one.bytes_plain
    assert one.bytes_update == 13 * 4 * one.num_parameters


def test_float32_moves_twice_the_bytes_of_bf16():
    half, full = (evaluation(config(32, 4), 16, 4, dtype) for dtype in (torch.bfloat16, torch.float32))
    assert full.flops == half.flops
    assert full.bytes_fused == pytest.approx(2 * half.bytes_fused, rel=0.01)


def test_flops_by_hand():
    unet = build_unet(config(8, 1).unet, 8, 0)
    products = 0  # multiply-adds of one image forward

    def count(module: torch.nn.Module, given: tuple[torch.Tensor], got: torch.Tensor) -> None:
        nonlocal products
        weight = module.weight
        products += got.numel() * weight[0].numel() if isinstance(module, torch.nn.Conv2d) else weight.numel()

    for module in unet.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        unet(torch.zeros(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64))
    products -= 5 * 8 * 8 * 16 * 16  # after the doubling, pixel and channel meet 4 places of a kernel, not 9
    first = 2 * 8 * 8 * 8 * 3 * 9  # images need no gradient, and neither does the sine embedding of the timestep
    assert training_step(config(8, 1), 8).flops == pytest.approx(3 * 2 * products - first, rel=1e-3)
    assert evaluation(config(8, 1), 8, 1).flops == pytest.approx(2 * products, rel=1e-3)


def test_a_time_beside_the_limits(monkeypatch: pytest.MonkeyPatch):
    rates = {"float32": 100.0, "bfloat16": 400.0}
    monkeypatch.setattr(counting, "measured_machine", lambda kind: Machine("here", 2, "2", rates, 10.0))
    count = Count(1, 1, flops=int(20e9), bytes_fused=int(1e9), bytes_plain=int(2e9), bytes_update=int(1e9))
    found = beside_limits(count, 0.5, Runtime(torch.device("cpu"), torch.bfloat16, False))
    assert found["gflop_per_second"] == 40 and found["share_of_matrix_rate"] == pytest.approx(0.1)
    assert found["seconds_at_limit"] == pytest.approx(
        {"matrix": 0.05, "memory, all fused": 0.2, "memory, nothing fused": 0.3}
    )
    plain = beside_limits(count, 0.5, Runtime(torch.device("cpu"), None, False))
    assert plain["share_of_matrix_rate"] == pytest.approx(0.4)


def wait() -> None:
    until = time.perf_counter() + 0.05
    while time.perf_counter() < until:
        pass


def test_the_function_that_takes_the_time_is_named():
    shares = profiles.by_function(wait)
    own = shares["test_counting.wait"] + sum(share for name, share in shares.items() if "perf_counter" in name)
    assert own > 0.9 and sum(shares.values()) <= 1.005


def test_the_operator_that_takes_the_time_is_named():
    a = torch.ones(700, 700)
    assert profiles.by_operator(lambda: a @ a)["aten::mm"] > 0.5
