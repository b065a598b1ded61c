"""The numbers in a table's cells: mean and interval over seeds."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class Cell:
    """Mean over n seeds; half_width: of the 95 % interval of the mean, None for a single seed."""

    mean: float
    half_width: float | None
    n: int


def cell(values: Collection[float]) -> Cell | None:
    """Student's t interval, mean ± t(0.975, n-1)·s/√n (s with n-1 in the denominator). None without
    values."""
    if not values:
        return None
    array = np.asarray(list(values), float)
    n = len(array)
    half_width = float(stdtrit(n - 1, 0.975) * array.std(ddof=1) / math.sqrt(n)) if n > 1 else None
    return Cell(float(array.mean()), half_width, n)


def digits(values: Collection[float]) -> int:
    """Decimals that show about three figures of the largest value: 2 below 10, 1 below 100, else none."""
    largest = max((abs(v) for v in values), default=0.0)
    return 2 if largest < 10 else 1 if largest < 100 else 0
