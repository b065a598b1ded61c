"""The available memory, checked before an allocation, because a process that takes too much is killed without a
message."""

import os
from pathlib import Path

from bench.errors import DataError


def available_memory() -> int:
    """Return how many bytes can be allocated: on Linux the kernel's estimate without swapping, elsewhere all memory."""
    meminfo = Path("/proc/meminfo")
    for line in meminfo.read_text().splitlines() if meminfo.exists() else []:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_memory(num_bytes: int, what: str) -> None:
    """Raise `DataError` if `num_bytes` do not fit into the available memory. what: Names them in the message."""
    available = available_memory()
    if num_bytes > available:
        raise DataError(f"{what} take {num_bytes / 1e9:.4g} GB of memory, but {available / 1e9:.4g} GB are available")
