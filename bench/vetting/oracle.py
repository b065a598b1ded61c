"""Drops items by the truth, with error rates that are given: it asks how good a detector would have to be.

Of a composition with the synthetic share s it leaves, in expectation, the share s (1 − TPR) / [s (1 − TPR) + (1 − s)
(1 − FPR)] (Bayes' rule).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.config import VettingRuleConfig
from bench.options import option

if TYPE_CHECKING:
    from bench.vetting import Unvetted

VERSION = 1
NEEDS = ("truth",)
CITATION = ""


@dataclass
class Config(VettingRuleConfig):
    """Drop given shares of the synthetic and of the real items, at random. true_positive_rate: of the synthetic items,
    the share that is dropped; false_positive_rate: of the real ones."""

    name: str = "oracle"
    true_positive_rate: float = option(1.0, at_least=0, at_most=1)
    false_positive_rate: float = option(0.0, at_least=0, at_most=1)


def keep(unvetted: "Unvetted", true_positive_rate: float, false_positive_rate: float) -> np.ndarray:
    """Return what is kept, bool (N,). The number that is dropped of each side is its rate times its size, rounded up or
    down at random so that it is exact in expectation; which items they are is random."""
    truth, rng = unvetted.is_synthetic, unvetted.rng
    assert truth is not None
    dropped = np.zeros(len(truth), bool)
    for rows, rate in ((np.flatnonzero(truth), true_positive_rate), (np.flatnonzero(~truth), false_positive_rate)):
        num = int(rate * len(rows) + rng.random())
        dropped[rng.permutation(rows)[:num]] = True
    return ~dropped


def num_kept(num_real: int, num_synthetic: int, true_positive_rate: float, false_positive_rate: float) -> float:
    """Return how many items are kept in expectation of a composition with so many of each side."""
    return (1 - false_positive_rate) * num_real + (1 - true_positive_rate) * num_synthetic
