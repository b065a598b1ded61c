"""Statistics of collapse: whether a condition leaves its reference, how far, how fast, and from which ratio on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from bench.analysis.uncertainty import CONFIDENCE
from bench.errors import MetricError

MARGIN = 0.1
"""Rise over the reference below which a condition counts as stable: 10 % of the reference's score."""
POWER = 0.8
FEWEST_SEEDS = 3
"""From this many seeds on, intervals are computed from the spread between seeds."""
FEWEST_DEGREES = 4
"""With fewer seeds, the residuals need at least this many degrees of freedom: nine generations of one seed, or seven of
two."""
FEWEST_RATIOS = 4

STABLE, BOUNDED, RISING, DIVERGING, INCONCLUSIVE = "stable", "bounded", "rising", "diverging", "inconclusive"


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
    """Fit the rate of change per generation of log y, e.g. for y = FID; exp(slope) is the factor per generation.

    A line is fitted to each seed by least squares; the slope is the mean of the seeds' slopes. Its variance is
    estimated twice: from the residuals around the lines (S (G - 2) degrees of freedom for S seeds of G generations) and
    from the spread of the slopes between seeds (S - 1). The larger estimate gives the t interval, with its own degrees
    of freedom. Therefore a single seed has an interval, and seeds that disagree widen it. The fit assumes that the
    noise of one generation does not carry over to the next.

    Args:
        curves: one per seed, the y of generations 0, 1, …; all of the same length, at least 3, with y > 0.

    Raises:
        MetricError: the curves are too short, of unequal length, not finite or not positive.
    """
    y = _positive(curves)
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
    found = _interval(float(slopes.mean()), error, degrees)
    return Rate(found.value, found.low, found.high, error, degrees, num_seeds, num_generations)


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % interval, which is infinite if there are too few degrees of freedom.

    standard_error, degrees: the parameters of the t interval.
    """

    value: float
    low: float
    high: float
    standard_error: float
    degrees: int

    @property
    def detectable(self) -> float:
        """The smallest effect for which this interval would exclude zero in 80 % of repetitions."""
        if self.degrees <= 0 or not np.isfinite(self.high):
            return float("inf")
        return float(stats.t.ppf([0.5 + CONFIDENCE / 2, POWER], self.degrees).sum()) * self.standard_error


@dataclass(frozen=True)
class Growth:
    """How far, how fast and in what shape a condition leaves its reference, as shares of the reference's score.

    rise: the mean excess over the reference in the second half of the generations after 0; 0.4 is 40 %.
    rate: the growth per generation from the first half to the second.
    bend: the rate minus half the pace of the first half. A straight line continues at the full pace. Negative: the rise
        levels off. Positive: it does not.
    paired: whether the reference is the same seeds at ratio 0; otherwise it is each chain's own generation 0.
    first: the first generation of the second half.
    """

    rise: Interval
    rate: Interval
    bend: Interval
    paired: bool
    first: int
    num_seeds: int
    num_generations: int


def growth(curves: Sequence[Sequence[float]], reference: Sequence[Sequence[float]] | None = None) -> Growth:
    """Measure how curves y, e.g. y = FID, leave their reference, as x = y / reference - 1.

    The generations after 0 are split into halves. If their number is odd, the middle one belongs to the second half.
    Rise, rate and bend are weighted sums of the x of one seed. With at least three seeds, their intervals are Student's
    t intervals over seeds (S - 1 degrees of freedom). With one or two, the intervals come from the residuals around a
    straight line within each half (S (G - 5) degrees of freedom for G generations, at least four). They then hold only
    for these chains, and assume that the noise of one generation does not carry over to the next. The interval of the
    rise is cut at -1, because a positive y cannot fall by more than all of it.

    Args:
        curves: one per seed, the y of generations 0, 1, …; all of the same length, at least 3, with y > 0.
        reference: the y of the same seeds at ratio 0, in the same form; None: generation 0 of each curve.

    Raises:
        MetricError: the curves are too short, of unequal length, not finite or not positive, or the reference has
            another shape.
    """
    x, (early, late) = _excess(curves, reference)
    num_seeds, num = x.shape
    num_early = int(np.count_nonzero(early))
    middle = float(early @ np.arange(1, num + 1))
    rate = _rate_weights(early, late)
    weights = {"rise": late, "rate": rate, "bend": rate - early / middle / 2}
    if num_seeds >= FEWEST_SEEDS:
        found = {name: _over_seeds(x @ w) for name, w in weights.items()}
    else:
        found = {name: _of_residuals(x, num_early, w, paired=reference is not None) for name, w in weights.items()}
    found["rise"] = cut(found["rise"])
    return Growth(
        **found, paired=reference is not None, first=num_early + 1, num_seeds=num_seeds, num_generations=num + 1
    )


def cut(rise: Interval) -> Interval:
    """Return the interval of a rise without what lies below -1."""
    return replace(rise, low=max(rise.low, -1.0)) if math.isfinite(rise.low) else rise


def rises(curves: Sequence[Sequence[float]], reference: Sequence[Sequence[float]] | None = None) -> list[float]:
    """Return the rise of each seed, whose mean is `growth(curves, reference).rise.value`."""
    x, (_, late) = _excess(curves, reference)
    return [float(v) for v in x @ late]


def rates(curves: Sequence[Sequence[float]], reference: Sequence[Sequence[float]] | None = None) -> list[float]:
    """Return the growth per generation of each seed, whose mean is `growth(curves, reference).rate.value`."""
    x, halves = _excess(curves, reference)
    return [float(v) for v in x @ _rate_weights(*halves)]


def shift(curves: Sequence[Sequence[float]], reference: Sequence[Sequence[float]] | None = None) -> Interval:
    """Return the mean difference between curves y and their reference in the second half of the generations after 0.

    Unlike `growth`, it takes differences, so y (e.g. a share) may be 0. The interval is Student's t interval over
    seeds; with fewer than three seeds it is infinite.

    Args:
        curves: one per seed, the y of generations 0, 1, …; all of the same length, at least 3.
        reference: the y of the same seeds at ratio 0, in the same form; None: generation 0 of each curve.

    Raises:
        MetricError: the curves are too short, of unequal length or not finite.
    """
    return mean_over_seeds(np.array(shifts(curves, reference)))


def shifts(curves: Sequence[Sequence[float]], reference: Sequence[Sequence[float]] | None = None) -> list[float]:
    """Return the shift of each seed, whose mean is `shift(curves, reference).value`."""
    y, base = _with_base(_curves(curves), None if reference is None else _curves(reference))
    _, late = _halves(y.shape[1] - 1)
    return [float(v) for v in (y - base)[:, 1:] @ late]


def mean_over_seeds(values: np.ndarray) -> Interval:
    """Return the mean of one value per seed, float (S,), with its t interval, which is infinite below three seeds."""
    if len(values) < FEWEST_SEEDS:
        return _interval(float(values.mean()), 0.0, 0)
    return _over_seeds(values)


def classify(growth: Growth, margin: float = MARGIN) -> str:
    """Judge how a condition leaves its reference by this rule:

    stable        the interval of the rise lies wholly below `margin`: a rise of 10 % or more is ruled out.
    diverging     otherwise, and the intervals of rise and bend lie wholly above 0: it rises and does not level off.
    bounded       otherwise, and the interval of the rise lies wholly above 0 and that of the bend below: it levels off.
    rising        otherwise, and the interval of the rise lies wholly above 0: whether it levels off is open.
    inconclusive  otherwise: too few seeds or generations, or too much noise, to say.

    Its confusion matrix is in docs/results.md, measured by `python tests/verdict_errors.py`.
    """
    if growth.rise.high < margin:
        return STABLE
    if growth.rise.low <= 0:
        return INCONCLUSIVE
    if growth.bend.low > 0:
        return DIVERGING
    return BOUNDED if growth.bend.high < 0 else RISING


def _excess(
    curves: Sequence[Sequence[float]], reference: Sequence[Sequence[float]] | None
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return x from generation 1 on, and the weights of its means over the first and the second half."""
    y, base = _with_base(_positive(curves), None if reference is None else _positive(reference))
    x = (y / base - 1)[:, 1:]
    return x, _halves(x.shape[1])


def _with_base(y: np.ndarray, reference: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the curves and what they are compared with: the reference, or generation 0 of each curve."""
    if reference is None:
        return y, y[:, :1]
    if reference.shape != y.shape:
        raise MetricError(f"a paired reference needs the shape of the curves {y.shape}, but has {reference.shape}")
    return y, reference


def _halves(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the means over the first and the second half of the generations 1 to `num`."""
    is_early = np.arange(num) < num // 2
    return is_early / is_early.sum(), ~is_early / (~is_early).sum()


def _rate_weights(early: np.ndarray, late: np.ndarray) -> np.ndarray:
    """Return the weights of the growth per generation from the mean of the first half to that of the second."""
    generations = np.arange(1, len(early) + 1)
    return (late - early) / (float(late @ generations) - float(early @ generations))


def _over_seeds(values: np.ndarray) -> Interval:
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return _interval(float(values.mean()), error, len(values) - 1)


def _of_residuals(x: np.ndarray, num_early: int, weights: np.ndarray, paired: bool) -> Interval:
    """Return the interval of the mean of x @ weights from the scatter around a line in each half of each curve.

    If generation 0 is the reference, its noise moves all x of a curve together, in proportion to 1 + x. Its variance is
    added.
    """
    num_seeds = len(x)
    squares, degrees = 0.0, 0
    for half in (x[:, :num_early], x[:, num_early:]):
        if half.shape[1] > 2:
            g = np.arange(half.shape[1])
            fitted = np.stack([np.polyval(np.polyfit(g, line, 1), g) for line in half])
            squares += float(((half - fitted) ** 2).sum())
            degrees += num_seeds * (half.shape[1] - 2)
    share = float((weights**2).sum())
    if not paired:
        share += float(((1 + x.mean(axis=0)) @ weights) ** 2)
    error = float(np.sqrt(squares / max(degrees, 1) * share / num_seeds))
    return _interval(float((x @ weights).mean()), error, degrees if degrees >= FEWEST_DEGREES else 0)


def _interval(value: float, error: float, degrees: int) -> Interval:
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, degrees)) * error if degrees else np.inf
    return Interval(value, value - half, value + half, error, degrees)


@dataclass(frozen=True)
class HalfLife:
    """The number of generations in which the score halves, with its interval; infinite if it never halves."""

    generations: float
    low: float
    high: float
    rate: Rate


def half_life(curves: Sequence[Sequence[float]], floor: float) -> HalfLife:
    """Return ln 2 / (-slope of log y), e.g. for y = recall; its interval comes from the ends of the slope's interval.

    The half-life is infinite if the slope is not negative. If only `high` is infinite, not even the sign of the slope
    is established. Exponential decay is assumed; a recall that falls and then stays level is better described by its
    curve.

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
    """The synthetic ratio at which the rise passes the margin of the verdicts.

    ratio: the estimate; None if the rise does not pass the margin within the ratios that were run.
    low, high: 95 % interval of the ratio. An end that equals the lowest or highest ratio that was run may lie beyond
        it.
    always: whether the rise is above the margin at every ratio that was run.
    refused: why the ratio was not estimated, if there were too few ratios or seeds; else "".
    """

    ratio: float | None
    low: float | None
    high: float | None
    always: bool
    refused: str = ""


def critical_ratio(
    rises: Mapping[float, Mapping[int, float]], margin: float = MARGIN, num_redraws: int = 100_000, seed: int = 0
) -> CriticalRatio:
    """Estimate the synthetic ratio from which on conditions are not stable: where the mean rise passes the margin.

    The crossing is interpolated linearly between the ratios that were run; if there are several, the last one counts.
    The estimate therefore does not depend on the number of seeds, but its interval does. For the interval, the mean
    rises of all ratios are redrawn together from Student's t distribution with the covariance that the seeds show
    between ratios, and the crossing is recomputed. Redraws without a crossing count as the lowest or highest ratio.

    Args:
        rises: synthetic ratio -> seed -> rise (`Growth.rise`), all over the same number of generations.
        margin: the rise from which on a condition is not stable.
        num_redraws: how many times the rises are redrawn.
        seed: seed of the redraws.
    """
    ratios = np.array(sorted(rises))
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in rises.values()))) if rises else []
    if len(ratios) < FEWEST_RATIOS or len(seeds) < FEWEST_SEEDS:
        have = f"{len(ratios)} ratio{'s' * (len(ratios) != 1)} with {len(seeds)} common seed{'s' * (len(seeds) != 1)}"
        reason = f"it needs at least {FEWEST_RATIOS} ratios with {FEWEST_SEEDS} common seeds, and has {have}"
        return CriticalRatio(None, None, None, always=False, refused=reason)
    table = np.array([[rises[ratio][s] for ratio in ratios] for s in seeds])
    means = table.mean(axis=0)
    (ratio,), (crosses,) = _crossings(ratios, means[None] - margin)
    if not crosses:
        return CriticalRatio(None, None, None, always=bool((means > margin).all()))
    rng = np.random.default_rng(seed)
    degrees = len(seeds) - 1
    normal = rng.standard_normal((num_redraws, len(seeds))) @ (table - means) / np.sqrt(len(seeds) * degrees)
    redrawn = means + normal * np.sqrt(degrees / rng.chisquare(degrees, (num_redraws, 1)))
    low, high = np.quantile(_crossings(ratios, redrawn - margin)[0], [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return CriticalRatio(float(ratio), float(low), float(high), always=False)


def _crossings(ratios: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row of `above`, float (N, K), the ratio where it becomes and stays positive, and whether there is
    one; else the lowest ratio if the row is positive everywhere, and the highest if not positive at the last ratio."""
    below = above <= 0
    last_below = above.shape[1] - 1 - below[:, ::-1].argmax(axis=1)
    crosses = below.any(axis=1) & (last_below < above.shape[1] - 1)
    i = np.where(crosses, last_below, 0)
    a, b = (np.take_along_axis(above, column[:, None], axis=1)[:, 0] for column in (i, i + 1))
    inside = ratios[i] + (ratios[i + 1] - ratios[i]) * -a / np.where(crosses, b - a, 1.0)
    return np.where(crosses, inside, np.where(below.any(axis=1), ratios[-1], ratios[0])), crosses


def _positive(curves: Sequence[Sequence[float]]) -> np.ndarray:
    y = _curves(curves)
    if (y <= 0).any():
        raise MetricError(f"a relative change needs values above 0, but the smallest is {y.min()}")
    return y


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
