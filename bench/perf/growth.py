"""Growth of costs: of scores with N, in seconds and peak memory, and of training with resolution and width."""

import ctypes
from pathlib import Path
from typing import Any

from bench.perf import compare_scores
from bench.perf.compare_training import Case, our_turn
from bench.perf.machine_limits import device_types
from bench.perf.pairs import Spread, Turn, alternate
from bench.perf.sides import Side


def scores(sizes: tuple[int, ...] = (1_000, 5_000, 20_000, 50_000)) -> list[dict[str, Any]]:
    """Return one entry per score and N, and one per implementation of the manifold scores at N = 10 000, at d = 2048.
    extra_mib: peak memory beyond the features."""
    cases = [(work, n) for work in ("frechet", "manifold", "kernel") for n in sizes]
    cases += [(work, 10_000) for work in ("manifold", "torch_fidelity_full", "torch_fidelity_parts", "prdc")]
    entries = []
    for work, n in cases:
        with Side(turn_with_memory, work, n) as side:
            seconds, extra = side()
        entries.append({"work": work, "n": n, "seconds": seconds, "extra_mib": extra})
    return entries


def turn_with_memory(work: str, n: int) -> Turn:
    """Return a turn whose result is the MiB by which it raises the peak of resident memory, on Linux with glibc."""
    compare_scores.turn(work, 60)()  # loads libraries and starts threads
    turn = compare_scores.turn(work, n)

    def watched() -> tuple[float, float]:
        ctypes.CDLL(None).malloc_trim(0)  # returns freed memory, which the work would reuse without raising the peak
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = _resident("VmRSS")
        seconds, _ = turn()
        return seconds, _resident("VmHWM") - before

    return watched


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def training() -> list[dict[str, Any]]:
    """Return one entry per pair of resolution and width, for batches of 16."""
    entries = []
    for resolution, width in ((16, 1), (32, 1), (64, 1), (32, 2), (32, 4)):
        channels = f"generator.unet.channels=[{32 * width},{64 * width},{64 * width}]"
        network = ("generator=ddpm_small", channels, "generator.unet.attention=[false,false,false]")
        case = Case(f"width x{width}", network, resolution, batch_size=16, turn=2)
        with Side(our_turn, case, device_types()[-1]) as side:
            (seconds,), (parameters,) = alternate(side, num_pairs=4)
        about = {"resolution": resolution, "width": width, "parameters": parameters}
        images_per_second = case.turn * case.batch_size / Spread.of(seconds).median
        entries.append({**about, "images_per_second": images_per_second, "gflop_per_second": case.rate(seconds)})
    return entries
