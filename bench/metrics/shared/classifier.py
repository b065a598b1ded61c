"""Classifiers that label samples: multinomial logistic regression on frozen features, fitted to labelled real items and
cross-fitted, with errors that are measured on items that no model has seen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch.nn import functional as F

from bench.errors import MetricError
from bench.metrics.shared.checks import check_features

MAX_STEPS = 50
PENALTY = 1e-3
"""Weight of |W|² / 2 in the loss, relative to the mean cross-entropy on standardised features."""
NUM_FOLDS = 3
"""Models per attribute, each fitted without one fold of the training items."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A classifier of features, fitted by `fit_classifier`.

    Attributes:
        mean: float64 (d,), subtracted from features.
        scale: float64 (d,), divisor of the features.
        weight: float64 (d, num_classes).
        bias: float64 (num_classes,).
    """

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the class of each row of float (N, d) features, int64 (N,)."""
        return np.argmax(self._logits(features), axis=1).astype(np.int64)

    def margin(self, features: np.ndarray) -> np.ndarray:
        """Return the difference between the probabilities of the two likeliest classes for each row of float (N, d)
        features, float64 (N,), in [0, 1]."""
        largest = np.sort(special.softmax(self._logits(features), axis=1), axis=1)
        return largest[:, -1] - largest[:, -2]

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the log probability of every class for each row of float (N, d) features, float64 (N, C)."""
        return special.log_softmax(self._logits(features), axis=1)

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """Return the log odds of class 1 against class 0 of each row of float (N, d) features, float64 (N,)."""
        logits = self._logits(features)
        return logits[:, 1] - logits[:, 0]

    def _logits(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) / self.scale @ self.weight + self.bias


def fit_classifier(
    features: np.ndarray, labels: np.ndarray, num_classes: int, device: str | torch.device = "cpu"
) -> Classifier:
    """Fit a logistic regression by L-BFGS in float64 on standardised features. The problem is convex and the solver
    starts from zero, so the result is deterministic.

    Args:
        features: float (N, d) features of real items.
        labels: int (N,), -1 for "not labelled"; unlabelled items are left out.
        num_classes: Number of classes.
        device: The device to fit on.

    Raises:
        MetricError: Fewer than two classes have labelled items.
    """
    known = labels >= 0
    num_seen = len(np.unique(labels[known]))
    if num_seen < 2:
        raise MetricError(
            f"a classifier needs labelled items of two classes: {known.sum()} items of {num_seen} classes are labelled"
        )
    mean = features[known].mean(axis=0, dtype=np.float64)
    scale = np.maximum(features[known].std(axis=0, dtype=np.float64), 1e-6)
    x = torch.from_numpy((features[known] - mean) / scale).to(device)
    y = torch.from_numpy(labels[known].astype(np.int64)).to(device)
    return Classifier(mean, scale, *_minimise(x, y, num_classes))


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
class Attribute:
    """A labelled attribute of the real items, with its cross-fitted classifiers.

    Attributes:
        class_names: Names of its C classes.
        models: Model k is fitted to the training items whose index is not k modulo `len(models)`.
        confusion: float64 (C, C), number of held-out items of class i that are classified as j, averaged over the
            models.
        train_counts: int64 (C,), labelled training items per class.
        heldout_predictions: int64 (models, M), predicted classes of all held-out items, labelled or not.
    """

    class_names: list[str]
    models: tuple[Classifier, ...]
    confusion: np.ndarray
    train_counts: np.ndarray
    heldout_predictions: np.ndarray

    @property
    def num_classes(self) -> int:
        """Return the number of classes, with or without items."""
        return len(self.class_names)

    @property
    def accuracy(self) -> float:
        """Return the mean accuracy of the models on labelled held-out items, in [0, 1]."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the class of each row of float (N, d) features, int64 (N,).

        Row i is classified by model i modulo the number of models. Therefore, if the rows are the training items from
        the first one on, no item is classified by a model that was fitted to it, and any other set of items is treated
        alike.
        """
        return self._by_one_model(Classifier.predict, features).astype(np.int64)

    def margin(self, features: np.ndarray) -> np.ndarray:
        """Return the difference between the probabilities of the two likeliest classes for each row of float (N, d)
        features, float64 (N,), in [0, 1], by the same models as `predict`."""
        return self._by_one_model(Classifier.margin, features)

    def _by_one_model(self, ask: Callable[[Classifier, np.ndarray], np.ndarray], features: np.ndarray) -> np.ndarray:
        check_features(features, "classified")
        answers = np.empty(len(features))
        for k, model in enumerate(self.models):
            answers[k :: len(self.models)] = ask(model, features[k :: len(self.models)])
        return answers


def fit_attributes(
    train: np.ndarray,
    train_labels: Mapping[str, np.ndarray],
    heldout: np.ndarray,
    heldout_labels: Mapping[str, np.ndarray],
    names: Mapping[str, list[str]],
    device: str | torch.device = "cpu",
) -> dict[str, Attribute]:
    """Fit the classifiers of every attribute of the real items that has labels of at least two classes.

    Args:
        train: float (N, d) features of real training items.
        train_labels: Attribute -> int (N,), -1 for "not labelled".
        heldout: float (M, d) features of real held-out items, which no model is fitted to.
        heldout_labels: Attribute -> int (M,), -1 for "not labelled".
        names: Attribute -> names of its classes.
        device: The device to fit on.

    Returns:
        Attribute -> its classifiers. Attributes without enough labels are left out.
    """
    check_features(train, "training")
    check_features(heldout, "held-out")
    usable = [a for a, y in train_labels.items() if _has_two_classes(y) and (heldout_labels[a] >= 0).any()]
    return {a: _fit(train, train_labels[a], heldout, heldout_labels[a], names[a], device) for a in usable}


def _fit(
    train: np.ndarray,
    labels: np.ndarray,
    heldout: np.ndarray,
    truth: np.ndarray,
    class_names: list[str],
    device: str | torch.device,
) -> Attribute:
    fold = np.arange(len(train)) % NUM_FOLDS
    models = tuple(
        fit_classifier(train[fold != k], labels[fold != k], len(class_names), device) for k in range(NUM_FOLDS)
    )
    known, num_classes = truth >= 0, len(class_names)
    confusion = np.zeros((num_classes, num_classes))
    predictions = np.stack([model.predict(heldout) for model in models])
    for predicted in predictions:
        np.add.at(confusion, (truth[known], predicted[known]), 1)
    train_counts = np.bincount(labels[labels >= 0], minlength=num_classes)
    return Attribute(class_names, models, confusion / NUM_FOLDS, train_counts, predictions)


def _has_two_classes(labels: np.ndarray) -> bool:
    """Return whether the training items of each model have labels of at least two classes."""
    fold = np.arange(len(labels)) % NUM_FOLDS
    return all(len(np.unique(labels[(fold != k) & (labels >= 0)])) > 1 for k in range(NUM_FOLDS))
