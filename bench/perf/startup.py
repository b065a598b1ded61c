"""How long a person waits for help, and for word of a mistake: whole processes, as started from a shell."""

import subprocess
import sys
import time
from dataclasses import dataclass

from bench.perf.pairs import Spread

LIMIT = 1.0
"""Seconds, on a quiet machine."""

COMMANDS = {
    "python -m bench --help": 0,
    "python -m bench foo.bar=1": 1,
    "python -m bench generator.training.batch_size=-1": 2,
}
"""Command -> exit status. A key that does not exist, which Hydra notices; a value out of range, which we do."""


@dataclass(frozen=True)
class Start:
    """seconds: from start to exit. torch: whether it was imported."""

    seconds: Spread
    torch: bool

    @property
    def reached(self) -> bool:
        return self.seconds.median < LIMIT and not self.torch


def startup(num_runs: int = 5) -> dict[str, Start]:
    """Every command, `num_runs` times in turn, after one run that fills the disk's cache and says what is imported."""
    torch = {command: "torch" in imported(_run(command, "-X", "importtime").stderr) for command in COMMANDS}
    seconds: dict[str, list[float]] = {command: [] for command in COMMANDS}
    for _ in range(num_runs):
        for command in COMMANDS:
            started = time.perf_counter()
            _run(command)
            seconds[command].append(time.perf_counter() - started)
    return {command: Start(Spread.of(seconds[command]), torch[command]) for command in COMMANDS}


def imported(importtime: str) -> set[str]:
    """The modules named in what `python -X importtime` writes to stderr."""
    return {line.rpartition("|")[2].strip() for line in importtime.splitlines() if line.startswith("import time:")}


def _run(command: str, *flags: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, *flags, *command.split()[1:]]
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode != COMMANDS[command]:
        raise RuntimeError(f"{command}: exit status {done.returncode}, expected {COMMANDS[command]}\n{done.stderr}")
    return done
