"""Precision, recall, density and coverage: does one set of features lie on the k-NN manifold of the other?

The manifold of a set is the union of balls around its points, each reaching to that point's k-th nearest
neighbour in the set. All neighbours are exact (`neighbours`). A point on the rim of a ball is inside,
as in torch-fidelity (prdc excludes it); rounding is allowed for, so identical sets score 1.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.metrics.checks import check_k, check_pair
from bench.metrics.neighbours import ROUNDING, distances_beside, own_distances, true_entries
from bench.metrics.points import Features, paired
from bench.metrics.screening import BLOCK, Screen, levels_for, slices


@dataclass(frozen=True)
class Manifold:
    """Precision, recall and coverage lie in [0, 1]; density is at least 0. Higher is better for all four."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(subject: Features, reference: Features, k: int, device: str | torch.device = "cpu") -> Manifold:
    """All four scores of float (N, d) features against float (M, d), given as arrays or, checked before, as `Points`.

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
    if isinstance(subject, np.ndarray) and isinstance(reference, np.ndarray):
        check_pair(subject, reference, equal_n=False)
    check_k(k, min(len(subject), len(reference)))
    x, y = paired(subject, reference, device)
    device = x.features.device
    subject_radii, reference_radii = own_distances(x, k)[:, k - 1], own_distances(y, k)[:, k - 1]

    balls_around = torch.zeros(len(x), dtype=torch.int64, device=device)
    on_manifold = torch.zeros(len(y), dtype=torch.bool, device=device)
    covered = torch.zeros(len(y), dtype=torch.bool, device=device)
    screens = [functools.cache(functools.partial(Screen, x, y, level)) for level in levels_for(x, y)]
    for rows in slices(len(x)):
        first = 0
        for columns in slices(len(y)):
            i, j, in_subject_ball, in_reference_ball, first = _memberships(
                screens, first, rows, columns, subject_radii[rows, None], reference_radii[columns]
            )
            balls_around.index_add_(0, i, in_reference_ball.long())
            covered[j[in_reference_ball]] = True
            on_manifold[j[in_subject_ball]] = True
    return Manifold(
        precision=float((balls_around > 0).double().mean()),
        recall=float(on_manifold.double().mean()),
        density=float(balls_around.double().mean() / k),
        coverage=float(covered.double().mean()),
    )


MAX_OPEN = BLOCK * BLOCK // 100
"""Pairs of a block left open by a level: beyond this the next level is cheaper than computing each of them."""


def _memberships(
    screens: Sequence[Callable[[], Screen]], first: int, rows: slice, columns: slice, x_radii: Tensor, y_radii: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """Pairs that lie in each other's balls, int64 (p,) positions i in x and j in y, and for each pair whether y_j lies
    in the ball of x_i, and x_i in that of y_j; then which screen has sufficed, for the block beside to begin with.
    screens: roughest first; those before `first` are left out. x_radii: float64 (n, 1), y_radii: float64 (m,),
    squared."""
    for which in range(first, len(screens)):
        screen = screens[which]()
        lower = screen.lower(rows, columns)
        a, b = (radii.to(lower.dtype).nextafter(lower.new_tensor(torch.inf)) for radii in (x_radii, y_radii))
        i, j = true_entries(lower <= torch.maximum(a, b))
        lower = lower[i, j].double()
        a, b = x_radii[i, 0], y_radii[j]
        i, j = i + rows.start, j + columns.start
        upper = lower + screen.x_slack[i] + screen.y_slack[j]
        unsure = ((lower <= a) & (upper > a)) | ((lower <= b) & (upper > b))
        if int(unsure.sum()) <= MAX_OPEN:
            near = (i[unsure], screen.y, j[unsure], a[unsure] / (1 - ROUNDING), b[unsure] / (1 - ROUNDING))
            upper[unsure] = distances_beside(screen.x, *near) * (1 - ROUNDING)
            break
        if which == len(screens) - 1:  # thousands of twins: rounding decides in their favour
            upper = lower
    return i, j, upper <= a, upper <= b, which
