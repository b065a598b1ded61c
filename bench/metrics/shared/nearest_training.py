"""Copying: are samples closer to the training set of their model than new real items are?

Needs the features of the training set of that generation, and of held-out items that no model has seen.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bench.errors import MetricError
from bench.metrics.shared.checks import canonical_order, check_features, check_pair
from bench.metrics.shared.neighbours import ROUNDING, Features, Points, nearest, own_distances, squared_norms


@dataclass(frozen=True)
class Copying:
    """The result of `copying_scores`, which defines the five scores. `num_compared` is the number of items in each of
    the two sets whose distances are compared."""

    nn_distance_training: float
    nn_distance_heldout: float
    closer_to_training: float
    authenticity: float
    near_copy_rate: float
    num_compared: int


def copying_scores(
    subject: Features,
    heldout: Features,
    training: np.ndarray,
    quantile: float = 0.01,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Copying:
    """Return five scores of copying.

    nn_distance_training, nn_distance_heldout: median distance of a sample to its nearest item in each set. Both sets
        are cut to min(T, M) items by a seeded draw, because distances shrink with the size of a set. Lower is nearer.
    closer_to_training: share of samples nearer to the training than to the held-out items (the comparison behind C_T of
        Meehan et al. 2020); ties count half. 0.5 if training items are no nearer than others, 1 for copies. Lower is
        better. Also rises if training and held-out items simply differ, e.g. for a training set of samples.
    authenticity: share of samples that lie further from their nearest training item than that item lies from its own
        nearest neighbour in the training set (Alaa et al. 2022, sec. 3.3). Higher is better. Blind to copies of items
        in dense regions; depends on T.
    near_copy_rate: share of samples nearer to the whole training set than all but a share `quantile` of the held-out
        items are; equals `quantile` if nothing is copied. Lower is better. A model of low quality scores well, and one
        whose samples crowd around the middle of each mode scores badly without copying: closer_to_training
        distinguishes the two.

    Args:
        subject: float (N, d) features of samples, or `Points` that are already checked.
        heldout: float (M, d) features of held-out real items, or `Points` that are already checked.
        training: float (T, d) features of the training set.
        quantile: See near_copy_rate.
        seed: Seed of the draw that cuts the larger set.
        device: Where to compute.

    Returns:
        The five scores and the number of items that distances were compared for.

    Raises:
        MetricError: The features are invalid or differ in d, or there are fewer than two training items.
    """
    if isinstance(subject, np.ndarray) and isinstance(heldout, np.ndarray):
        check_pair(subject, heldout, equal_n=False)
    check_features(training, "training")
    samples, new = Points.of(subject, device), Points.of(heldout, device)
    width = samples.features.shape[1]
    if training.shape[1] != width:
        raise MetricError(f"feature widths differ: subject {width}, training {training.shape[1]}")
    old = Points.of(training, samples.features.device)
    to_old, neighbour = (x[:, 0] for x in nearest(samples, old, 1))
    rng = np.random.default_rng(seed)
    size = min(len(old), len(new))

    def to_nearest(points: Points) -> torch.Tensor:
        """Return the squared distance of each sample to the nearest of `size` of these points."""
        chosen = np.sort(rng.permutation(len(points))[:size])
        if len(points) == size:
            return to_old if points is old else nearest(samples, points, 1)[0][:, 0]
        some = canonical_order(points.features.cpu().numpy())[chosen]
        return nearest(samples, Points.of(some, samples.features.device), 1)[0][:, 0]

    to_training, to_heldout = to_nearest(old), to_nearest(new)
    spacing = own_distances(old, 1)[:, 0]
    usual = np.quantile(nearest(new, old, 1)[0].sqrt().cpu().numpy(), quantile)
    centre = new.features.mean(dim=0, dtype=torch.float64)
    # Without the slack, a copy of one of two equal training items could count as authentic.
    slack = 2 * ROUNDING * squared_norms(samples.features, centre)
    return Copying(
        nn_distance_training=_median(to_training.sqrt()),
        nn_distance_heldout=_median(to_heldout.sqrt()),
        closer_to_training=_share(to_training < to_heldout) + 0.5 * _share(to_training == to_heldout),
        authenticity=_share(to_old > spacing[neighbour] + slack),
        near_copy_rate=_share(to_old.sqrt() < usual),
        num_compared=size,
    )


def _share(true: torch.Tensor) -> float:
    return float(true.double().mean())


def _median(values: torch.Tensor) -> float:
    return float(np.median(values.cpu().numpy()))
