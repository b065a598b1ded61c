"""Faults of disks: full at any moment, and read-only. Needs the right to mount a small tmpfs; tries nothing without."""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs import ReplaceConfig
from faults.shared import EXPLAINED, Tally, exit_status, is_whole
from tiny_chain import tiny


def _mount(*options: str) -> bool:
    return subprocess.run(["mount", *options], capture_output=True).returncode == 0


@contextmanager
def disk(folder: Path, kilobytes: int) -> Iterator[Path | None]:
    """Yield the folder of a disk of this size, or None where it cannot be mounted."""
    folder.mkdir(parents=True)
    if os.geteuid() != 0 or not _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)):
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full(folder: Path, count: int, rng: random.Random) -> Tally:
    """The disk of the store becomes full somewhere in the chain; with more space the same command goes on."""
    tally = Tally()
    for number in range(count):
        kilobytes = int(32 * 128 ** ((number + rng.random()) / count))  # from 32 KiB to 4 MiB
        with disk(folder / f"disk{number}", kilobytes) as store:
            if store is None:
                return tally
            config = tiny(folder / f"out{number}", store_dir=str(store / "store"))
            first = exit_status(config)
            assert _mount("-o", "remount,size=64m", str(store))
            whole = exit_status(config) == 0 and is_whole(config)
            tally.add(whole and first in (0, EXPLAINED), f"{kilobytes} KiB: {first}")
            tally.places["full" if first else "large enough"] += 1
    return tally


def read_only(folder: Path, count: int, rng: random.Random) -> Tally:
    """A store that cannot be written gives what it has, and says why it cannot give more."""
    tally = Tally()
    with disk(folder / "disk", 65536) as store:
        if store is None:
            return tally
        config = tiny(folder / "out", store_dir=str(store / "store"))
        assert exit_status(config) == 0
        assert _mount("-o", "remount,ro", str(store))
        for number in range(count):
            again = tiny(folder / f"again{number}", store_dir=config.store_dir)
            tally.add(exit_status(again) == 0 and is_whole(again), "what is stored")
            more = tiny(folder / f"more{number}", store_dir=config.store_dir, mixing=ReplaceConfig())
            tally.add(exit_status(more) == EXPLAINED, "what is not stored")
    return tally
