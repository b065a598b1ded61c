"""Tails: which classes of items does a model still generate, and do the rare ones disappear first?

Classifiers assign samples to classes and make mistakes, which keep a dead class alive: with an accuracy of .7, almost
any class is still predicted. Counts are therefore corrected by the classifiers' confusion on held-out real items
(black-box shift estimation, Lipton et al. 2018), and no result is given if a dead class could not be distinguished from
a live one.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.metrics.shared.classifier import Attribute

SURVIVAL_SHARE = 0.1
"""A class survives if its share among samples is at least this fraction of its share among real items."""
ERROR_RATE = 0.05
"""Probability that a dead class is reported alive, and that any class is reported dead although all have their real
shares."""
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Correction:
    """Estimates the shares p of classes from the shares q of predicted classes: q = Cᵀp, with C[i, j] = P(predicted j |
    class i) from held-out items, and p̂ = W q with W the pseudo-inverse of Cᵀ (Lipton et al. 2018, sec. 4).

    Attributes:
        confusion: float64 (C, C), C; rows sum to 1, or are 0 for classes without held-out items.
        weight: float64 (C, C), W.
        num_heldout: float64 (C,), held-out items per class.
        is_known: bool (C,), whether a class has held-out items and its share can be separated from those of the others.
    """

    confusion: np.ndarray
    weight: np.ndarray
    num_heldout: np.ndarray
    is_known: np.ndarray

    @staticmethod
    def of(counts: np.ndarray) -> "Correction":
        """Return the correction from counts of held-out items of class i that are predicted as j, float (C, C)."""
        num_heldout = counts.sum(axis=1)
        confusion = counts / np.maximum(num_heldout, 1e-300)[:, None]
        weight = np.linalg.pinv(confusion.T)
        mixing = weight @ confusion.T
        is_known = (num_heldout > 0) & (np.abs(mixing - np.eye(len(counts))).max(axis=1) < 1e-6)
        return Correction(confusion, weight, num_heldout, is_known)

    def standard_error(self, shares: np.ndarray, n: int) -> np.ndarray:
        """Return the standard error of each p̂, float64 (C,), if the true shares were `shares`, float (C,).

        It combines the error of the multinomial counts of n samples with the error of the confusion, whose rows are
        multinomial, too (delta method). One pseudo-item in every row is spread over all classes, because mistakes that
        few held-out items did not show may still occur. The predictions of several models for one held-out item count
        as one.
        """
        predicted = self.confusion.T @ shares
        of_samples = (self.weight**2 @ predicted - (self.weight @ predicted) ** 2) / n
        rows = self.num_heldout[:, None]
        smooth = (self.confusion * rows + 1 / len(rows)) / (rows + 1)
        of_rows = self.weight**2 @ smooth.T - (self.weight @ smooth.T) ** 2  # [class, row]
        of_confusion = of_rows @ (shares**2 / np.maximum(self.num_heldout, 1))
        return np.sqrt(np.maximum(of_samples + of_confusion, 0))

    def least_alive(self, shares: np.ndarray, real: np.ndarray, n: int) -> np.ndarray:
        """Return the smallest p̂ at which each class counts as alive, float64 (C,): SURVIVAL_SHARE of its share among
        real items, or more if a dead class would exceed that with a probability of more than ERROR_RATE.

        Args:
            shares: float (C,), shares among the samples; each class in turn is removed from them.
            real: float (C,), shares among real items.
            n: Number of samples.
        """
        least = SURVIVAL_SHARE * real
        for c in np.flatnonzero(self.is_known):
            without = np.where(np.arange(len(real)) == c, 0, np.maximum(shares, 0))
            if without.sum() > 0:
                error = self.standard_error(without / without.sum(), n)[c]
                least[c] = max(least[c], stats.norm.isf(ERROR_RATE) * error)
        return least

    def can_tell(self, real: np.ndarray, n: int) -> np.ndarray:
        """Return the classes for which n samples suffice, bool (C,). If all classes live with their real shares, the
        probability that any of the C classes is below `least_alive` is at most ERROR_RATE (Bonferroni)."""
        quantile = stats.norm.isf(ERROR_RATE / max((real > 0).sum(), 1))
        lowest = real - quantile * self.standard_error(real, n)
        return self.is_known & (lowest >= self.least_alive(real, real, n))


@dataclass(frozen=True, eq=False)
class Tails:
    """The result of `tail_scores`, which defines the scores.

    Attributes:
        survival: See `tail_scores`; None if refused.
        tail_survival: See `tail_scores`; None if refused.
        head_survival: See `tail_scores`; None if refused.
        divergence: See `tail_scores`.
        counts: float64 (C,), corrected number of samples per class.
        low: float64 (C,), lower end of the 95 % interval of `counts`.
        high: float64 (C,), upper end of that interval.
        expected: float64 (C,), expected number per class among the same number of real items.
        tail: int64, indices of the rarer half of the classes.
        head: int64, indices of the more common half of the classes.
        untold: int64, indices of the classes for which a dead class could not be distinguished from a live one.
    """

    survival: float | None
    tail_survival: float | None
    head_survival: float | None
    divergence: float
    counts: np.ndarray
    low: np.ndarray
    high: np.ndarray
    expected: np.ndarray
    tail: np.ndarray
    head: np.ndarray
    untold: np.ndarray


def tail_scores(predictions: np.ndarray, attribute: Attribute) -> Tails:
    """Return the survival of classes among samples, given the classes int (N,) that `attribute` predicted for them.

    survival: share of classes that survive. A class survives if its corrected count is at least SURVIVAL_SHARE of the
        count expected from its share among held-out real items, and more than mistakes would give a dead class in all
        but ERROR_RATE of cases. Classes without held-out items are left out.
    tail_survival, head_survival: the same for the rarer and the more common half of these classes, by their counts
        among the real training items. If the tails disappear first, tail_survival falls while head_survival stays.
    divergence: total variation distance ½ Σ |p - q| between the corrected class shares of samples, clipped at 0 and
        normalised to sum to 1, and those of held-out real items.

    Each survival is refused (None) unless all its classes can be judged: with N samples, and with the mistakes of the
    classifiers known as precisely as the held-out items allow, samples that resemble real items must have survival 1 in
    all but ERROR_RATE of cases. Higher survival and lower divergence are better. All scores are blind to variety within
    a class and to quality, because a classifier predicts a class for any item. Black-box shift estimation assumes that
    the items of a class look the same among samples and real items: defects of the samples may change the mistakes.
    """
    n, num_classes = len(predictions), attribute.num_classes
    correction = Correction.of(attribute.confusion)
    real = correction.num_heldout / correction.num_heldout.sum()
    shares = correction.weight @ (np.bincount(predictions, minlength=num_classes) / n)
    positive = np.maximum(shares, 0) / np.maximum(shares, 0).sum()
    half = stats.norm.isf((1 - CONFIDENCE) / 2) * correction.standard_error(positive, n)
    seen = np.flatnonzero(real > 0)
    order = seen[np.argsort(attribute.train_counts[seen], kind="stable")]
    tail, head = order[: len(order) // 2], order[len(order) // 2 :]
    is_alive = shares >= correction.least_alive(shares, real, n)
    can_tell = correction.can_tell(real, n)

    def survival(classes: np.ndarray) -> float | None:
        return float(is_alive[classes].mean()) if can_tell[classes].all() else None

    return Tails(
        survival=survival(seen),
        tail_survival=survival(tail if len(tail) else seen),
        head_survival=survival(head),
        divergence=float(np.abs(positive - real).sum() / 2),
        counts=np.maximum(shares, 0) * n,
        low=np.maximum(shares - half, 0) * n,
        high=np.maximum(shares + half, 0) * n,
        expected=real * n,
        tail=tail,
        head=head,
        untold=seen[~can_tell[seen]],
    )
