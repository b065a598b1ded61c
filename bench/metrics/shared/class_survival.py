"""Tails: which classes of items does a model still generate, and do the rare ones disappear first?

Samples have no labels, so a classifier assigns them: multinomial logistic regression on frozen features, fitted to
labelled real items. Its accuracy on held-out real items is part of every result, because the loss of a class that it
cannot distinguish goes unnoticed. For drawn data (`procedural`) the labels that it learns from, and the reference
counts, are exact for every attribute; the counts of the samples are still the classifier's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from bench.errors import MetricError
from bench.metrics.shared.checks import check_features

MAX_STEPS = 50
PENALTY = 1e-3
"""Weight of |W|² / 2 in the loss, relative to the mean cross-entropy on standardised features."""

SURVIVAL_SHARE = 0.1
"""A class survives if its count is at least this share of its expected count."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A classifier of features, fitted by `fit_classifier`.

    Attributes:
        mean: float64 (d,), subtracted from features.
        scale: float64 (d,), which features are divided by.
        weight: float64 (d, num_classes).
        bias: float64 (num_classes,).
        accuracy: Accuracy on labelled held-out items, in [0, 1].
        chance: Accuracy of always predicting the most common training class.
        heldout_predictions: int64 (n,), predicted classes of the labelled held-out items.
        train_counts: int64 (num_classes,), labelled training items per class.
    """

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    accuracy: float
    chance: float
    heldout_predictions: np.ndarray
    train_counts: np.ndarray

    @property
    def num_classes(self) -> int:
        """Return the number of classes, with or without training items."""
        return len(self.bias)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the class of each row of float (N, d) features, int64 (N,)."""
        check_features(features, "classified")
        return np.argmax((features - self.mean) / self.scale @ self.weight + self.bias, axis=1).astype(np.int64)


def fit_classifier(
    train: np.ndarray,
    train_labels: np.ndarray,
    heldout: np.ndarray,
    heldout_labels: np.ndarray,
    num_classes: int,
    device: str | torch.device = "cpu",
) -> Classifier:
    """Fit a logistic regression by L-BFGS in float64 on standardised features. The problem is convex and starts from
    zero, so nothing is random.

    Args:
        train: float (N, d) features of real training items.
        train_labels: int (N,), -1 for "not labelled"; such items are left out.
        heldout: float (M, d) features of real held-out items.
        heldout_labels: int (M,), -1 for "not labelled".
        num_classes: Number of classes.
        device: Where to fit.

    Returns:
        The classifier, with its accuracy on the held-out items.

    Raises:
        MetricError: Fewer than two classes have labelled training items, or no held-out item is labelled.
    """
    check_features(train, "training")
    check_features(heldout, "held-out")
    known, known_heldout = train_labels >= 0, heldout_labels >= 0
    counts = np.bincount(train_labels[known], minlength=num_classes)
    if (counts > 0).sum() < 2 or not known_heldout.any():
        raise MetricError(
            f"a classifier needs labelled items of two classes and labelled held-out items: {known.sum()} training "
            f"items of {(counts > 0).sum()} classes and {known_heldout.sum()} held-out items are labelled"
        )
    mean = train[known].mean(axis=0, dtype=np.float64)
    scale = np.maximum(train[known].std(axis=0, dtype=np.float64), 1e-6)
    x = torch.from_numpy((train[known] - mean) / scale).to(device)
    y = torch.from_numpy(train_labels[known].astype(np.int64)).to(device)
    weight, bias = _minimise(x, y, num_classes)
    predictions = np.argmax((heldout[known_heldout] - mean) / scale @ weight + bias, axis=1)
    truth = heldout_labels[known_heldout]
    return Classifier(
        mean,
        scale,
        weight,
        bias,
        accuracy=float((predictions == truth).mean()),
        chance=float((truth == counts.argmax()).mean()),
        heldout_predictions=predictions.astype(np.int64),
        train_counts=counts,
    )


@dataclass(frozen=True)
class Attribute:
    """A labelled attribute of the real items: its classifier and the names of its classes."""

    classifier: Classifier
    class_names: list[str]


def fit_attributes(
    train: np.ndarray,
    train_labels: Mapping[str, np.ndarray],
    heldout: np.ndarray,
    heldout_labels: Mapping[str, np.ndarray],
    names: Mapping[str, list[str]],
    device: str | torch.device = "cpu",
) -> dict[str, Attribute]:
    """Fit a classifier for every attribute of the real items that has labels of at least two classes.

    Args:
        train: float (N, d) features of real training items.
        train_labels: Attribute -> int (N,), -1 for "not labelled".
        heldout: float (M, d) features of real held-out items.
        heldout_labels: Attribute -> int (M,), -1 for "not labelled".
        names: Attribute -> names of its classes.
        device: Where to fit.

    Returns:
        Attribute -> its classifier; attributes without enough labels are left out.
    """
    usable = [a for a, y in train_labels.items() if len(np.unique(y[y >= 0])) > 1 and (heldout_labels[a] >= 0).any()]
    return {
        a: Attribute(
            fit_classifier(train, train_labels[a], heldout, heldout_labels[a], len(names[a]), device), names[a]
        )
        for a in usable
    }


def _minimise(x: torch.Tensor, y: torch.Tensor, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    weight = torch.zeros(x.shape[1], num_classes, dtype=torch.float64, device=x.device, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, device=x.device, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=MAX_STEPS, tolerance_grad=1e-5, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(x @ weight + bias, y) + PENALTY / 2 * (weight**2).sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)
    return weight.detach().cpu().numpy(), bias.detach().cpu().numpy()


@dataclass(frozen=True, eq=False)
class Tails:
    """The result of `tail_scores`, which defines the four scores.

    Attributes:
        survival: See `tail_scores`.
        tail_survival: See `tail_scores`.
        head_survival: See `tail_scores`.
        divergence: See `tail_scores`.
        counts: float64 (num_classes,), samples per class.
        expected: float64 (num_classes,), expected count per class among as many real items.
        tail: int64, indices of the rarer half of the classes.
        head: int64, indices of the more common half of the classes.
    """

    survival: float
    tail_survival: float
    head_survival: float
    divergence: float
    counts: np.ndarray
    expected: np.ndarray
    tail: np.ndarray
    head: np.ndarray


def tail_scores(predictions: np.ndarray, classifier: Classifier) -> Tails:
    """Return the survival of classes among samples, given the classes int (N,) that `classifier` predicted for them.

    survival: share of classes that survive. A class survives if it has at least SURVIVAL_SHARE of its expected count,
        and at least one sample. Expected counts come from the classes that the same classifier predicts for held-out
        real items, so that its systematic errors are on both sides; classes that it never predicts there are left out.
    tail_survival, head_survival: the same for the rarer and the more common half of these classes, by their counts
        among the real training items. If the tails go first, tail_survival falls while head_survival stays.
    divergence: total variation distance ½ Σ |p - q| between the class shares of samples and of held-out real items.

    Higher survival and lower divergence are better. Blind to variety within a class and to quality, because a
    classifier predicts a class for any item. With accuracy a, a lost class may still be predicted through the share
    1 - a of errors.
    """
    expected_share = np.bincount(classifier.heldout_predictions, minlength=classifier.num_classes)
    expected = expected_share / expected_share.sum() * len(predictions)
    counts = np.bincount(predictions, minlength=classifier.num_classes).astype(np.float64)
    seen = np.flatnonzero(expected > 0)
    order = seen[np.argsort(classifier.train_counts[seen], kind="stable")]
    tail, head = order[: len(order) // 2], order[len(order) // 2 :]
    alive = survives(counts, expected)
    return Tails(
        survival=float(alive[seen].mean()),
        tail_survival=float(alive[tail].mean()) if len(tail) else float(alive[seen].mean()),
        head_survival=float(alive[head].mean()),
        divergence=float(np.abs(counts - expected).sum() / (2 * len(predictions))),
        counts=counts,
        expected=expected,
        tail=tail,
        head=head,
    )


def survives(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return which classes survive, bool (num_classes,): those with at least SURVIVAL_SHARE of the expected count, and
    at least one sample."""
    return counts >= np.maximum(SURVIVAL_SHARE * expected, 1)


def last_alive(counts: Sequence[np.ndarray], expected: np.ndarray) -> np.ndarray:
    """Return the last generation up to which each class survives without a gap from generation 0, int64 (num_classes,);
    -1 for a class that does not survive generation 0. counts: per generation, float (num_classes,), samples per class.
    """
    alive = np.stack([survives(c, expected) for c in counts])
    return np.cumprod(alive, axis=0).sum(axis=0).astype(np.int64) - 1
