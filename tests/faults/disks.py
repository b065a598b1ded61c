"""Faults of disks: full at any moment, and read-only. Needs the right to mount a small tmpfs; tries nothing without."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs import ReplaceConfig
from faults.shared import EXPLAINED, Tally, exit_status, is_whole
from shrunk import TINY
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


SWEEP = [*TINY, "num_generations=1", "metrics.scores=[frechet]", "metrics.num_resplits=0", "seed=0,1"]


def _sweep(out: Path, *more: str) -> tuple[int, str]:
    """Run a sweep as a command, its store beside the disk of `out`; return exit status and stderr."""
    command = [sys.executable, "-m", "bench", "-m", *SWEEP, f"output_dir={out}", f"store_dir={out.parent}/store", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


def sweep_folder(folder: Path, count: int, rng: random.Random) -> Tally:
    """The folder that a sweep writes ledgers and notes of failures to is full or read-only: a sentence, a status that
    is not 0, and the same command completes the sweep once it can write."""
    tally = Tally()
    for number in range(count):
        launcher, is_full = f"hydra/launcher={('basic', 'processes')[number // 2 % 2]}", number % 2 == 0
        with disk(folder / str(number) / "disk", 4096) as out:
            if out is None:
                return tally
            (out / "quick" / ".hydra").mkdir(parents=True)
            if is_full:
                subprocess.run(["cp", "/dev/zero", str(out / "filler")], capture_output=True)
            else:
                assert _mount("-o", "remount,ro", str(out))
            status, said = _sweep(out, launcher)
            explained = status in (1, 2) and "error: " in said and "Traceback" not in said
            if is_full:
                (out / "filler").unlink()
            else:
                assert _mount("-o", "remount,rw", str(out))
            again, _ = _sweep(out, launcher)
            what = "full" if is_full else "read-only"
            tally.add(explained and again == 0, f"{what}, {launcher}: {status}, {again}: {said[-500:]}")
            tally.places[what] += 1
    return tally
