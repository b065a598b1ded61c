"""Drops what a learned detector takes for generated: logistic regression on the features of the scores.

It is trained on real images that no chain trains on and on samples of a first mover, another chain's generation 0:
once, as a detector that was sold, or again for every generation with samples of the last one. A detector that stays
frozen grows obsolete as generators change (2602.07814).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.config import VettingRuleConfig
from bench.detection import check_enough_to_calibrate, threshold_at
from bench.options import option

if TYPE_CHECKING:
    from bench.vetting import Decision, Unvetted

VERSION = 1
NEEDS = ("calibration", "features")
CITATION = ""


@dataclass
class Config(VettingRuleConfig):
    """Drop what a detector takes for generated. false_positive_rate: the threshold is a score that another real image
    exceeds with at most this probability. num_calibration: real images from the end of the reserve, half of them to
    train the detector, half for its threshold. first_mover_seed: of the chain whose generation 0 it is trained on.
    refit: train it again for every generation, with samples of the last one that were not drawn beside the first
    mover's, where the policy draws from it."""

    name: str = "detector"
    false_positive_rate: float = option(0.01, above=0, at_most=0.5)
    num_calibration: int = option(1000, at_least=4)
    first_mover_seed: int = option(1000, at_least=0)
    refit: bool = False

    def validate(self) -> None:
        check_enough_to_calibrate(self.num_calibration, self.false_positive_rate, share=0.5)


def keep(
    unvetted: "Unvetted", false_positive_rate: float, num_calibration: int, first_mover_seed: int, refit: bool
) -> "Decision":
    """Return the log odds of being generated and the calibrated threshold. Generation 0 trains on real images only,
    and all is kept; that of a newcomer does not, and has no past to refit on."""
    from bench.vetting import Decision

    features = unvetted.features
    if features is None:
        return Decision(np.ones(len(unvetted.items), bool))
    generated = features.of_first_mover
    if refit and features.of_last_generation is not None and len(features.of_last_generation):
        generated = np.concatenate([generated, features.of_last_generation])
    half = num_calibration // 2
    detect = features.fit(features.of_calibration[:half], generated)
    threshold = threshold_at(detect(features.of_calibration[half:]), false_positive_rate)
    return Decision.at(detect(features.of_items), threshold)
