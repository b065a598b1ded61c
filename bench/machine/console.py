"""What a person sees on stderr during a run: a live view on a terminal, plain lines elsewhere.

Printed lines stay above the live view, so that the scores so far can be read while the next stage runs.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import current_process

from rich.console import Console as RichConsole
from rich.console import Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bench.machine.device import Progress as ReportProgress
from bench.machine.device import silent

PLAIN_EVERY = 15.0
"""Seconds between two plain lines of one stage."""


class Console:
    """Shows which chain, generation and stage is running, how far it is, how fast, and how long it will take.

    where: the chain and generation to show.
    """

    def __init__(self, quiet: bool = False) -> None:
        """Create a console. quiet: print nothing, as all but the first process of a chain must."""
        self._rich = RichConsole(stderr=True, highlight=False, quiet=quiet)
        self.where = ""

    def print(self, text: str) -> None:
        """Print one line that stays."""
        self._rich.print(text, soft_wrap=True, markup=False)

    @contextmanager
    def stage(self, name: str, unit: str = "") -> Iterator[ReportProgress]:
        """Show a running stage for the body of the `with`; yields the callback for its progress."""
        if self._rich.quiet:
            yield silent
        elif self._rich.is_terminal and current_process().name == "MainProcess":  # one live view, not one per worker
            with self._live(name, unit) as report:
                yield report
        else:
            yield _PlainLines(f"{self.where} · {name}" if self.where else name, unit)

    @contextmanager
    def _live(self, name: str, unit: str) -> Iterator[ReportProgress]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        pace = _Pace()
        bar = Progress(*columns, console=self._rich)
        task = bar.add_task(name, total=None, rate="")
        where = Text(self.where, style="dim", no_wrap=True, overflow="ellipsis")
        with Live(Group(where, bar), console=self._rich, transient=True, refresh_per_second=4):

            def report(done: int, total: int) -> None:
                rate = pace(done)
                shown = f"{rate:.0f} {unit}/s" if unit and rate else ""
                bar.update(task, completed=done, total=total, rate=shown)

            yield report


class _Pace:
    """Computes units per second since the first report, which leaves out what an earlier, interrupted run had done."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int) -> float:
        if self._first is None:
            self._first = done if done > 1 else 0
            if self._first:
                self._started = time.monotonic()
        return (done - self._first) / max(time.monotonic() - self._started, 1e-9)


class _PlainLines:
    """Prints a line when a stage has advanced and some seconds have passed: for logs and pipes."""

    def __init__(self, title: str, unit: str) -> None:
        self._title, self._unit = title, unit
        self._last = time.monotonic()
        self._pace = _Pace()

    def __call__(self, done: int, total: int) -> None:
        rate = self._pace(done)
        now = time.monotonic()
        if now - self._last < PLAIN_EVERY:
            return
        self._last = now
        words = [f"{done}/{total} {self._unit}".rstrip()]
        if rate:
            words += [f"{rate:.0f} {self._unit}/s"] if self._unit else []
            words.append(f"{(total - done) / rate:.0f} s left")
        print(f"{self._title}: {', '.join(words)}", file=sys.stderr, flush=True)
