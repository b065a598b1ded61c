"""Divergence frontiers of two quantised distributions (Pillutla et al. 2021)."""

import numpy as np
from scipy.special import rel_entr

VARIANCE_KEPT = 0.9
"""Share of the variance that the principal components for the clustering keep, for features of unit length (appendix of
the paper)."""
NUM_STARTS, MOST_STEPS = 5, 500
NUM_MIXTURES = 25


def cluster_shares(subject: np.ndarray, reference: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each side in each of at most k clusters of both sides together, float64 (k,) each.

    Args:
        subject: float (N, d). The order of the rows has no influence.
        reference: float (M, d). The order of the rows has no influence.
        k: Number of clusters.
    """
    from sklearn.cluster import KMeans

    from bench.metrics.shared.checks import canonical_order

    sides = [canonical_order(side).astype(np.float64) for side in (subject, reference)]
    both = np.concatenate(sides)
    lengths = np.linalg.norm(both, axis=1, keepdims=True)
    both = both / np.where(lengths > 0, lengths, 1)
    both -= both.mean(axis=0)
    _, singular, axes = np.linalg.svd(both, full_matrices=False)
    kept = np.cumsum(singular**2) / max(np.sum(singular**2), np.finfo(float).tiny)
    reduced = both @ axes[: int(np.searchsorted(kept, VARIANCE_KEPT)) + 1].T
    k = min(k, len(np.unique(reduced, axis=0)))
    labels = KMeans(k, n_init=NUM_STARTS, max_iter=MOST_STEPS, random_state=0).fit(reduced).labels_
    counts = [np.bincount(part, minlength=k) for part in np.split(labels, [len(sides[0])])]
    return counts[0] / len(sides[0]), counts[1] / len(sides[1])


def mauve(q: np.ndarray, p: np.ndarray, scale: float) -> float:
    """Return the area under the curve of exp(−c KL(q ‖ r)) and exp(−c KL(p ‖ r)) over the mixtures r of q and p (eq. 1
    and 2), by the trapezoidal rule.

    Args:
        q: Shares of one side in the clusters, float64 (k,).
        p: Shares of the other side, float64 (k,).
        scale: The factor c.
    """
    weights = np.linspace(1e-6, 1 - 1e-6, NUM_MIXTURES)[:, None]
    mixtures = weights * p + (1 - weights) * q
    x, y = (np.exp(-scale * rel_entr(side, mixtures).sum(axis=1)) for side in (q, p))
    x, y = np.concatenate([[1], x, [0]]), np.concatenate([[0], y, [1]])
    return float(np.trapezoid(y[::-1], x[::-1]))
