"""The numbers in a table's cells: mean and interval over seeds, and whether one condition is better than the others."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bench.analysis.uncertainty import compare_paired, summarise


@dataclass(frozen=True)
class Cell:
    """The mean over n seeds. half_width: half the width of the mean's 95 % interval; None for a single seed."""

    mean: float
    half_width: float | None
    n: int


def cell(values: Collection[float]) -> Cell | None:
    """Return the mean and t interval over seeds (`bench.analysis.uncertainty.summarise`), or None without values."""
    if not values:
        return None
    summary = summarise(list(values))
    return Cell(summary.mean, None if summary.high is None else summary.high - summary.mean, summary.n)


def best(values: Mapping[str, Mapping[int, float]], direction: str) -> str | None:
    """Return the condition that is significantly better than every other one, or None if there is none.

    Conditions are compared pairwise over common seeds, of which there must be at least two. The 95 % interval of the
    mean difference to each other condition must exclude zero on the better side. The number of pairs is not corrected
    for, since all comparisons must hold at once.

    Args:
        values: condition -> seed -> score.
        direction: `up` if higher is better, `down` if lower is better, `none` if neither is.
    """
    if len(values) < 2 or direction == "none":
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
    """Return the number of decimals that shows two or three significant figures of the largest value: 0 from 100 on, 1
    from 10 on, 2 from 0.1 on, and one more for every power of ten below that, up to 6."""
    largest = max((abs(v) for v in values), default=0.0)
    if 0 < largest < 0.1:
        return min(1 + math.ceil(-math.log10(largest)), 6)
    return 2 if largest < 10 else 1 if largest < 100 else 0


def two_figures(value: float) -> str:
    """Return a number rounded to two significant figures, without an exponent, such as `0.21`, `3.8` or `260`."""
    return f"{float(f'{value:.2g}'):.12g}"


def are(number: int) -> str:
    """Return a number with its verb, such as `is 1` or `are 3`, for the reason of a refusal."""
    return f"is {number}" if number == 1 else f"are {number}"
