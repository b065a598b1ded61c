"""Drop items that a learned detector classifies as generated: a logistic regression on the features of the scores.

The detector is trained on real images that the chain does not train on, and on samples of a first mover: generation 0
of another chain. It is trained once, like a commercial detector, or retrained for every generation with samples of the
previous one. A detector that is not retrained becomes obsolete as generators change (2602.07814)."""

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
    """Drop items that a detector classifies as generated. false_positive_rate: the largest probability with which
    another real image exceeds the threshold. num_calibration: the number of real images from the end of the reserve,
    half of them to train the detector, half for its threshold. first_mover_seed: the seed of the chain whose generation
    0 the detector is trained on. refit: whether to retrain the detector for every generation, on the first mover's
    samples and on undrawn samples of the previous generation, if the policy draws from that generation."""

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
    """Return the decision with the log odds of being generated as scores, and the calibrated threshold. In generation
    0, which trains only on real images, all items are kept. Generation 0 of a newcomer is vetted, but without a
    previous generation to refit on."""
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
