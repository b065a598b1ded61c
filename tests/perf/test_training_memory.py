"""The memory of a training step, from sizes alone."""

from typing import Any

import pytest
import torch
from configs import UNetConfig
from shrunk import composed

from bench.generators.shared.unet import build_unet
from bench.perf.training_memory import Allocated, training_memory

UNET = UNetConfig([8, 16], [False, False], 1)


def test_what_is_allocated_is_counted_while_it_lives():
    with Allocated() as allocated:
        a = torch.zeros(1000)
        b = a.view(10, 100) + 1
        del a
        c = torch.zeros(500, dtype=torch.bfloat16)
    assert allocated.peak == 8000 and allocated.bytes == 5000
    del b, c
    assert allocated.bytes == 0


def test_memory_grows_with_the_batch_from_what_the_weights_need():
    one, two, three = (training_memory(UNET, 16, size) for size in (8, 16, 24))
    assert three - two == pytest.approx(two - one, rel=0.02)
    weights = 4 * build_unet(UNET, 16, 0).num_parameters()
    assert 4 * weights < one - (two - one) < 8 * weights


def test_the_headline_takes_what_was_measured():
    """19 963 411 456 bytes on an NVIDIA H200, uncompiled, torch 2.11."""
    unet: Any = composed("experiment=flowers64", "generator.unet.dropout=0").generator.unet
    assert training_memory(unet, 64, 128) == pytest.approx(19_963_411_456, rel=0.02)
