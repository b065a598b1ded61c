"""Like blend, with a real share that is new in every generation: MAD's fresh data loop (2307.01850); 2602.16601."""

from dataclasses import dataclass

from bench.composition import Composition
from bench.mixing import replace
from bench.mixing.shared.history import History
from bench.mixing.shared.ratio_schedule import Ratio, RatioConfig, at

VERSION = 1
CITATION = replace.CITATION


@dataclass
class Config(RatioConfig):
    """Like blend, but the real share is new in every generation. It is drawn from the reserve, the real images that are
    neither in the real pool nor held out."""

    policy: str = "fresh"


def compose(history: History, synthetic_ratio: Ratio) -> Composition:
    """Return `budget` images. The real share is the next part of the reserve, after the part that the previous
    generation used."""
    num_synthetic = [round(at(synthetic_ratio, g) * history.budget) for g in range(1, history.generation + 1)]
    num_fresh = [history.budget - n for n in num_synthetic]
    synthetic = history.draw(history.synthetic[-1], num_synthetic[-1])
    if num_fresh[-1] == 0:  # needs no reserve
        return Composition((synthetic,))
    return Composition((history.draw_fresh(num_fresh[-1], num_used=sum(num_fresh[:-1])), synthetic))
