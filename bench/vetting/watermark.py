"""Drop items that carry the chain's own watermark. The threshold is calibrated on real images that the chain
does not train on.

A watermark in the initial noise is read by inverting the sampler of each of the last generations, whose models are in
the store. The score of an item is its highest score over these generations.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.config import VettingRuleConfig
from bench.detection import check_enough_to_calibrate, threshold_at
from bench.options import option

if TYPE_CHECKING:
    from bench.kinds import Items
    from bench.vetting import Decision, Unvetted
    from bench.vetting.shared.past import Past

VERSION = 1
NEEDS = ("calibration", "past")
CITATION = ""


@dataclass
class Config(VettingRuleConfig):
    """Drop items that carry the watermark. false_positive_rate: the largest probability with which another real image
    exceeds the threshold (split conformal prediction; Vovk et al. 2005). num_calibration: the number of real images for
    the threshold, from the end of the reserve, which the chain does not train on. num_generations: the number of last
    generations whose marks are looked for; null: all."""

    name: str = "watermark"
    false_positive_rate: float = option(0.01, above=0, at_most=0.5)
    num_calibration: int = option(500, at_least=1)
    num_generations: int | None = option(1, at_least=1)

    def validate(self) -> None:
        check_enough_to_calibrate(self.num_calibration, self.false_positive_rate)


def keep(
    unvetted: "Unvetted", false_positive_rate: float, num_calibration: int, num_generations: int | None
) -> "Decision":
    """Return the decision with the highest score of each item over the marks of the last generations, and the
    calibrated threshold. In generation 0 there is no mark to look for, and all items are kept."""
    from bench.vetting import Decision

    past, calibration = unvetted.past, unvetted.calibration
    assert past is not None and calibration is not None
    if past.generation == 0:
        return Decision(np.ones(len(unvetted.items), bool))
    looked_for = range(max(0, past.generation - (num_generations or past.generation)), past.generation)
    threshold = threshold_at(highest(past, calibration, looked_for), false_positive_rate)
    return Decision.at(highest(past, unvetted.items, looked_for), threshold)


def highest(past: "Past", items: "Items", generations: range) -> np.ndarray:
    """Return the highest score of each item over the marks of `generations`, float64 (N,)."""
    read = past.watermark_scores
    assert read is not None
    return np.max([read(generation, items) for generation in generations], axis=0)
