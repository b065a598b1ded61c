"""What a person sees on stderr during a run: a live line per stage on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from bench.runtime import Progress as Report
from bench.runtime import silent

PLAIN_EVERY = 15.0
"""Seconds between two plain lines of one stage."""


class Console:
    """Says which chain, generation and stage is at work, how far it is, how fast, and how long it will take.
    quiet: says nothing, for all but the first of several processes that run one chain."""

    def __init__(self, quiet: bool = False) -> None:
        self._rich = RichConsole(stderr=True, highlight=False, quiet=quiet)
        self.where = ""

    def say(self, text: str) -> None:
        """One line that stays."""
        self._rich.print(text, soft_wrap=True, markup=False)

    @contextmanager
    def stage(self, name: str, unit: str = "") -> Iterator[Report]:
        """A stage at work; yields the `Progress` that it reports to."""
        title = f"{self.where} · {name}" if self.where else name
        if self._rich.quiet:
            yield silent
        elif self._rich.is_terminal:
            with self._live(title, unit) as report:
                yield report
        else:
            yield _PlainLines(title, unit)

    @contextmanager
    def _live(self, title: str, unit: str) -> Iterator[Report]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        started = time.monotonic()
        with Progress(*columns, console=self._rich, transient=True, refresh_per_second=4) as bar:
            task = bar.add_task(title, total=None, rate="")

            def report(done: int, total: int) -> None:
                rate = done / max(time.monotonic() - started, 1e-9)
                bar.update(task, completed=done, total=total, rate=f"{rate:.0f} {unit}/s" if unit else "")

            yield report


class _PlainLines:
    """A line when a stage has got somewhere and some seconds have gone by: for logs and pipes."""

    def __init__(self, title: str, unit: str) -> None:
        self._title, self._unit = title, unit
        self._started = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < PLAIN_EVERY:
            return
        self._last = now
        rate = done / (now - self._started)
        left = (total - done) / rate if rate else float("inf")
        print(
            f"{self._title}: {done}/{total} {self._unit}, {rate:.0f} {self._unit}/s, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )
