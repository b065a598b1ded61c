"""As blend, with a real share that is new in every generation: MAD's fresh data loop (2307.01850); 2602.16601."""

from dataclasses import dataclass

from bench.composition import Composition
from bench.mixing import replace
from bench.mixing.shared.history import History
from bench.mixing.shared.ratio_schedule import Ratio, RatioConfig, at

VERSION = 1
CITATION = replace.CITATION


@dataclass
class Config(RatioConfig):
    """As blend, but the real share is new in every generation, from the reserve that data.num_train leaves over."""

    policy: str = "fresh"


def compose(history: History, synthetic_ratio: Ratio) -> Composition:
    """Return a fixed total, whose real share continues in the reserve where the generation before ended."""
    num_synthetic = [round(at(synthetic_ratio, g) * history.budget) for g in range(1, history.generation + 1)]
    num_fresh = [history.budget - n for n in num_synthetic]
    synthetic = history.draw(history.synthetic[-1], num_synthetic[-1])
    if num_fresh[-1] == 0:  # needs no reserve
        return Composition((synthetic,))
    return Composition((history.draw_fresh(num_fresh[-1], num_used=sum(num_fresh[:-1])), synthetic))
