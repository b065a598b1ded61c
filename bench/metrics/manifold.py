"""Precision, recall, density and coverage: does one set of features lie on the k-NN manifold of the other?

The manifold of a set is the union of balls around its points, each reaching to that point's k-th nearest
neighbour in the set. All neighbours are exact, found block by block. A point on the rim of a ball is inside,
as in torch-fidelity (prdc excludes it); rounding is allowed for, so identical sets score 1.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bench.metrics.checks import check_k, check_pair
from bench.metrics.neighbours import blocks, squared_distances, squared_radii


@dataclass(frozen=True)
class Manifold:
    """Precision, recall and coverage lie in [0, 1]; density is at least 0. Higher is better for all four."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(subject: np.ndarray, reference: np.ndarray, k: int, device: str | torch.device = "cpu") -> Manifold:
    """All four scores of float (N, d) features against float (M, d).

    precision: share of the subject inside the reference's manifold (Kynkäänniemi et al. 2019, eq. 1-2):
        quality. Blind to how often each mode is hit; one outlier of the reference makes a huge ball that
        lets anything in.
    recall: share of the reference inside the subject's manifold (same): variety. Blind to frequency; one
        outlier of the subject can inflate it.
    density: mean number of reference balls around a subject point, over k (Naeem et al. 2020, eq. 5):
        quality, not swayed by one outlier. May exceed 1: it rises when samples crowd where the reference is
        dense. Blind to variety.
    coverage: share of reference points whose own ball holds a subject point (same, eq. 6): variety, not
        swayed by outliers. Blind to whatever the subject puts off the reference's manifold, and to a loss of variety
        within modes: samples in the middle of a mode cover it.

    Raises `MetricError` for NaN or constant features, different widths, or k >= N on either side.
    """
    check_pair(subject, reference, equal_n=False)
    check_k(k, min(len(subject), len(reference)))
    centre = reference.mean(axis=0, dtype=np.float64)
    subject_radii = squared_radii(subject, k, centre, device)
    reference_radii = squared_radii(reference, k, centre, device)

    balls_around = torch.zeros(len(subject), dtype=torch.int64, device=device)
    on_manifold = torch.zeros(len(reference), dtype=torch.bool, device=device)
    covered = torch.zeros(len(reference), dtype=torch.bool, device=device)
    for rows, x in blocks(subject, centre, device):
        for columns, y in blocks(reference, centre, device):
            squared, slack = squared_distances(x, y)
            squared -= slack
            in_reference_ball = squared <= reference_radii[columns]
            balls_around[rows] += in_reference_ball.sum(dim=1)
            covered[columns] |= in_reference_ball.any(dim=0)
            on_manifold[columns] |= (squared <= subject_radii[rows, None]).any(dim=0)
    return Manifold(
        precision=float((balls_around > 0).double().mean()),
        recall=float(on_manifold.double().mean()),
        density=float(balls_around.double().mean() / k),
        coverage=float(covered.double().mean()),
    )
