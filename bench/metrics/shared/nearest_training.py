"""Copying: are samples closer to the training set of their model than unseen items of the same distribution are?

This needs the features of the training set of that generation, of held-out items that no model has seen and, to
distinguish copies from drift, of the unseen twin of the training set (`bench.twin`).
"""

from dataclasses import dataclass

import numpy as np
import torch

from bench.errors import MetricError
from bench.metrics.shared.checks import canonical_order, check_features, check_pair
from bench.metrics.shared.neighbours import ROUNDING, Features, Points, nearest, own_distances, squared_norms

Twin = tuple[np.ndarray, np.ndarray]
"""Features, float (m, d) each: items that were trained on, and the same number of items of the same distribution that
were not."""


@dataclass(frozen=True)
class Copying:
    """The result of `copying_scores`, which defines the five scores.

    closer_to_training, near_copy_rate: None without a twin. num_compared: number of items of each of the two sets whose
    distances are compared. num_twin: number of items on each side of the twin.
    """

    nn_distance_training: float
    nn_distance_heldout: float
    authenticity: float
    closer_to_training: float | None
    near_copy_rate: float | None
    num_compared: int
    num_twin: int


def copying_scores(
    subject: Features,
    heldout: Features,
    training: np.ndarray,
    quantile: float = 0.01,
    seed: int = 0,
    device: str | torch.device = "cpu",
    twin: Twin | None = None,
) -> Copying:
    """Return five scores of copying, of which two need a twin.

    nn_distance_training, nn_distance_heldout: median distance of a sample to its nearest item in each set. Both sets
        are cut to min(T, M) items by a seeded draw, because distances shrink with the size of a set. They also differ
        if training and held-out items are from different distributions, e.g. for a training set of samples.
    authenticity: share of samples that lie further from their nearest training item than that item lies from its own
        nearest neighbour in the training set (Alaa et al. 2022, sec. 3.3). Higher is better. Blind to copies of items
        in dense regions; depends on T.
    closer_to_training: share of samples nearer to the twin's trained-on side than to its unseen side (the comparison
        behind C_T of Meehan et al. 2020); ties count half. 0.5 if nothing is copied, because both sides are then
        exchangeable, whatever their distribution; 1 if every sample copies a trained-on item. Lower is better.
    near_copy_rate: share of samples nearer to the trained-on side than all but a share `quantile` of the samples are to
        the unseen side; `quantile` if nothing is copied. Lower is better.

    A copy of a training item affects the last two scores only if the twin contains this item: with m of T training
    items in the twin, a share c of copies changes closer_to_training by about c·m/(2 T).

    Args:
        subject: float (N, d) features of samples, or `Points` that are already checked.
        heldout: float (M, d) features of held-out real items, or `Points` that are already checked.
        training: float (T, d) features of the training set.
        quantile: See near_copy_rate.
        seed: Seed of the draw that cuts the larger set.
        device: The device to compute on.
        twin: Features of both sides of the twin.

    Returns:
        The scores, and the numbers of items whose distances were compared.

    Raises:
        MetricError: The features are invalid or differ in d, there are fewer than two training items, or the sides of
            the twin differ in size.
    """
    if isinstance(subject, np.ndarray) and isinstance(heldout, np.ndarray):
        check_pair(subject, heldout, equal_n=False)
    samples, new = Points.of(subject, device), Points.of(heldout, device)
    width = samples.features.shape[1]
    for features, name in ((training, "training"), *zip(twin or (), ("trained-on", "unseen"), strict=False)):
        check_features(features, name)
        if features.shape[1] != width:
            raise MetricError(f"feature widths differ: subject {width}, {name} {features.shape[1]}")
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
    centre = new.features.mean(dim=0, dtype=torch.float64)
    # Without the slack, a copy of one of two equal training items could count as authentic.
    slack = 2 * ROUNDING * squared_norms(samples.features, centre)
    closer, near = (None, None) if twin is None else against_twin(samples, twin, quantile)
    return Copying(
        nn_distance_training=_median(to_training.sqrt()),
        nn_distance_heldout=_median(to_heldout.sqrt()),
        authenticity=_share(to_old > spacing[neighbour] + slack),
        closer_to_training=closer,
        near_copy_rate=near,
        num_compared=size,
        num_twin=0 if twin is None else len(twin[0]),
    )


def against_twin(samples: Points, twin: Twin, quantile: float) -> tuple[float, float]:
    """Return closer_to_training and near_copy_rate. Raises `MetricError` if the sides of the twin differ in size."""
    if len(twin[0]) != len(twin[1]):
        raise MetricError(f"the sides of a twin differ: {len(twin[0])} items trained on, {len(twin[1])} unseen")
    sides = [Points.of(side, samples.features.device) for side in twin]
    to_seen, to_unseen = (nearest(samples, side, 1)[0][:, 0] for side in sides)
    closer = _share(to_seen < to_unseen) + 0.5 * _share(to_seen == to_unseen)
    usual = np.quantile(to_unseen.sqrt().cpu().numpy(), quantile)
    return closer, _share(to_seen.sqrt() < usual)


def equal_sides(training: np.ndarray, unseen: np.ndarray, seed: int = 0) -> Twin:
    """Return the sides of a twin: both sets, float (T, d) and (U, d), cut to min(T, U) items by a seeded draw."""
    rng = np.random.default_rng(seed)
    size = min(len(training), len(unseen))
    chosen = [np.sort(rng.permutation(len(x))[:size]) for x in (training, unseen)]
    first, second = (canonical_order(x)[rows] for x, rows in zip((training, unseen), chosen, strict=True))
    return first, second


def _share(true: torch.Tensor) -> float:
    return float(true.double().mean())


def _median(values: torch.Tensor) -> float:
    return float(np.median(values.cpu().numpy()))
