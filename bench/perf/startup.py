"""How long a person waits for help, and for word of a mistake: whole processes, as started from a shell."""

import subprocess
import sys
import time
from collections.abc import Iterator

from bench.perf.pairs import Comparison

LIMIT = 1.0
"""Seconds, on a quiet machine."""

COMMANDS = {
    "python -m bench --help": 0,
    "python -m bench foo.bar=1": 1,
    "python -m bench generator.training.batch_size=-1": 2,
}
"""Command -> exit status. A key that does not exist, which Hydra notices; a value out of range, which we do."""


def rows(num_runs: int = 5) -> Iterator[Comparison]:
    """Every command beside its limit, `num_runs` times in turn, after one run that fills the disk's cache and says what
    is imported: torch must not be."""
    torch = {command: "torch" in imported(_run(command, "-X", "importtime").stderr) for command in COMMANDS}
    seconds: dict[str, list[float]] = {command: [] for command in COMMANDS}
    for _ in range(num_runs):
        for command in COMMANDS:
            started = time.perf_counter()
            _run(command)
            seconds[command].append(time.perf_counter() - started)
    for command in COMMANDS:
        limit, flaw = [LIMIT] * num_runs, "imports torch" if torch[command] else None
        yield Comparison(command, f"limit of {LIMIT:g} s", "start", seconds[command], limit, target=1.0, flaw=flaw)


def imported(importtime: str) -> set[str]:
    """The modules named in what `python -X importtime` writes to stderr."""
    return {line.rpartition("|")[2].strip() for line in importtime.splitlines() if line.startswith("import time:")}


def _run(command: str, *flags: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, *flags, *command.split()[1:]]
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode != COMMANDS[command]:
        raise RuntimeError(f"{command}: exit status {done.returncode}, expected {COMMANDS[command]}\n{done.stderr}")
    return done
