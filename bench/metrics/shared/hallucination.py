"""Hallucinated combinations: samples that show two properties that never occur together in the real data, such as a
species in a colour that it never has.

Impossible pairs never occur among real items, so classifiers that are trained on real items do not recognise them. A
data set that is drawn by code offers calibration items of all pairs. The classifiers are trained on these, and they
also measure how many impossible items are recognised.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from bench.errors import MetricError
from bench.metrics.shared.classifier import Attribute, fit_attributes

CONFIDENCE = 0.95
TELLABLE, POWER = 0.1, 0.8
"""The rate is refused unless a share `TELLABLE` of impossible samples would be distinguished from none with probability
`POWER`."""


@dataclass(frozen=True, eq=False)
class PairJudge:
    """Recognises items that show an impossible pair of classes, with measured error rates.

    Attributes:
        a: The attribute of the rows of `possible`, learnt from calibration items.
        b: The attribute of the columns of `possible`, learnt likewise.
        possible: bool (classes of a, classes of b), which pairs exist.
        sensitivity: Share of impossible calibration items that are recognised by models that were not trained on them.
        num_impossible: Number of impossible calibration items.
        false_positive_rate: Share of held-out real items, all of them possible, that are judged impossible.
        num_heldout: Number of held-out real items.
    """

    a: Attribute
    b: Attribute
    possible: np.ndarray
    sensitivity: float
    num_impossible: int
    false_positive_rate: float
    num_heldout: int

    def judge(self, features: np.ndarray) -> float:
        """Return the share of items, given float (N, d) features, that are assigned an impossible pair, each by one
        model."""
        return float((~self.possible)[self.a.predict(features), self.b.predict(features)].mean())


@dataclass(frozen=True)
class Hallucination:
    """The result of `hallucination_rate`, which defines it.

    Attributes:
        rate: The rate; None if refused.
        low: Lower end of the 95 % interval of the rate.
        high: Upper end of that interval.
        judged: Share of samples that are assigned an impossible pair.
        sensitivity: Share of impossible items that are assigned an impossible pair.
        false_positive_rate: Share of possible items that are assigned an impossible pair.
    """

    rate: float | None
    low: float
    high: float
    judged: float
    sensitivity: float
    false_positive_rate: float


def fit_judge(
    calibration: np.ndarray,
    labels: Mapping[str, np.ndarray],
    heldout: np.ndarray,
    heldout_labels: Mapping[str, np.ndarray],
    names: Mapping[str, list[str]],
    pair: tuple[str, str],
    possible: np.ndarray,
    device: str | torch.device = "cpu",
) -> PairJudge:
    """Fit the classifiers of two attributes to calibration items, cross-fitted, and measure their mistakes.

    Args:
        calibration: float (C, d) features of items of all pairs, possible or not.
        labels: Attribute -> int (C,), of both attributes.
        heldout: float (M, d) features of real held-out items.
        heldout_labels: Attribute -> int (M,), of both attributes.
        names: Attribute -> names of its classes.
        pair: The two attributes.
        possible: bool (classes of the first, classes of the second), which pairs exist.
        device: The device to fit on.

    Raises:
        MetricError: There is no impossible calibration item, or an attribute has fewer than two classes.
    """
    labels = {name: labels[name] for name in pair}
    is_impossible = ~possible[labels[pair[0]], labels[pair[1]]]
    fitted = fit_attributes(calibration, labels, heldout, heldout_labels, names, device)
    if not is_impossible.any() or len(fitted) < 2:
        raise MetricError(
            f"{len(calibration)} calibration items, {is_impossible.sum()} of them impossible, are too few to learn "
            f"{pair[0]} and {pair[1]}"
        )
    a, b = (fitted[name] for name in pair)
    sensitivity = (~possible)[a.predict(calibration), b.predict(calibration)][is_impossible].mean()
    mistaken = (~possible)[a.heldout_predictions, b.heldout_predictions].mean()
    return PairJudge(a, b, possible, float(sensitivity), int(is_impossible.sum()), float(mistaken), len(heldout))


def hallucination_rate(features: np.ndarray, judge: PairJudge) -> Hallucination:
    """Return the share r of samples in a pair of classes that does not exist, corrected for mistakes.

    A share h of N samples is judged impossible: h = s·r + f·(1 - r), with the sensitivity s and the false-positive rate
    f of the judge, so r = (h - f) / (s - f) (Rogan & Gladen 1978), clipped to [0, 1]. See `rate_of` for the interval
    and `can_tell` for when the rate is refused. Lower is better.

    This assumes that impossible samples are misjudged as often as impossible calibration items, which are spread evenly
    over all impossible pairs, and possible samples as often as held-out real items. The rate is too high if samples are
    off the manifold and classifiers guess, because most pairs are impossible.

    Args:
        features: float (N, d) features of the samples, or of real items that the judge has not seen.
        judge: A judge from `fit_judge`.
    """
    n, h = len(features), judge.judge(features)
    rate, low, high = rate_of(h, n, judge)
    told = rate if can_tell(judge, n) else None
    return Hallucination(told, low, high, h, judge.sensitivity, judge.false_positive_rate)


def rate_of(h: float, n: int, judge: PairJudge) -> tuple[float, float, float]:
    """Return the rate and the ends of its 95 % interval if a share h of n samples is judged impossible.

    The interval adds the squares of the changes in the rate when h, s and f each move to the end of their own Wilson
    interval (MOVER, Zou & Donner 2008). This is the delta method with limits that also hold near shares of 0 and 1. All
    three shares are binomial; the predictions of several models for one held-out item count as one.
    """
    s, f = judge.sensitivity, judge.false_positive_rate
    if s <= f:
        return 0.0, 0.0, 1.0
    rate = (h - f) / (s - f)
    ends = [_wilson(h, n), _wilson(s, judge.num_impossible), _wilson(f, judge.num_heldout)]
    ways = np.array([1, -rate, rate - 1]) / (s - f)  # derivatives by h, s, f
    reach = (np.array(ends) - np.array([h, s, f])[:, None]) * ways[:, None]
    down, up = (np.linalg.norm(side) for side in (reach.min(axis=1), reach.max(axis=1)))
    low, middle, high = np.clip([rate - down, rate, rate + up], 0, 1).tolist()
    return middle, low, high


def can_tell(judge: PairJudge, n: int) -> bool:
    """Return whether a share `TELLABLE` of impossible samples among n would be distinguished from none with probability
    `POWER`."""
    s, f = judge.sensitivity, judge.false_positive_rate
    rise = TELLABLE * (s - f)
    low, high = _wilson(f, judge.num_heldout)
    f = (low + high) / 2  # never 0: mistakes that few held-out items did not show may still occur
    known = f * (1 - f) / judge.num_heldout
    none, some = (np.sqrt(h * (1 - h) / n + known) for h in (f, f + max(rise, 0)))
    return bool(rise >= stats.norm.isf((1 - CONFIDENCE) / 2) * none + stats.norm.isf(1 - POWER) * some)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a binomial share of n items (Wilson 1927)."""
    z = stats.norm.isf((1 - CONFIDENCE) / 2)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(middle - half), float(middle + half)
