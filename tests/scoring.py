"""Scores of two sets of features with the arguments that tests vary."""

from collections.abc import Collection
from typing import Any

import numpy as np

from bench import metrics
from bench.config import MetricsConfig
from bench.metrics import same_size, score_spec, shuffled
from bench.metrics.shared import reference as statistics
from bench.metrics.shared.classifier import Attribute, fit_attributes
from bench.metrics.shared.nearest_training import Copying, copying_scores, equal_sides
from bench.metrics.shared.reference import ReferenceStatistics

__all__ = [
    "Attribute",
    "ReferenceStatistics",
    "copying",
    "fit_attributes",
    "reference_statistics",
    "same_size",
    "score",
    "score_spec",
    "score_with_controls",
    "shuffled",
]


def score(
    a: np.ndarray, b: np.ndarray, config: MetricsConfig, /, families: Collection[str] | None = None, **given: Any
) -> list[dict[str, Any]]:
    """The rows of a against b, of some families by name."""
    only = None if families is None else lambda family: family.name in families
    return metrics.score((a, b), config, only=only, **given)


def score_with_controls(a: np.ndarray, b: np.ndarray, config: MetricsConfig, floor: list, /, **given: Any) -> list:
    return metrics.score_with_controls((a, b), config, floor, **given)


def copying(
    subject: np.ndarray, heldout: np.ndarray, training: np.ndarray, quantile: float = 0.01, seed: int = 0
) -> Copying:
    """Scores of copying where held-out items are also the unseen twin of the training items."""
    return copying_scores(subject, heldout, training, quantile, seed, twin=equal_sides(training, heldout, seed))


def reference_statistics(features: np.ndarray, config: MetricsConfig, device: str = "cpu") -> ReferenceStatistics:
    return statistics.reference_statistics(features, config.k, device)
