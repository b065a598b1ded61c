"""Measure the variety of a set of features."""

import numpy as np
import torch
from torch.nn import functional as F

from bench.errors import MetricError
from bench.metrics.shared.checks import check_features, check_k
from bench.metrics.shared.neighbours import ROUNDING, Features, Points, own_distances, squared_norms

BLOCK = 1024
"""Number of rows that are held in float64 at a time."""


def vendi_score(features: np.ndarray, device: str | torch.device = "cpu") -> float:
    """Return the effective number of different items: exp(-Σ λ log λ) over the eigenvalues λ of K / N, with the cosine
    similarities K of the float (N, d) features (Friedman & Dieng 2023, def. 2.1).

    The score lies between 1 (all equal) and N (all orthogonal). Higher is more varied, which is not better: noise is
    more varied than real items. The score depends on N. Features after a ReLU all have positive similarity, so values
    are far below N and are meaningful only in comparison. Zero vectors, such as black pictures in the space of pixels,
    count as equal to each other and orthogonal to all others.
    """
    check_features(features, "vendi")
    is_zero = ~features.any(axis=1)
    if is_zero.any():
        features = np.column_stack([features, is_zero.astype(features.dtype)])
    n, dimension = features.shape
    if n <= dimension:
        rows = _directions(features, device)
        gram = rows @ rows.T
    else:
        gram = torch.zeros(dimension, dimension, dtype=torch.float64, device=device)
        for start in range(0, n, BLOCK):
            rows = _directions(features[start : start + BLOCK], device)
            gram.addmm_(rows.T, rows)
    values = torch.linalg.eigvalsh(gram / n)
    values = values[values > 0]
    return float(torch.exp(-(values * values.log()).sum()))


def _directions(features: np.ndarray, device: str | torch.device) -> torch.Tensor:
    """Return the features scaled to norm 1, float64 (n, d)."""
    return F.normalize(torch.from_numpy(features.astype(np.float64)).to(device), dim=1)


def entropy_estimate(features: Features, k: int, device: str | torch.device = "cpu") -> float:
    """Return the differential entropy in nats per feature, estimated from k neighbours (Kozachenko & Leonenko 1987):
    [ψ(N) - ψ(k) + log V_d + (d / N) Σ log r_k(i)] / d, where V_d is the volume of the unit ball and r_k(i) the distance
    of item i to its k-th nearest other.

    This is the "entropy of the data" that falls as a self-consuming chain memorises (Shi et al. 2025). Higher is more
    varied. It is divided by d because only differences between generations are meaningful: items fill far fewer than d
    dimensions. Equal items have r = 0 and would make the entropy minus infinity. Such radii are raised to the rounding
    error of the distances, so that exact copies have a large but finite weight. If all items are equal, the radii are
    raised to the smallest positive number, so that the entropy is below that of any other set. Blind to quality.
    """
    points = _points(features, "entropy", device)
    n, dimension = points.features.shape
    check_k(k, n)
    squared = own_distances(points, k)[:, k - 1]
    spread = squared_norms(points.features, points.features.mean(dim=0, dtype=torch.float64)).mean()
    smallest = max(ROUNDING * float(spread), torch.finfo(torch.float64).tiny)
    mean_log_radius = float(0.5 * squared.clamp(min=smallest).log().mean())
    from scipy.special import digamma, gammaln  # here, because the import takes a quarter of a second

    log_volume = dimension / 2 * np.log(np.pi) - gammaln(dimension / 2 + 1)
    return float((digamma(n) - digamma(k) + log_volume) / dimension + mean_log_radius)


def near_duplicate_rate(
    features: Features, reference: Features, quantile: float = 0.01, device: str | torch.device = "cpu"
) -> float:
    """Return the share of items whose nearest other item of the set is unusually close: closer than for all but a share
    `quantile` of the items of the reference.

    Lower is better; real items score `quantile`. Needs equal N, because neighbours get closer as N grows. Blind to
    quality, and to repeats that differ in the feature space.

    Args:
        features: float (N, d) features, or `Points` that are already checked.
        reference: float (N, d) features of real items, or `Points` that are already checked.
        quantile: Share of the items of the reference that count as unusually close.
        device: The device to compute on.

    Returns:
        A share in [0, 1].

    Raises:
        MetricError: The features are invalid, or the sets differ in N.
    """
    own, usual = (_points(x, what, device) for x, what in ((features, "subject"), (reference, "reference")))
    if len(own) != len(usual):
        raise MetricError(f"near_duplicate_rate needs equal N: {len(own)} and {len(usual)}")
    to_other, to_other_usually = (own_distances(points, 1)[:, 0].sqrt() for points in (own, usual))
    return float((to_other < np.quantile(to_other_usually.cpu().numpy(), quantile)).double().mean())


def _points(features: Features, what: str, device: str | torch.device) -> Points:
    """Return features as `Points`, after checking arrays. `what` names the features in the message of a
    `MetricError`."""
    if isinstance(features, np.ndarray):
        check_features(features, what)
    return Points.of(features, device)
