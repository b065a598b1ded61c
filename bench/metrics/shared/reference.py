"""Statistics of the reference alone, computed once for all subjects."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from bench.metrics.shared.checks import check_features, check_k, check_varied
from bench.metrics.shared.frechet_distance import Statistics
from bench.metrics.shared.neighbours import Points, own_distances

VERSION = 4
"""Must be raised by any change that alters these statistics."""


@dataclass(frozen=True, eq=False)
class ReferenceStatistics:
    """The statistics of a reference of M items.

    Attributes:
        moments: The moments for the Fréchet distance.
        own_distances: float64 (M, k), squared distances of each item to its k nearest other items.
    """

    moments: Statistics
    own_distances: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays to store, from which `of` restores the statistics."""
        return {"mean": self.moments.mean, "moment": self.moments.moment, "own_distances": self.own_distances}

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray], n: int) -> "ReferenceStatistics":
        """Return the statistics of n items from stored arrays."""
        return ReferenceStatistics(Statistics(arrays["mean"], n, arrays["moment"]), arrays["own_distances"])


def reference_statistics(features: np.ndarray, k: int, device: str | torch.device = "cpu") -> ReferenceStatistics:
    """Return the statistics of a reference with features float (M, d). Raises `MetricError` for features that
    `bench.metrics.score` rejects, and for constant ones."""
    check_features(features, "reference")
    check_varied(features, "reference")
    check_k(k, len(features))
    distances = own_distances(Points.of(features, device), k)
    return ReferenceStatistics(Statistics.of(features, device), distances.cpu().numpy())
