"""Variance components: how much of a score's scatter comes from the split of the data, the seed, and the rest."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from bench.analysis.cells import are
from bench.analysis.conditions import Condition
from bench.analysis.measures import Measure, measure_of
from bench.analysis.study import Study, relatives
from bench.analysis.uncertainty import CONFIDENCE
from bench.errors import MetricError

METRICS = ("fid", "risk")
KEY = "data.split_seed"
FEWEST = 2
SPLIT, SEED, REST, IMAGES = (
    *("split, with its reference", "seed, the same in all splits"),
    *("the rest of training, and sampling", "sampling and reference, by resampling items"),
)
NOT_IDENTIFIABLE = {
    "sampling alone": "each model is sampled and scored once, so it is part of the rest of training",
    "reference alone": "each split has one set of held-out items, so it is part of the split",
}
RULE = (
    "Two-way crossed random effects, split × seed, one chain in each cell (analysis of variance, Searle et al. 1992): "
    "standard deviation, its 95 % interval (modified large-sample, Ting et al. 1990), and share of the variance of one "
    "chain of one split. A negative estimate is shown as 0."
)


@dataclass(frozen=True)
class Component:
    """A standard deviation in the score's unit, with its 95 % interval and its degrees of freedom.

    share: the share of the variance of one chain of one split; None for a component that is part of others.
    low, high, degrees: None for a component that the analysis of variance does not give.
    """

    name: str
    sd: float
    low: float | None
    high: float | None
    share: float | None
    degrees: int | None


def crossed_components(table: np.ndarray) -> list[Component]:
    """Estimate the components of y_ij = μ + split_i + seed_j + rest_ij, all random and independent.

    With a splits and b seeds the mean squares have E MS_split = σ²_rest + b σ²_split, E MS_seed = σ²_rest + a σ²_seed
    and E MS_rest = σ²_rest (Searle, Casella & McCulloch 1992, ch. 4). Without repetitions in a cell the interaction of
    split and seed cannot be separated from the error. The interval of σ²_rest is exact (χ²). Those of the differences
    are modified large-sample intervals (Ting, Burdick, Graybill, Jeyaratnam & Lu 1990). All assume normal effects.

    Args:
        table: float (a, b), the score of split i and seed j; a, b at least 2.

    Raises:
        MetricError: the table is too small or has values that are not finite.
    """
    if table.ndim != 2 or min(table.shape) < FEWEST or not np.isfinite(table).all():
        raise MetricError(
            f"variance components need finite scores of at least {FEWEST} splits × {FEWEST} seeds, but the table has "
            f"shape {table.shape}"
        )
    a, b = table.shape
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    residuals = table - rows[:, None] - columns + table.mean()
    n_split, n_seed, n_rest = a - 1, b - 1, (a - 1) * (b - 1)
    ms_split, ms_seed = b * float(rows.var(ddof=1)), a * float(columns.var(ddof=1))
    ms_rest = float((residuals**2).sum()) / n_rest
    low, high = (ms_rest * n_rest / stats.chi2.ppf(p, n_rest) for p in (0.5 + CONFIDENCE / 2, 0.5 - CONFIDENCE / 2))
    variances = {
        SPLIT: (max(0.0, (ms_split - ms_rest) / b), *_difference(ms_split, n_split, ms_rest, n_rest, b), n_split),
        SEED: (max(0.0, (ms_seed - ms_rest) / a), *_difference(ms_seed, n_seed, ms_rest, n_rest, a), n_seed),
        REST: (ms_rest, float(low), float(high), n_rest),
    }
    total = sum(variance for variance, *_ in variances.values())
    components = []
    for name, (variance, low, high, degrees) in variances.items():
        sd, low, high = (float(np.sqrt(v)) for v in (variance, low, high))
        components.append(Component(name, sd, low, high, variance / total if total else 0.0, degrees))
    return components


def _difference(ms: float, n: int, ms_rest: float, n_rest: int, size: int) -> tuple[float, float]:
    """Return the modified large-sample interval of (E ms - E ms_rest) / size, cut at 0.

    Args:
        ms: mean square of the effect.
        n: degrees of freedom of `ms`.
        ms_rest: mean square of the rest.
        n_rest: degrees of freedom of `ms_rest`.
        size: how many scores are averaged in one level of the effect.
    """
    tail = 0.5 - CONFIDENCE / 2
    low_1, high_1 = (float(stats.chi2.ppf(p, n)) / n for p in (tail, 1 - tail))
    low_2, high_2 = (float(stats.chi2.ppf(p, n_rest)) / n_rest for p in (tail, 1 - tail))
    g1, h1, g2, h2 = 1 - 1 / high_1, 1 / low_1 - 1, 1 - 1 / high_2, 1 / low_2 - 1
    f_low, f_high = (float(stats.f.ppf(p, n, n_rest)) for p in (tail, 1 - tail))
    g12 = ((f_high - 1) ** 2 - (g1 * f_high) ** 2 - h2**2) / f_high
    h12 = ((1 - f_low) ** 2 - (h1 * f_low) ** 2 - g2**2) / f_low
    below = (g1 * ms) ** 2 + (h2 * ms_rest) ** 2 + g12 * ms * ms_rest
    above = (h1 * ms) ** 2 + (g2 * ms_rest) ** 2 + h12 * ms * ms_rest
    estimate = ms - ms_rest
    low, high = estimate - np.sqrt(max(below, 0.0)), estimate + np.sqrt(max(above, 0.0))
    return max(0.0, float(low) / size), max(0.0, float(high) / size)


@dataclass(frozen=True)
class Variances:
    """The variance components of one score over the studies that differ only in the split of the data.

    splits: values of `data.split_seed`. first: the first of the studies.
    components: condition -> its components. seeds: condition -> the seeds that all splits have.
    refused: condition -> why it has no components; the key None stands for all conditions.
    """

    measure: Measure
    generation: int
    splits: list[Any]
    first: Study
    components: dict[Condition, list[Component]] = field(default_factory=dict)
    seeds: dict[Condition, list[int]] = field(default_factory=dict)
    refused: dict[Condition | None, str] = field(default_factory=dict)


def variances(study: Study, every: Iterable[Study]) -> list[Variances]:
    """Return the variance components in FID and in risk, if these were computed, at the last generation of all chains.

    Args:
        study: one of the studies.
        every: all available studies; those that differ from `study` only in `data.split_seed` are crossed with it.
    """
    splits = relatives(study, every, KEY)
    return [_variances(splits, m) for metric in METRICS if (m := study.total(metric)) is not None]


def _variances(splits: dict[Any, Study], measure: Measure) -> Variances:
    crossed = list(splits.values())
    found = Variances(measure, min(one.last_common for one in crossed), list(splits), crossed[0])
    if len(crossed) < FEWEST:
        reason = f"it needs {FEWEST} splits ({KEY}) of studies that differ in nothing else, and there {are(1)}"
        found.refused[None] = reason
        return found
    for condition in crossed[0].conditions:
        values = [one.values(condition, found.generation, measure) for one in crossed]
        seeds = sorted(set.intersection(*map(set, values)))
        if len(seeds) < FEWEST:
            found.refused[condition] = f"it needs {FEWEST} seeds that all splits have, and there {are(len(seeds))}"
            continue
        table = np.array([[by_seed[s] for s in seeds] for by_seed in values])
        found.components[condition] = crossed_components(table) + _of_images(crossed, condition, found, seeds)
        found.seeds[condition] = seeds
    return found


def _of_images(crossed: list[Study], condition: Condition, found: Variances, seeds: list[int]) -> list[Component]:
    """Return the scatter over the choice of images, or [] unless every chain has it (`metrics.num_resamples`).

    Args:
        crossed: the studies.
        condition: the condition whose chains are read.
        found: the generation and the measure to read.
        seeds: the seeds whose chains are read.
    """
    spreads = [
        score["image_sd"]
        for one in crossed
        for seed in seeds
        for row in one.chains[condition][seed].rows
        for score in row.scores
        if row.generation == found.generation
        and score["subject"] == "samples"
        and "image_sd" in score
        and measure_of(score) == found.measure
    ]
    if len(spreads) < len(crossed) * len(seeds):
        return []
    return [Component(IMAGES, float(np.sqrt(np.mean(np.square(spreads)))), None, None, None, None)]


def described(found: Variances) -> dict[str, Any]:
    """Return variance components ready for JSON."""
    return {
        "metric": found.measure.metric,
        "feature_space": found.measure.feature_space,
        "reference": found.measure.reference,
        "num_subject": found.measure.num_subject,
        "generation": found.generation,
        "split_seeds": found.splits,
        "refused": {condition.label if condition else "": why for condition, why in found.refused.items()},
        "not_identifiable": NOT_IDENTIFIABLE,
        "components": [
            {"condition": condition.label, "seeds": found.seeds[condition], **vars(component)}
            for condition, components in found.components.items()
            for component in components
        ],
    }
