"""Time several ways to do the same work in turn: drift of the machine affects all of them, but not their ratios."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

Turn = Callable[[], tuple[float, Any]]
"""Does the work once and returns its seconds and its result."""


@dataclass(frozen=True)
class Spread:
    """The smallest, middle and largest of some values."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(values: list[float]) -> "Spread":
        return Spread(min(values), statistics.median(values), max(values))

    def __str__(self) -> str:
        return f"{self.low:.3g}–{self.median:.3g}–{self.high:.3g}"


@dataclass(frozen=True)
class Comparison:
    """One row of the table.

    ours, theirs: seconds per unit of work, one entry per pair, in the order of measurement. target: the ratio to reach,
    or None. notes: other measurements, by name. flaw: a reason why the row misses its target at any ratio.
    """

    row: str
    peer: str
    unit: str
    ours: list[float]
    theirs: list[float]
    target: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    flaw: str | None = None

    @property
    def ratio(self) -> Spread:
        """Return the spread of theirs / ours over the pairs: how many times faster ours is."""
        return Spread.of([b / a for a, b in zip(self.ours, self.theirs, strict=True)])

    @property
    def reached(self) -> bool | None:
        if self.flaw is not None:
            return False
        return None if self.target is None else self.ratio.median >= self.target

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": asdict(self.ratio), "reached": self.reached}


def alternate(*turns: Turn, num_pairs: int, warmup: bool = True) -> tuple[list[list[float]], list[Any]]:
    """Run every turn `num_pairs` times, in an order that is reversed each time. If `warmup`, run each once before,
    uncounted.

    Returns the seconds of each, one list per turn, and the last result of each.
    """
    seconds: list[list[float]] = [[] for _ in turns]
    results = [turn()[1] if warmup else None for turn in turns]
    for pair in range(num_pairs):
        for which in range(len(turns))[:: 1 if pair % 2 == 0 else -1]:
            spent, results[which] = turns[which]()
            seconds[which].append(spent)
    return seconds, results


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the wall-clock seconds and the result of one run, with the device's queue empty at both ends."""
    drain()
    started = time.perf_counter()
    result = work()
    drain()
    return time.perf_counter() - started, result


def drain() -> None:
    """Wait until a CUDA device has finished everything that was queued."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def table(comparisons: Iterable[Comparison]) -> list[str]:
    """Return a Markdown table, one line per row. Times are medians; ratios are taken pair by pair."""
    lines = ["| what | compared with | ours | theirs | per | ratio min–median–max | target |  |", "|" + " --- |" * 8]
    for row in comparisons:
        verdict = {None: "", True: "reached", False: "MISSED"}[row.reached] + (f": {row.flaw}" if row.flaw else "")
        target = "" if row.target is None else f"≥ {row.target:g}"
        ours, theirs = (_seconds(statistics.median(seconds)) for seconds in (row.ours, row.theirs))
        cells = (row.row, row.peer, ours, theirs, row.unit, f"{row.ratio}", target, verdict)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 0.1 else f"{1e3 * value:.3g} ms" if value >= 1e-4 else f"{1e6 * value:.3g} µs"
