"""Hallucinated combinations: samples that show two properties which never occur together in the real data, such as a
species in a colour that it never has."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.metrics.shared.classifier import Attribute

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Hallucination:
    """The result of `hallucination_rate`, which defines it. low, high: its 95 % interval.

    judged: share of samples that the classifiers put into an impossible pair. false_positive_rate: the same share of
    held-out real items, none of which is in one.
    """

    rate: float
    low: float
    high: float
    judged: float
    false_positive_rate: float


def hallucination_rate(features: np.ndarray, a: Attribute, b: Attribute, possible: np.ndarray) -> Hallucination:
    """Return the share of samples in a pair of classes that does not exist, corrected for mistakes.

    Which pairs exist is known exactly; what a sample shows is the classifiers' word. They put a share f of held-out
    real items, which neither model has seen, into an impossible pair, and a share h of the samples. If s of the
    impossible samples are recognised, h = s·r + f·(1 - r) for the rate r. s is not known from real items, so r is
    computed with s = 1, as (h - f) / (1 - f), at least 0: the rate is then too low by the factor (s - f) / (1 - f).
    The interval is that of two independent binomial shares (Wald), so it holds for this lower bound. Lower is better.

    Blind to impossible samples that look possible to classifiers which have learnt from possible ones only. Reads
    too high where samples are off the manifold and classifiers guess: most pairs are impossible.

    Args:
        features: float (N, d) of the samples, or of the training items from the first on.
        a: The attribute of the rows of `possible`.
        b: That of its columns.
        possible: bool (classes of a, classes of b), which pairs exist.
    """
    is_impossible = ~possible
    n, num_heldout = len(features), a.heldout_predictions.shape[1]
    h = float(is_impossible[a.predict(features), b.predict(features)].mean())
    f = float(is_impossible[a.heldout_predictions, b.heldout_predictions].mean())
    error = np.sqrt(h * (1 - h) / n + f * (1 - f) / num_heldout)
    ends = (h - f + np.array([-1, 0, 1]) * stats.norm.isf((1 - CONFIDENCE) / 2) * error) / max(1 - f, 1e-9)
    low, rate, high = np.clip(ends, 0, 1).tolist()
    return Hallucination(rate, low, high, h, f)
