"""Statistics of collapse: whether a chain collapses, how fast, and from which synthetic ratio on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.analysis.uncertainty import CONFIDENCE
from bench.errors import MetricError

MARGIN = float(np.log(1.05))
"""Growth of log FID below which a chain counts as stable: 5 % a generation."""

COLLAPSED, STABLE, INCONCLUSIVE = "collapsed", "stable", "inconclusive"


@dataclass(frozen=True)
class Rate:
    """A slope per generation with its 95 % interval.

    standard_error, degrees: the parameters of the t interval.
    num_seeds, num_generations: the size of the data that the slope is fitted to.
    """

    slope: float
    low: float
    high: float
    standard_error: float
    degrees: int
    num_seeds: int
    num_generations: int


def log_slope(curves: Sequence[Sequence[float]]) -> Rate:
    """Fit the rate of change per generation of log y, e.g. y = FID: exp(slope) is the factor per generation.

    A line is fitted to each seed by least squares; the slope is the mean of the seeds' slopes. Its variance is
    estimated twice: from the residuals around the lines (S (G - 2) degrees of freedom for S seeds of G generations) and
    from the spread of the slopes between seeds (S - 1). The larger estimate gives the t interval, with its own degrees
    of freedom. So a single seed has an interval, and seeds that disagree widen it. The fit assumes that the noise of
    one generation does not carry over to the next.

    Args:
        curves: one per seed, the y of generation 0, 1, …; all of one length, at least 3, and y > 0.

    Raises:
        MetricError: the curves are too short, of unequal length, not finite or not positive.
    """
    y = _curves(curves)
    if (y <= 0).any():
        raise MetricError(f"log_slope needs values above 0, but the smallest is {y.min()}")
    num_seeds, num_generations = y.shape
    g = np.arange(num_generations) - (num_generations - 1) / 2
    spread = float((g**2).sum())
    logs = np.log(y)
    slopes = logs @ g / spread
    residuals = logs - logs.mean(axis=1, keepdims=True) - slopes[:, None] * g
    degrees = num_seeds * (num_generations - 2)
    variance = float((residuals**2).sum()) / degrees / spread
    if num_seeds > 1 and slopes.var(ddof=1) > variance:
        variance, degrees = float(slopes.var(ddof=1)), num_seeds - 1
    error = float(np.sqrt(variance / num_seeds))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, degrees)) * error
    slope = float(slopes.mean())
    return Rate(slope, slope - half, slope + half, error, degrees, num_seeds, num_generations)


def classify(rate: Rate, margin: float = MARGIN) -> str:
    """Judge a rate of log FID by this rule:

    stable        the interval lies wholly below `margin`: growth of 5 % a generation or more is ruled out.
    collapsed     otherwise, and the interval lies wholly above 0: growth is established.
    inconclusive  otherwise: too few seeds or generations, or too much noise, to say.

    False alarms ("collapsed" on pure log-normal noise around a constant), measured on 4000 chains for each of 4, 6 and
    10 generations and sd 0.02, 0.05, 0.1 and 0.3 of log FID; the worst of the twelve: 2.9 % with one seed, 1.3 % with
    two, 1.3 % with three, 1.6 % with five (2.5 % is what a 95 % interval allows). Where half of a generation's noise
    carries over to the next (correlation 0.5): 10 %, 4.0 %, 2.9 %, 2.5 %: one seed is not enough for this word.
    Measured again by `pytest -m slow -s tests/test_collapse.py`.
    """
    if rate.high < margin:
        return STABLE
    return COLLAPSED if rate.low > 0 else INCONCLUSIVE


@dataclass(frozen=True)
class HalfLife:
    """Number of generations in which the score halves, with its interval. Infinity: it never does."""

    generations: float
    low: float
    high: float
    rate: Rate


def half_life(curves: Sequence[Sequence[float]], floor: float) -> HalfLife:
    """Return ln 2 / (-slope of log y), e.g. y = recall; its interval comes from the ends of the slope's interval.

    The half-life is infinite where the slope is not negative. Where only `high` is infinite, not even the sign of the
    slope is established. Exponential decay is assumed; a recall that falls and then stays level is better described by
    its curve.

    Args:
        curves: one per seed, as for `log_slope`.
        floor: the smallest value that differs measurably from 0: half an image for a share of N images (0.5 / N).
            Smaller values, 0 included, are raised to it.
    """
    rate = log_slope(np.maximum(_curves(curves), floor).tolist())
    halves = [np.log(2) / -s if s < 0 else np.inf for s in (rate.slope, rate.low, rate.high)]
    return HalfLife(float(halves[0]), float(halves[1]), float(halves[2]), rate)


@dataclass(frozen=True)
class CriticalRatio:
    """The synthetic ratio at which the interval of the slope leaves zero.

    ratio: None where there is no such ratio among those that were run.
    low, high: 95 % interval of the ratio.
    always: whether the interval lies above zero at every ratio that was run.
    crossing_share: share of the redraws that have such a ratio.
    """

    ratio: float | None
    low: float | None
    high: float | None
    always: bool
    crossing_share: float


def critical_ratio(rates: Mapping[float, Rate], num_redraws: int = 2000, seed: int = 0) -> CriticalRatio:
    """Estimate the synthetic ratio from which on collapse is established.

    It is the ratio at which the lower end of the slope's 95 % interval crosses zero for good, interpolated linearly
    between the ratios that were run. For its own interval, every slope is redrawn from its t distribution (mean,
    standard error, degrees of freedom) and the crossing is computed again; the central 95 % of the crossings are the
    interval. By definition the ratio depends on the number of seeds and generations, as less noise establishes slower
    collapse: compare critical ratios only at equal numbers.

    Args:
        rates: synthetic ratio -> rate; at least two.
        num_redraws: how many times the slopes are redrawn.
        seed: seed of the redraws.

    Raises:
        MetricError: fewer than two ratios are given.
    """
    if len(rates) < 2:
        raise MetricError(f"a critical ratio needs at least two synthetic ratios, but only {sorted(rates)} are given")
    ratios = np.array(sorted(rates))
    fitted = [rates[r] for r in ratios]
    slopes = np.array([rate.slope for rate in fitted])
    halves = slopes - np.array([rate.low for rate in fitted])
    ratio = _crossing(ratios, slopes - halves)
    rng = np.random.default_rng(seed)
    errors = np.array([rate.standard_error for rate in fitted])
    degrees = np.array([rate.degrees for rate in fitted])
    redrawn = slopes + errors * rng.standard_t(degrees, (num_redraws, len(ratios)))
    crossings = [c for row in redrawn if (c := _crossing(ratios, row - halves)) is not None]
    low, high = np.quantile(crossings, [0.025, 0.975]) if ratio is not None and crossings else (None, None)
    return CriticalRatio(
        ratio,
        None if low is None else float(low),
        None if high is None else float(high),
        always=bool((slopes - halves > 0).all()),
        crossing_share=len(crossings) / num_redraws,
    )


def _crossing(ratios: np.ndarray, lower: np.ndarray) -> float | None:
    """Return where `lower` becomes positive for good; None if it is positive everywhere or not at the last ratio."""
    below = np.flatnonzero(lower <= 0)
    if len(below) == 0 or below[-1] == len(ratios) - 1:
        return None
    i = below[-1]
    return float(ratios[i] + (ratios[i + 1] - ratios[i]) * -lower[i] / (lower[i + 1] - lower[i]))


def _curves(curves: Sequence[Sequence[float]]) -> np.ndarray:
    lengths = {len(curve) for curve in curves}
    if len(lengths) != 1 or min(lengths) < 3:
        raise MetricError(
            f"a rate needs curves of equal length, at least 3 generations; the lengths are {sorted(lengths)}"
        )
    y = np.array(curves, np.float64)
    if not np.isfinite(y).all():
        raise MetricError("a rate needs finite values")
    return y
