"""Measured limits of this machine, with which the rate of a training step or a score is compared."""

import math
import platform
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch

from bench.config import RuntimeConfig
from bench.machine.device import cpu_model, resolve_runtime
from bench.perf.pairs import timed

SIDE = {"cpu": 3072, "cuda": 8192}
"""Device type -> width of the square matrices whose product is timed, so large that call overheads and caches do not
matter."""

COPIED = 2**28  # bytes
LONG_ENOUGH = 0.2
"""Minimum seconds of one measurement, so that the wait for a fast device at its end is negligible."""


def device_types() -> list[str]:
    """Return the types of the devices on which work can be timed here."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@cache
def measured_machine(kind: str) -> dict[str, Any]:
    """Measure a device of one of the `device_types`, with the settings of a run. Takes seconds, once per process.

    matrix_rate: dtype -> GFLOP/s of a square matrix product, counting a multiply-add as two. bandwidth: GB/s of a copy,
    bytes read plus bytes written.
    """
    device = resolve_runtime(RuntimeConfig(device=kind)).device
    rates = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        a = torch.randn(SIDE[kind], SIDE[kind], device=device).to(dtype)
        rates[str(dtype).removeprefix("torch.")] = 2 * SIDE[kind] ** 3 / fastest(partial(torch.matmul, a, a)) / 1e9
    source, target = torch.zeros(2, COPIED, dtype=torch.uint8, device=device)
    bandwidth = 2 * COPIED / fastest(partial(target.copy_, source)) / 1e9
    name = torch.cuda.get_device_name(device) if kind == "cuda" else cpu_model() or platform.machine()
    about = {"device": name, "num_threads": torch.get_num_threads(), "torch": torch.__version__}
    return {**about, "matrix_rate": rates, "bandwidth": bandwidth}


def fastest(work: Callable[[], Any], num_measurements: int = 3) -> float:
    """Return the seconds per call of the fastest measurement: a limit is the best possible rate, not the usual one.

    A measurement is at least `LONG_ENOUGH` seconds of consecutive calls, with one synchronisation at the end."""

    def measure(count: int) -> float:
        return timed(lambda: [work() for _ in range(count)] and None)[0]

    count, _ = 1, measure(1)  # loads kernels
    while (seconds := measure(count)) < LONG_ENOUGH:
        count = math.ceil(count * min(1.5 * LONG_ENOUGH / seconds, 100))
    return min([seconds, *(measure(count) for _ in range(num_measurements - 1))]) / count
