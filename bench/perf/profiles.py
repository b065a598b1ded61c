"""Where the time goes: the largest shares of it, by operator or by function."""

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from bench.perf.pairs import drain


def by_operator(work: Callable[[], Any]) -> dict[str, float]:
    """Operators of torch, by their own time, as shares of the time of all operators."""
    with operators() as running:
        work()
        drain()
    return top(running)


def operators() -> profile:
    cuda = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    return profile(activities=[ProfilerActivity.CPU, *cuda])


def top(profiler: profile) -> dict[str, float]:
    """Of the device's kernels where any ran, else of the operators of the CPU."""
    events = profiler.key_averages()
    kernels = {e.key: e.self_device_time_total for e in events if e.device_type == DeviceType.CUDA}
    return _largest(kernels or {e.key: e.self_cpu_time_total for e in events})


def by_function(work: Callable[[], Any]) -> dict[str, float]:
    """Functions of Python, by their own time, as shares of all time; what a function calls in compiled libraries is its
    own."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    times: dict[str, float] = {}
    for (file, _, function), numbers in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        name = function if file == "~" else f"{Path(file).stem}.{function}"
        times[name] = times.get(name, 0.0) + numbers[2]
    return _largest(times)


def _largest(times: dict[str, float], count: int = 10) -> dict[str, float]:
    total = sum(times.values())
    names = sorted(times, key=lambda name: -times[name])[:count]
    return {name: round(times[name] / total, 3) for name in names}
