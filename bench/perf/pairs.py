"""Several ways to do the same work, timed in turn: the machine's drift falls on all, and their ratios stay."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Work = Callable[[], Any]


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
    """One row of the table. ours, theirs: seconds per unit of work, one entry a pair, in the order they were taken.

    target: the ratio to reach, None where there is none. notes: what else was measured, by name. flaw: what makes the
    row a miss whatever the ratio.
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
        """How many times faster we are, pair by pair."""
        return Spread.of([b / a for a, b in zip(self.ours, self.theirs, strict=True)])

    @property
    def reached(self) -> bool | None:
        if self.flaw is not None:
            return False
        return None if self.target is None else self.ratio.median >= self.target


def alternate(*works: Work, num_pairs: int, warmup: bool = True) -> list[list[float]]:
    """Seconds of each, run in turn `num_pairs` times; the order is reversed from one time to the next."""
    if warmup:
        for work in works:
            work()
    seconds: list[list[float]] = [[] for _ in works]
    for pair in range(num_pairs):
        order = range(len(works))
        for which in order if pair % 2 == 0 else reversed(order):
            seconds[which].append(timed(works[which]))
    return seconds


def timed(work: Work) -> float:
    """Wall-clock seconds of one run, with the device's queue drained at both ends."""
    drain()
    started = time.perf_counter()
    work()
    drain()
    return time.perf_counter() - started


def drain() -> None:
    """Waits for everything a CUDA device has been given to do."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
