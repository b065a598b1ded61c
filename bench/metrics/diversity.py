"""How varied one set of features is, without a reference."""

import numpy as np
import torch
from scipy.special import digamma, gammaln
from torch.nn import functional as F

from bench.errors import MetricError
from bench.metrics.checks import check_features, check_k
from bench.metrics.neighbours import BLOCK, ROUNDING, nearest, squared_norms


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


def entropy_estimate(features: np.ndarray, k: int, device: str | torch.device = "cpu") -> float:
    """Differential entropy in nats per feature, after Kozachenko & Leonenko (1987), with k neighbours:
    [ψ(N) - ψ(k) + log V_d + (d / N) Σ log r_k(i)] / d, where V_d is the volume of the unit ball.

    The "entropy of the data" that falls as a self-consuming chain memorises (Shi et al. 2025). Higher is more varied.
    Divided by d because in a feature space only differences between generations mean something: images fill far fewer
    than d dimensions. A pair of twins has r = 0 and entropy minus infinity; such radii are raised to the
    rounding of the distances, so exact copies weigh heavily and finitely. Blind to quality.
    """
    check_features(features, "entropy")
    n, dimension = features.shape
    check_k(k, n)
    centre = features.mean(axis=0, dtype=np.float64)
    squared = nearest(features, features, k + 1, centre, device)[0][:, k]
    smallest = ROUNDING * max(float(squared_norms(features, centre).mean()), np.finfo(np.float64).tiny)
    mean_log_radius = 0.5 * np.log(np.maximum(squared, smallest)).mean()
    log_volume = dimension / 2 * np.log(np.pi) - gammaln(dimension / 2 + 1)
    return float((digamma(n) - digamma(k) + log_volume) / dimension + mean_log_radius)


def near_duplicate_rate(
    features: np.ndarray, reference: np.ndarray, quantile: float = 0.01, device: str | torch.device = "cpu"
) -> float:
    """Share of images whose nearest other image of the same set is closer than is usual: closer than all but a share
    `quantile` of the reference's images are to theirs. How many pictures are repeats, data as entropy.

    Lower is better; `quantile` is what real images score themselves. Needs equal N: neighbours get closer with N. Blind
    to quality, and to repeats that a feature space tells apart.
    """
    check_features(features, "subject")
    check_features(reference, "reference")
    if len(features) != len(reference):
        raise MetricError(f"near_duplicate_rate needs equal N: {len(features)} and {len(reference)}")
    own, usual = _to_nearest_other(features, device), _to_nearest_other(reference, device)
    return float((own < np.quantile(usual, quantile)).mean())


def _to_nearest_other(features: np.ndarray, device: str | torch.device) -> np.ndarray:
    return np.sqrt(nearest(features, features, 2, features.mean(axis=0, dtype=np.float64), device)[0][:, 1])
