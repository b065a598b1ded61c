"""Copying: are samples closer to the images their model was trained on than new real images would be?

Needs the features of that generation's own training set, beside held-out images that no model has seen.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bench.errors import MetricError
from bench.metrics.checks import canonical_order, check_features, check_pair
from bench.metrics.neighbours import ROUNDING, nearest, squared_norms


@dataclass(frozen=True)
class Copying:
    """See `copying_scores`. num_compared: images on each side of the comparison of distances."""

    nn_distance_training: float
    nn_distance_heldout: float
    closer_to_training: float
    authenticity: float
    near_copy_rate: float
    num_compared: int


def copying_scores(
    subject: np.ndarray,
    heldout: np.ndarray,
    training: np.ndarray,
    quantile: float = 0.01,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Copying:
    """Five scores of float (N, d) samples against float (M, d) held-out and float (T, d) training features.

    nn_distance_training, nn_distance_heldout: median distance of a sample to its nearest image in each set, both
        cut to min(T, M) images by a seeded draw, as distances shrink with the size of a set. Lower is nearer.
    closer_to_training: share of samples nearer to the first than to the second (the comparison behind C_T of Meehan
        et al. 2020), ties counting half. 0.5 when the training images are as good as any other; 1: copies. Lower is
        better. Also rises when training and held-out images simply differ, e.g. a training set of samples.
    authenticity: share of samples that lie further from their nearest training image than that image lies from its
        own nearest neighbour in the training set (Alaa et al. 2022, sec. 3.3). Higher is better. Blind to copies of
        images in dense regions; depends on T.
    near_copy_rate: share of samples nearer to the whole training set than all but a share `quantile` of held-out
        images are. `quantile` when nothing is copied. Lower is better. A model of low quality scores well, one
        whose samples crowd around the middle of each mode scores badly without copying: closer_to_training tells
        the two apart.

    Raises `MetricError` for unsound features, different widths, or fewer than two training images.
    """
    check_pair(subject, heldout, equal_n=False)
    check_features(training, "training")
    if training.shape[1] != subject.shape[1]:
        raise MetricError(f"feature widths differ: subject {subject.shape[1]}, training {training.shape[1]}")
    rng = np.random.default_rng(seed)
    size = min(len(training), len(heldout))
    centre = heldout.mean(axis=0, dtype=np.float64)

    def to_nearest(queries: np.ndarray, points: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        squared, indices = nearest(queries, points, k, centre, device)
        return np.sqrt(squared[:, k - 1]), indices[:, 0]

    own = to_nearest(subject, canonical_order(training)[np.sort(rng.permutation(len(training))[:size])])[0]
    new = to_nearest(subject, canonical_order(heldout)[np.sort(rng.permutation(len(heldout))[:size])])[0]
    distance, neighbour = to_nearest(subject, training)
    spacing = to_nearest(training, training, k=2)[0]
    usual = np.quantile(to_nearest(heldout, training)[0], quantile)
    slack = 2 * ROUNDING * squared_norms(subject, centre)  # a copy of one of two twins is no new image
    return Copying(
        nn_distance_training=float(np.median(own)),
        nn_distance_heldout=float(np.median(new)),
        closer_to_training=float((own < new).mean() + 0.5 * (own == new).mean()),
        authenticity=float((distance**2 > spacing[neighbour] ** 2 + slack).mean()),
        near_copy_rate=float((distance < usual).mean()),
        num_compared=size,
    )
