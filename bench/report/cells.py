"""The numbers in a table's cells: mean and interval over seeds, and whether one condition is better than the others."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95


@dataclass(frozen=True)
class Cell:
    """Mean over n seeds; half_width: of the 95 % interval of the mean, None for a single seed."""

    mean: float
    half_width: float | None
    n: int


def cell(values: Collection[float]) -> Cell | None:
    """Student's t interval, mean ± t(0.975, n-1)·s/√n (s with n-1 in the denominator). None without values."""
    if not values:
        return None
    array = np.asarray(list(values), float)
    n = len(array)
    half_width = float(stdtrit(n - 1, (1 + LEVEL) / 2) * array.std(ddof=1) / math.sqrt(n)) if n > 1 else None
    return Cell(float(array.mean()), half_width, n)


def best(values: Mapping[str, Mapping[int, float]], direction: str) -> str | None:
    """The condition that is better than every other one, where that is significant; else None.

    values: condition -> seed -> score. Compared in pairs over common seeds: the 95 % interval of the mean difference to
    each other condition must leave out zero, on the better side. Two common seeds at least; no correction for the
    number of pairs, since all of them must hold at once.
    """
    if len(values) < 2:
        return None
    sign = 1.0 if direction == "up" else -1.0
    leader = max(values, key=lambda name: sign * float(np.mean(list(values[name].values()))))
    for other in values:
        if other == leader:
            continue
        common = values[leader].keys() & values[other].keys()
        difference = cell([sign * (values[leader][seed] - values[other][seed]) for seed in sorted(common)])
        if difference is None or difference.half_width is None or difference.mean - difference.half_width <= 0:
            return None
    return leader


def digits(values: Collection[float]) -> int:
    """Decimals that show about three figures of the largest value: 2 below 10, 1 below 100, else none."""
    largest = max((abs(v) for v in values), default=0.0)
    return 2 if largest < 10 else 1 if largest < 100 else 0
