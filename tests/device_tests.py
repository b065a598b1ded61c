"""Where the tests marked `cuda` compute: on a CUDA device, without which they skip.

A rehearsal (`REHEARSE_ON=cpu python -m pytest -m cuda`, part of `.ci/run`) runs them on the CPU with a small network.
It shows nothing about a device. It shows that each test still runs to its end, before there is a device to run it on.
"""

import os
from typing import Any, Literal

import pytest
import torch
from shrunk import composed

REHEARSED = "REHEARSE_ON" in os.environ
KIND = os.environ.get("REHEARSE_ON", "cuda")

marks = [
    pytest.mark.cuda,
    pytest.mark.skipif(KIND == "cuda" and not torch.cuda.is_available(), reason="no CUDA device here"),
]
not_rehearsed = pytest.mark.skipif(REHEARSED, reason="about the memory of a device, or compiled code")
ways = pytest.mark.parametrize(
    ("compiled", "graphs"),
    [(False, False), pytest.param(True, False, marks=not_rehearsed), pytest.param(True, True, marks=not_rehearsed)],
)
"""Plain, compiled, and compiled and replayed as CUDA graphs."""


def on_device(test: Any) -> Any:
    """Mark a test as one for a device."""
    for mark in marks:
        test = mark(test)
    return test


def headline(*overrides: str) -> Any:
    """Return the configuration of the headline network; in a rehearsal, of one whose steps take milliseconds."""
    small = "generator.unet.channels=[32,32] generator.unet.attention=[false,true] generator.unet.layers_per_block=1"
    sizes = "generator.unet.attention_head_dim=16 data.resolution=16 generator.training.batch_size=8"
    return composed("experiment=flowers64", *(f"{small} {sizes}".split() if REHEARSED else []), *overrides)


def waiting_is(how: Literal["error", "default"]) -> None:
    """Let everything that waits for the device raise, or not."""
    if KIND == "cuda":
        torch.cuda.set_sync_debug_mode(how)
