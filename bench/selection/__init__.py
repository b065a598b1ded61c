"""Selection: choose which n of m samples become the pool of a generation. One file per rule; `none` keeps all samples.

A rule offers `Config` (a `SelectionConfig` with `num_candidates`, which is m), `VERSION`, `CITATION` and
`keep(candidates, **parameters)`, which returns the rows to keep, int64 (n,). n and m are fixed before the chain starts,
so that the chain can be planned. A rule whose module states `NEEDS = ("features",)` receives features. A rule may
offer `check(config, label_names)` to refuse data without the labels that it needs. A user-defined rule is one function:
`selection=custom selection.function=my_module:keep`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench import registry
from bench.config import SelectionConfig
from bench.errors import ConfigError, DataError
from bench.pool import Pool
from bench.registry import Rule


class Classifier(Protocol):
    """Multinomial logistic regression on features."""

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the log probability of every class, float64 (n, C), for features, float (n, d)."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features in the space of the scores, float32 (…, d) each.

    Attributes:
        of_candidates: Features of the m samples.
        of_real: Features of the N items of the real pool.
        labels: Attribute -> the class of every real item, int64 (N,), −1 for items without a label.
        label_names: Attribute -> the names of its classes.
        fit: Fits a classifier: (features (n, d), classes int (n,), number of classes) -> classifier.
    """

    of_candidates: np.ndarray
    of_real: np.ndarray
    labels: Mapping[str, np.ndarray]
    label_names: Mapping[str, list[str]]
    fit: Callable[[np.ndarray, np.ndarray, int], Classifier]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The input of a rule.

    Attributes:
        pool: The m samples.
        num_kept: The number n of samples to keep.
        real: The real pool that the chain may train on.
        rng: The generator for everything that the rule draws.
        features: Features, if the rule's module states `NEEDS = ("features",)`, otherwise None.
    """

    pool: Pool
    num_kept: int
    real: Pool
    rng: np.random.Generator
    features: Features | None = None


def needs(rule: Rule | None) -> tuple[str, ...]:
    """Return what a rule needs in addition to the samples and the real pool; () without a rule."""
    return registry.needs(rule, "selection")


def check(config: SelectionConfig, label_names: Mapping[str, list[str]]) -> None:
    """Raise `ConfigError` if a rule does not fit the real items' labels. label_names: attribute -> class names."""
    if config.name not in (registry.NONE, registry.CUSTOM):
        module = registry.load("bench.selection", config.name, "selection.name")
        if hasattr(module, "check"):
            module.check(config, label_names)


def resolve(config: SelectionConfig, num_kept: int) -> Rule | None:
    """Return the rule that `config` names; None for `none`.

    Raises `ConfigError` if there is no such function, it does not take these parameters, or fewer candidates are drawn
    than kept.
    """
    if config.name == registry.NONE:
        return None
    num = num_candidates(config, num_kept)
    if num < num_kept:
        raise ConfigError("selection.num_candidates", num, f"must be at least {num_kept}, the number that are kept")
    return registry.rule("selection", config, "keep", not_parameters=("num_candidates",))


def num_candidates(config: SelectionConfig, num_kept: int) -> int:
    """Return how many samples are drawn so that `num_kept` can be kept: m, or `num_kept` without a rule."""
    return getattr(config, "num_candidates", num_kept)


def keep(rule: Rule, candidates: Candidates) -> np.ndarray:
    """Return the rows that a rule keeps, int64 (n,), sorted. Raises `DataError` if the rule returns anything other than
    n different rows of the candidates."""
    rows = np.sort(np.asarray(rule(candidates)))
    if rows.shape != (candidates.num_kept,) or not np.issubdtype(rows.dtype, np.integer):
        raise DataError(
            f"selection {rule.name} returned {rows.dtype} {rows.shape}, expected {candidates.num_kept} row numbers"
        )
    if len(np.unique(rows)) < len(rows) or rows[0] < 0 or rows[-1] >= len(candidates.pool):
        raise DataError(f"selection {rule.name} returned rows twice or outside [0, {len(candidates.pool)})")
    return rows.astype(np.int64)
