"""Precision, recall, density and coverage: does one set of features lie on the k-NN manifold of the other?

The manifold of a set is the union of balls around its points. The radius of each ball is the distance of its point to
the k-th nearest neighbour in the set. All neighbours are exact (`neighbours`). A point on the boundary of a ball is
inside, as in torch-fidelity (prdc excludes it), up to a tolerance for rounding, so identical sets score 1. Equal points
have balls of radius 0, which contain exactly the points equal to them.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bench.metrics.shared.checks import check_k, check_pair
from bench.metrics.shared.neighbours import ROUNDING, Bounds, Features, Points, own_distances, pair_distances


@dataclass(frozen=True)
class Manifold:
    """Precision, recall and coverage lie in [0, 1]; density is at least 0. Higher is better for all four."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(subject: Features, reference: Features, k: int, device: str | torch.device = "cpu") -> Manifold:
    """Return the four scores of a subject against a reference.

    precision: share of the subject inside the reference's manifold (Kynkäänniemi et al. 2019, eq. 1-2); measures
        quality. Blind to the frequency of modes; one outlier of the reference has a huge ball that contains almost
        anything.
    recall: share of the reference inside the subject's manifold (same paper); measures variety. Blind to frequency; one
        outlier of the subject can inflate it.
    density: mean number of reference balls around a subject point, divided by k (Naeem et al. 2020, eq. 5); measures
        quality, robust to one outlier. May exceed 1: it rises if samples crowd where the reference is dense. Blind to
        variety.
    coverage: share of reference points whose ball contains a subject point (same paper, eq. 6); measures variety,
        robust to outliers. Blind to samples off the reference's manifold, and to a loss of variety within modes:
        samples in the middle of a mode cover it.

    Args:
        subject: float (N, d) features, or `Points` that are already checked.
        reference: float (M, d) features, or `Points` that are already checked.
        k: Rank of the neighbour whose distance is the radius of a ball.
        device: The device to compute on.

    Returns:
        The four scores.

    Raises:
        MetricError: Features are NaN or differ in d, or k >= N on either side.
    """
    if isinstance(subject, np.ndarray) and isinstance(reference, np.ndarray):
        check_pair(subject, reference, equal_n=False)
    check_k(k, min(len(subject), len(reference)))
    x, y = Points.of(subject, device), Points.of(reference, device)
    bounds = Bounds(x.features, y.features)
    x_radii, y_radii = (own_distances(z, k)[:, k - 1] * bounds.scale**2 for z in (x, y))
    balls_around = torch.zeros(len(x), dtype=torch.int64, device=x_radii.device)
    on_manifold, covered = (torch.zeros(len(y), dtype=torch.bool, device=x_radii.device) for _ in range(2))
    for rows in bounds.blocks():
        lower = bounds.lower(rows)
        i, j = (lower <= torch.maximum(x_radii[rows, None].float(), y_radii.float())).nonzero(as_tuple=True)
        lower, i = lower[i, j].double(), i + rows.start
        a, b = x_radii[i], y_radii[j]
        distances = lower + bounds.x_slack[i] + bounds.y_slack[j]  # the upper bound, which decides most pairs
        undecided = ((lower <= a) & (distances > a)) | ((lower <= b) & (distances > b))
        exact = pair_distances(x.features, i[undecided], y.features, j[undecided])
        distances[undecided] = exact * bounds.scale**2 * (1 - ROUNDING)
        balls_around.index_add_(0, i, (distances <= b).long())
        covered[j[distances <= b]] = True
        on_manifold[j[distances <= a]] = True
    return Manifold(
        precision=float((balls_around > 0).double().mean()),
        recall=float(on_manifold.double().mean()),
        density=float(balls_around.double().mean() / k),
        coverage=float(covered.double().mean()),
    )
