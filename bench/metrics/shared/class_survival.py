"""Tails: which kinds of pictures are still made, and do the rare ones go first?

Samples carry no labels, so a classifier assigns them: multinomial logistic regression on frozen features, fitted to
labelled real images. Its accuracy on held-out real images is part of every result, since a class that it cannot tell
apart cannot be seen to die. On drawn data (`procedural`) the labels it learns from, and the reference counts, are exact
for every attribute; the counts of the samples are still the classifier's.
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
"""Weight of |W|² / 2 beside the mean cross-entropy of standardised features."""

SURVIVAL_SHARE = 0.1
"""A class survives when it has at least this share of the count it has among real images."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """Fitted by `fit_classifier`. accuracy: on held-out real images; chance: of always naming the commonest class."""

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
        return len(self.bias)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """float (N, d) -> int64 (N,) class indices."""
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
    """Logistic regression by L-BFGS in float64 on standardised features: convex, so nothing is drawn at random.

    train, heldout: float (N, d) and (M, d) features of real images; labels: int (N,), (M,), -1 for "not labelled",
    which are left out. Raises `MetricError` where fewer than two classes are labelled, or nothing is held out.
    """
    check_features(train, "training")
    check_features(heldout, "held-out")
    known, known_heldout = train_labels >= 0, heldout_labels >= 0
    counts = np.bincount(train_labels[known], minlength=num_classes)
    if (counts > 0).sum() < 2 or not known_heldout.any():
        raise MetricError(
            f"a classifier needs labelled images of two classes and labelled held-out ones: {known.sum()} training "
            f"images of {(counts > 0).sum()} classes and {known_heldout.sum()} held-out images are labelled"
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
    """A labelled attribute of the real images, as a classifier of it and the names of its classes."""

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
    """Fit a classifier for every attribute of the real images that has labels of two classes or more.

    Args:
        train: float (N, d) features of real training images.
        train_labels: Attribute -> int (N,), -1 for "not labelled".
        heldout: float (M, d) features of held-out images.
        heldout_labels: Attribute -> int (M,).
        names: Attribute -> names of its classes.
        device: Where to fit.
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
    """See `tail_scores`. counts, expected: float64 (num_classes,), images per class among the subject and among as many
    real ones; tail, head: class indices."""

    survival: float
    tail_survival: float
    head_survival: float
    divergence: float
    counts: np.ndarray
    expected: np.ndarray
    tail: np.ndarray
    head: np.ndarray


def tail_scores(predictions: np.ndarray, classifier: Classifier) -> Tails:
    """From the classes int (N,) that `classifier` gave the samples:

    survival: share of classes that survive. A class does when it has at least SURVIVAL_SHARE of its expected count,
        and at least one image. Expected counts are the shares that the same classifier finds in held-out real images,
        so that its habitual mistakes are on both sides; classes never found there are left out.
    tail_survival, head_survival: the same over the rarer and the commoner half of those classes, by their
        counts among the real training images. Tails first: tail_survival falls while head_survival stays.
    divergence: total variation distance ½ Σ |p - q| between the class shares of samples and held-out real images.

    Survival is better higher, divergence lower. Blind to variety within a class and to quality: a classifier names
    something for any picture. With accuracy a, a dead class may still be "seen" through the mistakes (1 - a).
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
    """bool (num_classes,): at least SURVIVAL_SHARE of the expected count, and at least one."""
    return counts >= np.maximum(SURVIVAL_SHARE * expected, 1)


def last_alive(counts: Sequence[np.ndarray], expected: np.ndarray) -> np.ndarray:
    """int64 (num_classes,): the last generation of an unbroken life from generation 0 on; -1: never alive.

    counts: per generation, float (num_classes,) images of each class.
    """
    alive = np.stack([survives(c, expected) for c in counts])
    return np.cumprod(alive, axis=0).sum(axis=0).astype(np.int64) - 1
