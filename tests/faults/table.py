"""The rows of the fault tester. To add one, write a function (folder, count, rng) -> Tally and name it here."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faults import disks, files, inputs, processes, servers
from faults.shared import Tally


@dataclass(frozen=True)
class Row:
    """One kind of fault.

    full, short: how often it is tried. quick: how often in `make test`, 0 where that is too slow.
    """

    name: str
    cause: Callable[[Path, int, random.Random], Tally]
    full: int
    short: int
    quick: int = 0


ROWS = (
    Row("SIGKILL at any moment of any stage", processes.kills, 120, 18),
    Row("SIGSTOP past the lease, another run, SIGCONT", processes.stops, 20, 4),
    Row("four processes on two chains, ledgers deleted", processes.sweeps, 12, 2),
    Row("stored file truncated, flipped, swapped, removed", files.stored_files, 800, 400, 40),
    Row("result in the place of another", files.misplaced, 60, 30, 10),
    Row("a file of every result harmed, made again", files.made_again, 10, 2),
    Row("newest checkpoint harmed", files.checkpoints, 12, 3),
    Row("ledger truncated, flipped, written twice", files.ledgers, 30, 6),
    Row("one character of a ledger changed", files.changed_rows, 3000, 1000, 200),
    Row("lock file of nobody", files.junk_locks, 40, 16, 4),
    Row("disk of the store full", disks.full, 20, 4),
    Row("store read-only", disks.read_only, 4, 2),
    Row("folder of a sweep full or read-only", disks.sweep_folder, 8, 2),
    Row("W&B refuses, is silent, answers 401 or 500", servers.wandb, 8, 4),
    Row("npz truncated, encrypted, a pickle, a bomb; labels of no class", inputs.npz, 160, 48, 16),
    Row("folder with FIFO, device, dead link, foreign name, bomb", inputs.pictures, 100, 30, 10),
    Row("archive with ../, links, devices; broken", inputs.archives, 90, 27, 9),
    Row("weights that are pickles, of wrong shapes, broken, huge", inputs.weights, 100, 30, 10),
    Row("names that break pages, spreadsheets, LaTeX, XML", inputs.labels, 30, 6),
)
