"""Frechet distance between two sets of features, each seen as one Gaussian (Heusel et al. 2017)."""

from dataclasses import dataclass

import numpy as np
import torch

from bench.metrics.checks import check_features, check_pair


@dataclass(frozen=True, eq=False)
class Statistics:
    """What the Frechet distance needs of one set; compute it once for a reference that is used again.

    mean: float64 (d,). factor: float64 (m, d) with m = min(n, d) and covariance = factorᵀ factor. n: number
    of images.
    """

    mean: np.ndarray
    factor: np.ndarray
    n: int

    @property
    def covariance(self) -> np.ndarray:
        """float64 (d, d), with n - 1 in the denominator."""
        return self.factor.T @ self.factor

    @staticmethod
    def of(features: np.ndarray) -> "Statistics":
        """From float (n, d). Raises `MetricError` for NaN, constant or fewer than two rows."""
        check_features(features, "frechet")
        n, dimension = features.shape
        mean = features.mean(axis=0, dtype=np.float64)
        if n <= dimension:
            return Statistics(mean, (features - mean) / np.sqrt(n - 1), n)
        covariance = np.zeros((dimension, dimension))
        for start in range(0, n, 4096):  # in blocks: 50 000 x 2048 in float64 would be 800 MB
            centred = features[start : start + 4096] - mean
            covariance += centred.T @ centred
        return Statistics.from_moments(mean, covariance / (n - 1), n)

    @staticmethod
    def from_moments(mean: np.ndarray, covariance: np.ndarray, n: int) -> "Statistics":
        values, vectors = torch.linalg.eigh(torch.from_numpy(covariance))
        factor = values.clamp(min=0).sqrt()[:, None] * vectors.T
        return Statistics(mean, factor.numpy(), n)


def frechet_distance(subject: np.ndarray | Statistics, reference: np.ndarray | Statistics) -> float:
    """|m1 - m2|² + tr S1 + tr S2 - 2 tr (S1 S2)^½ in float64 (Dowson & Landau 1982; FID: Heusel et al. 2017,
    eq. 6).

    With S = FᵀF the last trace is the sum of the singular values of F1 F2ᵀ: exact for singular covariances
    too, and a problem of size min(n, d). Lower is better; 0 for equal mean and covariance. Biased upwards for
    finite N, so compare at equal N only. Blind to everything beyond the first two moments, and to whether
    images are copies.
    """
    a = subject if isinstance(subject, Statistics) else Statistics.of(subject)
    b = reference if isinstance(reference, Statistics) else Statistics.of(reference)
    if isinstance(subject, np.ndarray) and isinstance(reference, np.ndarray):
        check_pair(subject, reference, equal_n=False)
    means = float(((a.mean - b.mean) ** 2).sum())
    traces = float((a.factor**2).sum() + (b.factor**2).sum())
    product = torch.from_numpy(a.factor) @ torch.from_numpy(b.factor).T
    cross = float(torch.linalg.svdvals(product).sum())
    return max(means + traces - 2 * cross, 0.0)
