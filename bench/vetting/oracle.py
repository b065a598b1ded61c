"""Drop items by their true origin with given error rates, to study how accurate a detector would have to be.

If the synthetic share of a composition is s, the share after vetting is in expectation s (1 − TPR) / [s (1 − TPR) + (1
− s) (1 − FPR)] (Bayes' rule).
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
    """Drop given shares of the synthetic and of the real items, at random. true_positive_rate: the share of the
    synthetic items that is dropped. false_positive_rate: the share of the real items that is dropped."""

    name: str = "oracle"
    true_positive_rate: float = option(1.0, at_least=0, at_most=1)
    false_positive_rate: float = option(0.0, at_least=0, at_most=1)


def keep(unvetted: "Unvetted", true_positive_rate: float, false_positive_rate: float) -> np.ndarray:
    """Return which items are kept, bool (N,). The number of dropped synthetic items is their rate times their number,
    rounded up or down at random so that it is exact in expectation, and likewise for real items. Which items are
    dropped is random."""
    truth, rng = unvetted.is_synthetic, unvetted.rng
    assert truth is not None
    dropped = np.zeros(len(truth), bool)
    for rows, rate in ((np.flatnonzero(truth), true_positive_rate), (np.flatnonzero(~truth), false_positive_rate)):
        num = int(rate * len(rows) + rng.random())
        dropped[rng.permutation(rows)[:num]] = True
    return ~dropped


def num_kept(num_real: int, num_synthetic: int, true_positive_rate: float, false_positive_rate: float) -> float:
    """Return the expected number of items kept from a composition with these numbers of real and synthetic items."""
    return (1 - false_positive_rate) * num_real + (1 - true_positive_rate) * num_synthetic
