"""Progress on stderr during a run: one live view on a terminal, plain lines elsewhere.

Printed lines and log lines stay above the live view, so that the scores so far can be read while the next stage runs.
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
COMPILING = "the first step compiles what is not compiled yet"


class Console:
    """Shows the running chain, generation and stage with its progress, its speed and the remaining time.

    where: The chain and generation to show.
    """

    def __init__(
        self, quiet: bool = False, place: tuple[int, int] | None = None, seconds: list[float] | None = None
    ) -> None:
        """Create a console.

        Args:
            quiet: Whether to print nothing, which is required in all processes of a chain except the first.
            place: Number of this chain in the sweep, counted from 1, and number of chains in the sweep.
            seconds: Seconds that each generation computed by this process took, including those of earlier chains. The
                console appends to it.
        """
        self._rich = RichConsole(stderr=True, highlight=False, quiet=quiet)
        self._place, self._seconds = place, seconds if seconds is not None else []
        self._generation, self._num_generations, self._began = 0, 0, time.monotonic()
        self._bars: Progress | None = None
        self.where = ""

    def print(self, text: str) -> None:
        """Print one line that stays."""
        self._rich.print(text, soft_wrap=True, markup=False)

    @contextmanager
    def chain(self, name: str, num_generations: int) -> Iterator[None]:
        """Show a chain for the body of the `with`, which reports each generation by calling `generation`."""
        self._chain = f"chain {self._place[0]} of {self._place[1]} · {name}" if self._place else name
        self.where, self._num_generations = self._chain, num_generations
        with self._view():
            yield

    def generation(self, number: int) -> None:
        """Show that a generation begins."""
        self._generation, self._began = number, time.monotonic()
        self.where = f"{self._chain} · generation {number} of {self._num_generations - 1}"

    def finished(self, reused: bool) -> None:
        """Record how long the generation took, unless it was in the store."""
        if not reused:
            self._seconds.append(time.monotonic() - self._began)
        self._generation, self._began = self._generation + 1, time.monotonic()

    def left(self) -> list[str]:
        """Return the remaining times of the chain and of the sweep as texts, if every generation takes the mean time of
        those computed so far; an empty list before the first one."""
        if not self._seconds or not self._num_generations:
            return []
        each = sum(self._seconds) / len(self._seconds)
        now = max(0.0, each - (time.monotonic() - self._began))
        chain = now + each * max(0, self._num_generations - self._generation - 1)
        shown = [f"chain {duration(chain)} left"]
        alone = current_process().name == "MainProcess"  # parallel chains of a sweep do not know of each other
        if alone and self._place and self._place[0] < self._place[1]:
            others = (self._place[1] - self._place[0]) * self._num_generations * each
            shown.append(f"sweep {duration(chain + others)} left")
        return shown

    @contextmanager
    def stage(self, name: str, unit: str = "", compiles: bool = False) -> Iterator[ReportProgress]:
        """Show a running stage for the body of the `with`, and yield the callback for its progress.

        Args:
            name: The name to show.
            unit: The unit of the progress, for the speed; "" shows none.
            compiles: Whether the stage may compile a network before its first report.
        """
        if self._rich.quiet:
            yield silent
        elif self._is_live():
            with self._view() as bars:
                waiting = f"{name}: {COMPILING}" if compiles else name
                task, pace = bars.add_task(waiting, total=None, done=""), _Pace()

                def report(done: int, total: int) -> None:
                    rate = pace(done)
                    shown = f"{done}/{total}" + (f"  {rate:.0f} {unit}/s" if unit and rate else "")
                    bars.update(task, completed=done, total=total, done=shown, description=name)

                try:
                    yield report
                finally:
                    bars.remove_task(task)
        else:
            title = f"{self.where} · {name}" if self.where else name
            if compiles:
                print(f"{title}: {COMPILING}", file=sys.stderr, flush=True)
            yield _PlainLines(title, unit, self)

    def _is_live(self) -> bool:
        return self._rich.is_terminal and current_process().name == "MainProcess"  # one live view, not one per worker

    @contextmanager
    def _view(self) -> Iterator[Progress]:
        """Show the one live view, with the bars of all running stages, for the body of the `with`. Log lines, which go
        to the current `sys.stderr`, are printed above it."""
        if self._bars is not None:
            yield self._bars
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[done]}"),
            TimeRemainingColumn(),
        )
        self._bars = bars = Progress(*columns, console=self._rich)
        try:
            if self._is_live():
                with Live(
                    console=self._rich,
                    transient=True,
                    refresh_per_second=4,
                    redirect_stdout=False,
                    get_renderable=lambda: Group(self._header(), bars),
                ):
                    yield bars
            else:
                yield bars
        finally:
            self._bars = None

    def _header(self) -> Text:
        lines = filter(None, [self.where, " · ".join(self.left())])  # two: a narrow terminal would cut a single one off
        return Text("\n".join(lines), style="dim", no_wrap=True, overflow="ellipsis")


def duration(seconds: float) -> str:
    """Return a duration in words: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Pace:
    """Computes units per second since the first report, which excludes the time to compile a network and the units that
    an earlier, interrupted run has done. It is 0 at the first report."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def __call__(self, done: int) -> float:
        if self._first is None:
            self._first = done, time.monotonic()
        first, started = self._first
        return (done - first) / max(time.monotonic() - started, 1e-9)


class _PlainLines:
    """Prints the progress of a stage at most every `PLAIN_EVERY` seconds, for logs and pipes."""

    def __init__(self, title: str, unit: str, console: Console) -> None:
        self._title, self._unit, self._console = title, unit, console
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
            words.append(f"{duration((total - done) / rate)} left")
        print(f"{self._title}: {', '.join([*words, *self._console.left()])}", file=sys.stderr, flush=True)
