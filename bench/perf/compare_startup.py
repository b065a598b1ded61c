"""Start-up time: how long a user waits for help or an error message from a process started in a shell."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from bench.perf.pairs import Comparison, alternate, timed

LIMIT = 2.0  # seconds, on a quiet machine

COMMANDS = {
    "python -m bench --help": 0,
    "python -m bench foo.bar=1": 2,
    "python -m bench generator.training.batch_size=-1": 2,
}
"""Command -> expected exit status. Hydra detects a key that does not exist; this project, a value out of range."""


def rows(short: bool = False, num_runs: int = 5) -> Iterator[Comparison]:
    """Compare every command with its limit, after a run that checks that torch is not imported."""
    torch = {command: "torch" in imported(run(command, "-X", "importtime").stderr) for command in COMMANDS}
    turns = [partial(timed, partial(run, command)) for command in COMMANDS]
    seconds, _ = alternate(*turns, num_pairs=num_runs, warmup=False)
    for command, ours in zip(COMMANDS, seconds, strict=True):
        limit, flaw = [LIMIT] * num_runs, "imports torch" if torch[command] else None
        yield Comparison(command, f"limit of {LIMIT:g} s", "start", ours, limit, target=1.0, flaw=flaw)


def imported(importtime: str) -> set[str]:
    """Return the modules named in what `python -X importtime` writes to stderr."""
    return {line.rpartition("|")[2].strip() for line in importtime.splitlines() if line.startswith("import time:")}


def run(command: str, *flags: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *flags, *command.split()[1:]], capture_output=True, text=True)
    if done.returncode != COMMANDS[command]:
        raise RuntimeError(f"{command}: exit status {done.returncode}, expected {COMMANDS[command]}\n{done.stderr}")
    return done
