"""Does a chain collapse, how fast, and from which synthetic ratio on?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.analysis.uncertainty import CONFIDENCE
from bench.errors import MetricError

MARGIN = float(np.log(1.05))
"""Growth of log FID per generation that counts as none: 5 % a generation."""

COLLAPSED, STABLE, INCONCLUSIVE = "collapsed", "stable", "inconclusive"


@dataclass(frozen=True)
class Rate:
    """A slope per generation with its 95 % interval. standard_error, degrees: what the interval is made of.
    num_seeds, num_generations: what it is fitted to."""

    slope: float
    low: float
    high: float
    standard_error: float
    degrees: int
    num_seeds: int
    num_generations: int


def log_slope(curves: Sequence[Sequence[float]]) -> Rate:
    """Rate of change per generation of log y, e.g. y = FID: exp(slope) is the factor per generation.

    curves: one per seed, each y of generation 0, 1, …; all of one length, at least 3, y > 0. Least squares per seed;
    the slope is the mean of the seeds' slopes. Its variance is estimated twice, from the residuals around the lines
    (S (G - 2) degrees of freedom for S seeds of G generations) and from the spread of the slopes between seeds (S - 1);
    the larger of the two makes the t interval, with its own degrees of freedom. So one seed gives an interval, and
    seeds that disagree widen it. Assumes that the noise of one generation does not carry over to the next.
    """
    y = _curves(curves)
    if (y <= 0).any():
        raise MetricError(f"log_slope needs values above 0, the smallest is {y.min()}")
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


def verdict(rate: Rate, margin: float = MARGIN) -> str:
    """What a rate of log FID says, by this rule:

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
    """Generations until the score is half of what it was, with its interval; infinity: never."""

    generations: float
    low: float
    high: float
    rate: Rate


def half_life(curves: Sequence[Sequence[float]], floor: float) -> HalfLife:
    """ln 2 / (-slope of log y), e.g. y = recall, with the ends of the slope's interval for its own.

    floor: the smallest value that can be told from 0, half an image for a share of N (0.5 / N); smaller ones, 0 among
    them, are raised to it. Infinite where the slope is not negative: not even the sign of the decay is known where only
    `high` is. Assumes exponential decay; a recall that falls and then holds is told better by its curve.
    """
    rate = log_slope(np.maximum(_curves(curves), floor).tolist())
    halves = [np.log(2) / -s if s < 0 else np.inf for s in (rate.slope, rate.low, rate.high)]
    return HalfLife(float(halves[0]), float(halves[1]), float(halves[2]), rate)


@dataclass(frozen=True)
class CriticalRatio:
    """ratio: where the slope's interval leaves zero; low, high: its 95 % interval. None: it does not, within the
    ratios that were run (with `always`: at all of them it is above zero). found: share of redraws with a ratio."""

    ratio: float | None
    low: float | None
    high: float | None
    always: bool
    found: float


def critical_ratio(rates: Mapping[float, Rate], num_redraws: int = 2000, seed: int = 0) -> CriticalRatio:
    """The synthetic ratio from which on collapse is established: where the lower end of the slope's 95 % interval
    crosses zero for good, interpolated linearly between the ratios that were run.

    Its interval: every slope is redrawn from its t distribution (mean, standard error, degrees of freedom) and the
    crossing found again; the central 95 % of those that cross. It depends on the number of seeds and generations by
    definition, as less noise establishes slower collapse: compare at equal numbers. Needs two ratios.
    """
    if len(rates) < 2:
        raise MetricError(f"a critical ratio needs two synthetic ratios or more, there are {sorted(rates)}")
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
        found=len(crossings) / num_redraws,
    )


def _crossing(ratios: np.ndarray, lower: np.ndarray) -> float | None:
    """Where `lower` becomes positive and stays so; None if it is positive everywhere or not at the last ratio."""
    below = np.flatnonzero(lower <= 0)
    if len(below) == 0 or below[-1] == len(ratios) - 1:
        return None
    i = below[-1]
    return float(ratios[i] + (ratios[i + 1] - ratios[i]) * -lower[i] / (lower[i + 1] - lower[i]))


def _curves(curves: Sequence[Sequence[float]]) -> np.ndarray:
    lengths = {len(curve) for curve in curves}
    if len(lengths) != 1 or min(lengths) < 3:
        raise MetricError(f"a rate needs curves of one length, at least 3 generations; lengths are {sorted(lengths)}")
    y = np.array(curves, np.float64)
    if not np.isfinite(y).all():
        raise MetricError("a rate needs finite values")
    return y
