"""What the rows of the fault tester have in common: a count, a finished chain, and processes that run a chain."""

import atexit
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from test_resume import context
from tiny_chain import outcome, run, tiny

from bench.config import Config
from bench.errors import BenchError

EXPLAINED = 3
"""Exit status of a process that ended with an error of the project's own, which says what to do."""


@dataclass
class Tally:
    """How often a fault was caused, how often nothing was lost by it, and what went wrong otherwise."""

    tried: int = 0
    survived: int = 0
    troubles: list[str] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)

    def add(self, survived: bool, what: str, tried: int = 1) -> None:
        self.tried += tried
        self.survived += tried if survived else 0
        self.troubles += [] if survived else [what]


@cache
def finished() -> Path:
    """Return the outputs of the tiny chain that was never disturbed. Not to be changed: take a `copy`."""
    out = Path(tempfile.mkdtemp(prefix="faults-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    assert exit_status(tiny(out)) == 0
    return out


@cache
def expected() -> list[dict[str, Any]]:
    return outcome(tiny(finished()))


def copy(folder: Path) -> Config:
    shutil.copytree(finished(), folder)
    return tiny(folder)


def is_whole(config: Config) -> bool:
    """Return whether the chain of `config` ended in the same scores and bytes as the undisturbed one."""
    try:
        return outcome(config) == expected()
    except (BenchError, AssertionError, OSError):
        return False


def run_or_explain(config: Config) -> None:
    try:
        run(config)
    except BenchError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(EXPLAINED)


def start(config: Config, target: Any = run_or_explain) -> Any:
    process = context.Process(target=target, args=(config,))
    process.start()
    return process


def exit_status(config: Config, target: Any = run_or_explain) -> int:
    process = start(config, target)
    process.join(300)
    if process.is_alive():
        process.kill()
        process.join()
    return int(process.exitcode)


def generator_of(name: str) -> random.Random:
    """Return the random numbers of a row, the same in every run of the tester."""
    return random.Random(name)
