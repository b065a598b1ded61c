"""What this machine can do at best, measured: the limits that a step or a score is held against."""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

SIDE = 3072
"""Of the square matrices whose product is timed: far beyond what call overheads or caches could blur."""

COPIED = 2**28
"""Bytes of the array whose copy is timed: far beyond any cache."""


@dataclass(frozen=True)
class Machine:
    """matrix_rate: GFLOP/s of a square product, a multiply-add counting as two, by dtype. bandwidth: GB/s of a copy,
    bytes read plus bytes written."""

    device: str
    num_threads: int
    torch: str
    matrix_rate: dict[str, float]
    bandwidth: float

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def devices() -> list[str]:
    """The kinds that work may be timed on here."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@cache
def measured_machine(kind: str) -> Machine:
    """kind: one of `devices`. Takes a few seconds, once a process."""
    device = torch.device(kind)
    rates = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.int8):
        a = torch.randn(SIDE, SIDE, device=device).to(dtype)
        work = partial(torch._int_mm if dtype is torch.int8 else torch.matmul, a, a)
        rates[str(dtype).removeprefix("torch.")] = 2 * SIDE**3 / _best(work) / 1e9
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * COPIED / _best(lambda: target.copy_(source)) / 1e9
    return Machine(_name(device), torch.get_num_threads(), torch.__version__, rates, bandwidth)


def _best(work: Callable[[], Any], count: int = 5) -> float:
    """Seconds of the fastest run: a limit is what is possible, not what is usual."""
    from bench.perf.pairs import timed

    return min(timed(work) for _ in range(count + 1))


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
