"""Seconds and peak memory of one score at one N, in a process of its own: `python -m bench.perf.peak manifold 10000`.

Memory is what the work needs beyond the features it is given, as the operating system saw it.
"""

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.perf.pairs import timed

WARM = 60
"""Images of a first run, which loads libraries and starts threads."""


def measure(work: str, n: int, timeout: float | None = None) -> dict[str, Any] | None:
    """{"seconds", "extra_mib"}; None after `timeout` seconds. work: a key of
    `bench.perf.scores.WORK`."""
    command = [sys.executable, "-m", "bench.perf.peak", work, str(n)]
    try:
        done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(name: str, n: int) -> None:
    from bench.perf.scores import WORK, features, set_up

    set_up(name)
    work = WORK[name]
    work(*features(WARM))()
    prepared = work(*features(n))
    before = _reset_peak()
    seconds = timed(prepared)
    print(json.dumps({"seconds": seconds, "extra_mib": (_resident("VmHWM") - before) / 1024}))


def _reset_peak() -> int:
    """Forgets the peak so far, and what is kept of freed memory, which the work would use again unseen; returns the
    resident KiB of now. Linux with glibc only, as is what it reads."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
