"""Exchange rate: how many real images a synthetic image is worth, measured by training on fewer real images alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import optimize, stats

from bench.analysis.cells import are
from bench.analysis.collapse import FEWEST_SEEDS
from bench.analysis.conditions import Condition
from bench.analysis.measures import Measure
from bench.analysis.study import Study
from bench.analysis.uncertainty import CONFIDENCE
from bench.errors import MetricError

METRICS = ("fid", "risk")
LOGGED = ("fid",)
"""Scores that are interpolated as logarithms. Risk is not, because it may be negative."""
FEWEST_SIZES = 2
NUM_GRID = 2001
NOT_DETERMINED = "not determined"
"""Shown if the interval contains all sizes that were run."""
RULE = (
    "One synthetic item is worth (m − n_real) / n_synthetic real items, where m real items alone, at equal steps, "
    "reach the same score. m is interpolated between the sizes that were run, never beyond them; its 95 % interval "
    "holds every size whose paired difference from the score a t test over seeds does not reject. Below 0: the "
    "synthetic items do harm. 1: as good as real ones."
)


@dataclass(frozen=True)
class Estimate:
    """A number that can be estimated only within a range, with its 95 % interval.

    value, low, high: None if outside the range; `low` is then below `least`, and `high` above `most`.
    least, most: the ends of the range.
    side: `below` or `above` if `value` is None; else "".
    """

    value: float | None
    low: float | None
    high: float | None
    least: float
    most: float
    side: str = ""

    @property
    def is_determined(self) -> bool:
        """Whether the interval does not contain all sizes that were run."""
        return self.low is not None or self.high is not None

    def mapped(self, f: Callable[[float], float]) -> "Estimate":
        """Return the estimate of f(number), for an increasing function f."""
        value, low, high = (None if end is None else f(end) for end in (self.value, self.low, self.high))
        return Estimate(value, low, high, f(self.least), f(self.most), self.side)

    def text(self, places: int) -> str:
        """Return e.g. `0.31 (0.22 to 0.40)`. `< 0.10` and `> 1.00` stand for values outside the range, and stand alone
        if the whole interval is outside."""
        below, above = (f"{sign} {end:.{places}f}" for sign, end in (("<", self.least), (">", self.most)))
        if self.side == "below" and self.high == self.least:
            return below
        if self.side == "above" and self.low == self.most:
            return above
        if not self.is_determined:
            return NOT_DETERMINED
        outside = below if self.side == "below" else above
        value = outside if self.value is None else f"{self.value:.{places}f}"
        low = below if self.low is None else f"{self.low:.{places}f}"
        high = above if self.high is None else f"{self.high:.{places}f}"
        return f"{value} ({low} to {high})"


def equivalent_size(sizes: Sequence[float], real_only: np.ndarray, scores: np.ndarray) -> Estimate:
    """Return the number of real images that alone reach the mean of `scores`, from paired seeds.

    The mean scores of the sizes are made monotone by pooling adjacent violators (isotonic regression, Barlow et al.
    1972; each seed's scores are averaged over the same pools) and interpolated linearly in log size. The interval
    inverts a paired t test (Fieller 1954): it contains the sizes x at which the mean over seeds of score minus
    interpolated score does not differ significantly from 0. An end beyond the sizes that were run is not extrapolated.

    Args:
        sizes: K numbers of real images, ascending.
        real_only: float (S, K), a score of each seed with that many real images alone; lower is better.
        scores: float (S,), the same score of the same seeds.

    Raises:
        MetricError: there are fewer than two sizes or three seeds, or the shapes do not agree.
    """
    x = np.log(np.asarray(sizes, np.float64))
    if real_only.shape != (len(scores), len(x)) or len(x) < FEWEST_SIZES or len(scores) < FEWEST_SEEDS:
        raise MetricError(
            f"an equivalent size needs at least {FEWEST_SIZES} sizes and {FEWEST_SEEDS} seeds, but got scores "
            f"{scores.shape} against {real_only.shape} for {len(x)} sizes"
        )
    blocks = optimize.isotonic_regression(real_only.mean(axis=0), increasing=False).blocks
    pools = [real_only[:, a:b] for a, b in pairwise(blocks)]
    monotone = np.hstack([np.repeat(pool.mean(axis=1, keepdims=True), pool.shape[1], axis=1) for pool in pools])
    grid = np.union1d(np.linspace(x[0], x[-1], NUM_GRID), x)
    gaps = scores[:, None] - np.array([np.interp(grid, x, line) for line in monotone])
    half = stats.t.ppf(0.5 + CONFIDENCE / 2, len(scores) - 1) * gaps.std(axis=0, ddof=1) / np.sqrt(len(scores))
    mean = gaps.mean(axis=0)
    better, worse = mean + half < 0, mean - half > 0
    low = float(np.exp(grid[np.flatnonzero(~better)[0]])) if not better.all() else float(sizes[-1])
    high = float(np.exp(grid[np.flatnonzero(~worse)[-1]])) if not worse.all() else float(sizes[0])
    value = None
    side = "below" if mean[0] > 0 else "above" if mean[-1] < 0 else ""
    if not side:
        value = float(np.exp(np.interp(0.0, mean, grid)))
    return Estimate(
        value,
        low if better[0] else None,
        high if worse[-1] else None,
        least=float(sizes[0]),
        most=float(sizes[-1]),
        side=side,
    )


@dataclass(frozen=True)
class Rate:
    """The exchange rate of one condition at one generation.

    equivalent: the number of real images that alone reach the same score. worth: real images per synthetic image.
    """

    condition: Condition
    generation: int
    num_real: int
    num_synthetic: int
    score: float
    equivalent: Estimate
    worth: Estimate
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Exchange:
    """The exchange rates of a study in one score.

    real_only: number of real images -> seed -> score with these alone, the mean over their generations.
    rates: one for each condition and generation that has a rate.
    refused: condition -> why it has no rate; the key None stands for the whole study.
    """

    measure: Measure
    real_only: dict[int, dict[int, float]]
    rates: list[Rate] = field(default_factory=list)
    refused: dict[Condition | None, str] = field(default_factory=dict)

    def last(self) -> list[Rate]:
        """Return the rates of each condition's last generation."""
        return list({rate.condition: rate for rate in self.rates}.values())


def exchanges(study: Study) -> list[Exchange]:
    """Return the exchange rates in FID and in risk, if these were computed and some training set has samples."""
    found = [_exchange(study, measure) for metric in METRICS if (measure := study.total(metric)) is not None]
    return [exchange for exchange in found if exchange is not None]


def _exchange(study: Study, measure: Measure) -> Exchange | None:
    mixed = [c for c in study.conditions if any(_counts(study, c, g)[1] for g in study.generations)]
    if not mixed:
        return None
    real_only = _real_only(study, measure)
    seeds = set.intersection(*map(set, real_only.values())) if real_only else set()
    if len(real_only) < FEWEST_SIZES:
        reason = "it needs arms of fewer real items alone (mixing=real_only), and this study has none"
        return Exchange(measure, real_only, refused={None: reason})
    if len(seeds) < FEWEST_SEEDS:
        reason = f"it needs {FEWEST_SEEDS} seeds that all sizes of real_only have, and there {are(len(seeds))}"
        return Exchange(measure, real_only, refused={None: reason})
    exchange = Exchange(measure, real_only)
    for condition in mixed:
        common = sorted(seeds & study.chains[condition].keys())
        if len(common) < FEWEST_SEEDS:
            exchange.refused[condition] = (
                f"it needs {FEWEST_SEEDS} seeds in common with real_only, and there {are(len(common))}"
            )
            continue
        for generation in range(1, study.last_of(condition) + 1):
            rate = _rate(study, measure, real_only, condition, generation, common)
            if rate is not None:
                exchange.rates.append(rate)
    return exchange


def _rate(
    study: Study,
    measure: Measure,
    real_only: dict[int, dict[int, float]],
    condition: Condition,
    generation: int,
    seeds: list[int],
) -> Rate | None:
    """Return the rate at one generation, or None if its training set has no samples or a seed lacks the score.

    Args:
        study: the study of the condition.
        measure: the score.
        real_only: size -> seed -> score.
        condition: the condition whose samples are priced.
        generation: the generation whose training set is priced.
        seeds: the condition's seeds that every size has.
    """
    num_real, num_synthetic = _counts(study, condition, generation)
    values = study.values(condition, generation, measure)
    if not num_synthetic or not set(seeds) <= values.keys():
        return None
    transform = np.log if measure.metric in LOGGED else np.asarray
    table = transform(np.array([[by_seed[s] for by_seed in real_only.values()] for s in seeds]))
    scores = np.array([values[s] for s in seeds])
    equivalent = equivalent_size(list(real_only), table, transform(scores))
    worth = equivalent.mapped(lambda size: (size - num_real) / num_synthetic)
    score = float(scores.mean())
    return Rate(condition, generation, num_real, num_synthetic, score, equivalent, worth, tuple(seeds))


def _counts(study: Study, condition: Condition, generation: int) -> tuple[int, int]:
    """Return how many real and how many synthetic images were drawn for a generation's training set."""
    row = next((row for row in study.longest(condition).rows if row.generation == generation), None)
    return (row.composition["num_real"], row.composition["num_synthetic"]) if row else (0, 0)


def _real_only(study: Study, measure: Measure) -> dict[int, dict[int, float]]:
    """Return number of real images, ascending -> seed -> score of training on these alone.

    These trainings are `real_only`, ratio 0, and generation 0. They contain no samples, so all generations of one size
    are repetitions and are averaged. Generation 0, which the chains of a seed share on one device, counts once.
    """
    found: dict[int, dict[int, dict[float, None]]] = {}
    for condition in study.conditions:
        if not condition.is_plain:
            continue
        for seed, chain in study.chains[condition].items():
            for row in chain.rows:
                value = study.values(condition, row.generation, measure).get(seed)
                if row.composition["num_synthetic"] == 0 and value is not None:
                    found.setdefault(row.composition["num_real"], {}).setdefault(seed, {})[value] = None
    return {size: {s: sum(v) / len(v) for s, v in sorted(found[size].items())} for size in sorted(found)}


def described(exchange: Exchange) -> dict[str, Any]:
    """Return exchange rates ready for JSON: estimates as [value, low, high], null for values outside the range."""
    measure = exchange.measure
    return {
        "metric": measure.metric,
        "feature_space": measure.feature_space,
        "reference": measure.reference,
        "num_subject": measure.num_subject,
        "refused": {condition.label if condition else "": why for condition, why in exchange.refused.items()},
        "rates": [
            {
                "condition": rate.condition.label,
                "generation": rate.generation,
                "num_real": rate.num_real,
                "num_synthetic": rate.num_synthetic,
                "seeds": list(rate.seeds),
                "equivalent": _ends(rate.equivalent),
                "equivalent_range": [rate.equivalent.least, rate.equivalent.most],
                "worth": _ends(rate.worth),
                "worth_range": [rate.worth.least, rate.worth.most],
            }
            for rate in exchange.rates
        ],
    }


def _ends(estimate: Estimate) -> list[float | None]:
    return [estimate.value, estimate.low, estimate.high]
