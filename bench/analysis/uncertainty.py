"""Uncertainty of a number: over seeds, over images, and between two conditions that share their seeds.

This module uses only NumPy and SciPy, so that reports can import it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from bench.errors import MetricError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean of n values, their standard deviation (n - 1), and the 95 % interval of the mean; both None if n = 1."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


def summarise(values: Sequence[float] | np.ndarray) -> Summary:
    """Return mean ± t(n - 1) sd / √n (Student 1908), for values of independent seeds.

    With two seeds the t quantile is 12.7: such an interval is wide because it should be.

    Raises:
        MetricError: there are no values, or some are not finite.
    """
    x = _finite(values, "summarise")
    mean = float(x.mean())
    if len(x) == 1:
        return Summary(1, mean, None, None, None)
    sd = float(x.std(ddof=1))
    half = _t(len(x) - 1) * sd / np.sqrt(len(x))
    return Summary(len(x), mean, sd, float(mean - half), float(mean + half))


@dataclass(frozen=True)
class Paired:
    """The difference between two conditions, in pairs over their common seeds.

    difference: the mean of a - b over the common seeds, with its 95 % interval.
    p_value: two-sided, for the hypothesis that there is no difference; None for a single pair.
    seeds: the common seeds, ascending.
    dropped: how many seeds only one side has.
    """

    difference: Summary
    p_value: float | None
    seeds: tuple[int, ...]
    dropped: int


def compare_paired(a: Mapping[int, float], b: Mapping[int, float]) -> Paired:
    """Compare condition a with b by the paired t interval over the seeds that both have.

    Chains of one seed share data order and noise, and also generation 0 if the conditions agree on it. Pairing removes
    what they have in common.

    Args:
        a: seed -> score of the first condition.
        b: seed -> score of the second condition.

    Raises:
        MetricError: no seed is common to both.
    """
    seeds = tuple(sorted(a.keys() & b.keys()))
    if not seeds:
        raise MetricError(f"there is no common seed: {sorted(a)} and {sorted(b)}")
    differences = _finite([a[s] - b[s] for s in seeds], "compare_paired")
    summary = summarise(differences)
    p_value = None
    if summary.sd is not None:
        if summary.sd == 0:
            p_value = 1.0 if summary.mean == 0 else 0.0
        else:
            from scipy import stats  # imported late: a run that finds its scores in the store does not wait for it

            t = summary.mean / (summary.sd / np.sqrt(summary.n))
            p_value = float(2 * stats.t.sf(abs(t), summary.n - 1))
    return Paired(summary, p_value, seeds, len(a.keys() ^ b.keys()))


def resample_images(
    statistic: Callable[[np.ndarray, np.ndarray], Mapping[str, float]],
    subject: np.ndarray,
    reference: np.ndarray,
    num_resamples: int,
    seed: int = 0,
) -> dict[str, float]:
    """Estimate the standard deviation of each statistic over the choice of images, within one seed.

    This is a bootstrap without replacement: each statistic is computed on random halves of both sets. The standard
    deviation over halves estimates that of the whole, because the factor (N - m) / m of Politis & Romano (1994) is 1.
    With replacement, duplicates would shrink the balls of every k-NN score and inflate FID. Only the spread is used:
    scores at N / 2 are biased compared with those at N, so an interval is value ± 1.96 sd around the full score.

    Args:
        statistic: maps features of subject and reference to named values.
        subject: float (N, d), features of the images that are scored.
        reference: float (M, d), features of the images that they are compared with.
        num_resamples: how many pairs of halves are drawn, at least 2.
        seed: seed of the draws.

    Returns:
        name -> standard deviation, for the values that every pair of halves has.

    Raises:
        MetricError: there are fewer than 2 resamples or fewer than 4 images on one side.
    """
    if num_resamples < 2 or min(len(subject), len(reference)) < 4:
        raise MetricError(
            f"resampling needs at least 2 resamples and 4 images on each side, but there are {num_resamples} resamples "
            f"of {len(subject)} and {len(reference)} images"
        )
    rng = np.random.default_rng(seed)
    drawn: list[Mapping[str, float]] = []
    for _ in range(num_resamples):
        a = np.sort(rng.permutation(len(subject))[: len(subject) // 2])
        b = np.sort(rng.permutation(len(reference))[: len(reference) // 2])
        drawn.append(statistic(subject[a], reference[b]))
    names = set.intersection(*(set(values) for values in drawn))
    return {name: float(np.std([values[name] for values in drawn], ddof=1)) for name in sorted(names)}


def resplit_intervals(
    statistic: Callable[[np.ndarray, np.ndarray], Mapping[str, float]],
    items: np.ndarray,
    n: int,
    num_resplits: int,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return the interval of 95 % of the values of other splits of the same items.

    It is mean ± t(R - 1) sd √(1 + 1/R) over R random splits into two sets of n: Student's prediction interval for one
    more split. The values of splits are assumed to be normal.

    The interval covers how much a score of two sets of one distribution depends on which item fell on which side. Any
    split, including the one that was made, is exchangeable with the drawn ones, so this is also the permutation
    distribution that a two-sample test of "no difference" uses.

    The interval does not cover other items, because the splits share items. It is not the interval of a mean, whose
    error over R draws of one finite set would shrink without bound. It does not remove the bias that FID has at this n.

    Args:
        statistic: maps the features of two sets to named values.
        items: float (M, d) with M >= 2 n, features of items of one distribution.
        n: size of each set.
        num_resplits: R, at least 2.
        seed: seed of the draws.

    Returns:
        name -> (low, high), for the values that every split has.

    Raises:
        MetricError: there are fewer than 2 splits or 2 n items.
    """
    if num_resplits < 2 or not 0 < 2 * n <= len(items):
        raise MetricError(
            f"re-splits: at least 2 of two sets of {n} items are needed, but there are {num_resplits} of {len(items)}"
        )
    rng = np.random.default_rng(seed)
    drawn: list[Mapping[str, float]] = []
    for _ in range(num_resplits):
        order = rng.permutation(len(items))
        drawn.append(statistic(items[order[:n]], items[order[n : 2 * n]]))
    names = set.intersection(*(set(values) for values in drawn))
    intervals = {}
    for name in sorted(names):
        values = np.array([split[name] for split in drawn])
        half = _t(num_resplits - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / num_resplits)
        intervals[name] = (float(values.mean() - half), float(values.mean() + half))
    return intervals


@cache  # a page asks for the same few degrees of freedom thousands of times
def _t(degrees: float) -> float:
    from scipy import stats  # as above

    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, degrees))


def _finite(values: Sequence[float] | np.ndarray, what: str) -> np.ndarray:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise MetricError(f"{what} needs a list of at least one value, but got shape {x.shape}")
    if not np.isfinite(x).all():
        raise MetricError(f"{what}: {int((~np.isfinite(x)).sum())} of {len(x)} values are not finite")
    return x
