"""The numbers in a table's cells: mean and interval over seeds, and whether one condition is better than the others."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bench.analysis.uncertainty import compare_paired, summarise


@dataclass(frozen=True)
class Cell:
    """Mean over n seeds; half_width: of the 95 % interval of the mean, None for a single seed."""

    mean: float
    half_width: float | None
    n: int


def cell(values: Collection[float]) -> Cell | None:
    """Student's t interval over seeds (`bench.analysis.uncertainty.summarise`). None without values."""
    if not values:
        return None
    summary = summarise(list(values))
    return Cell(summary.mean, None if summary.high is None else summary.high - summary.mean, summary.n)


def best(values: Mapping[str, Mapping[int, float]], direction: str) -> str | None:
    """The condition that is better than every other one, where that is significant; else None.

    values: condition -> seed -> score. Compared in pairs over common seeds: the 95 % interval of the mean difference to
    each other condition must leave out zero, on the better side. Two common seeds at least; no correction for the
    number of pairs, since all of them must hold at once.
    """
    if len(values) < 2:
        return None
    sign = 1.0 if direction == "up" else -1.0
    leader = max(values, key=lambda name: sign * summarise(list(values[name].values())).mean)
    for other in values:
        if other != leader and not _better(values[leader], values[other], sign):
            return None
    return leader


def _better(a: Mapping[int, float], b: Mapping[int, float], sign: float) -> bool:
    if not a.keys() & b.keys():
        return False
    difference = compare_paired(a, b).difference
    ends = (difference.low, difference.high)
    return all(end is not None and sign * end > 0 for end in ends)


def digits(values: Collection[float]) -> int:
    """Decimals that show about three figures of the largest value: 2 below 10, 1 below 100, else none."""
    largest = max((abs(v) for v in values), default=0.0)
    return 2 if largest < 10 else 1 if largest < 100 else 0
