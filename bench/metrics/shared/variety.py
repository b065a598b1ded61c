"""How varied one set of features is, without a reference."""

import numpy as np
import torch
from torch.nn import functional as F

from bench.errors import MetricError
from bench.metrics.shared.checks import check_features, check_k
from bench.metrics.shared.neighbours import ROUNDING, Features, Points, own_distances, squared_norms

BLOCK = 1024
"""Images whose features are held in float64 at a time."""


def vendi_score(features: np.ndarray, device: str | torch.device = "cpu") -> float:
    """The effective number of different images: exp(-Σ λ log λ) over the eigenvalues λ of K / N, with the cosine
    similarities K of the features (Friedman & Dieng 2023, def. 2.1).

    Between 1 (all alike) and N (all orthogonal); higher is more varied. Depends on N. Blind to quality: noise is
    varied. Feature maps after a ReLU are all alike to some degree, so values are far below N: compare, do not read.
    """
    check_features(features, "vendi")
    n, dimension = features.shape
    if (np.abs(features).max(axis=1) == 0).any():
        raise MetricError("vendi: a feature vector of zeros has no direction, the cosine kernel is undefined")
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
    return F.normalize(torch.from_numpy(features.astype(np.float64)).to(device), dim=1)


def entropy_estimate(features: Features, k: int, device: str | torch.device = "cpu") -> float:
    """Differential entropy in nats per feature, after Kozachenko & Leonenko (1987), with k neighbours:
    [ψ(N) - ψ(k) + log V_d + (d / N) Σ log r_k(i)] / d, where V_d is the volume of the unit ball.

    The "entropy of the data" that falls as a self-consuming chain memorises (Shi et al. 2025). Higher is more varied.
    Divided by d because in a feature space only differences between generations mean something: images fill far fewer
    than d dimensions. A pair of twins has r = 0 and entropy minus infinity; such radii are raised to the
    rounding of the distances, so exact copies weigh heavily and finitely. Blind to quality.
    """
    points = _points(features, "entropy", device)
    n, dimension = points.features.shape
    check_k(k, n)
    squared = own_distances(points, k)[:, k - 1]
    spread = squared_norms(points.features, points.features.mean(dim=0, dtype=torch.float64)).mean()
    smallest = ROUNDING * max(float(spread), torch.finfo(torch.float64).tiny)
    mean_log_radius = float(0.5 * squared.clamp(min=smallest).log().mean())
    from scipy.special import digamma, gammaln  # only now: a quarter of a second

    log_volume = dimension / 2 * np.log(np.pi) - gammaln(dimension / 2 + 1)
    return float((digamma(n) - digamma(k) + log_volume) / dimension + mean_log_radius)


def near_duplicate_rate(
    features: Features, reference: Features, quantile: float = 0.01, device: str | torch.device = "cpu"
) -> float:
    """Share of images whose nearest other image of the same set is closer than is usual: closer than all but a share
    `quantile` of the reference's images are to theirs. How many pictures are repeats, data as entropy.

    Lower is better; `quantile` is what real images score themselves. Needs equal N: neighbours get closer with N. Blind
    to quality, and to repeats that a feature space tells apart.
    """
    own, usual = (_points(x, what, device) for x, what in ((features, "subject"), (reference, "reference")))
    if len(own) != len(usual):
        raise MetricError(f"near_duplicate_rate needs equal N: {len(own)} and {len(usual)}")
    to_other, to_other_usually = (own_distances(points, 1)[:, 0].sqrt() for points in (own, usual))
    return float((to_other < np.quantile(to_other_usually.cpu().numpy(), quantile)).double().mean())


def _points(features: Features, what: str, device: str | torch.device) -> Points:
    """Return features as `Points`; arrays are checked."""
    if isinstance(features, np.ndarray):
        check_features(features, what)
    return Points.of(features, device)
