"""A fixed total, of which a share is synthetic."""

from dataclasses import dataclass

from bench.composition import Composition
from bench.mixing.shared.history import History
from bench.mixing.shared.ratio_schedule import Ratio, RatioConfig, at
from bench.options import option

VERSION = 1
CITATION = ""


@dataclass
class Config(RatioConfig):
    """A fixed total, of which the share `synthetic_ratio` comes from the previous generation."""

    policy: str = "blend"
    real_part: str = option("redrawn", one_of=("fixed", "redrawn"))


def compose(history: History, synthetic_ratio: Ratio, real_part: str) -> Composition:
    """Return a fixed total: the share `synthetic_ratio` from the previous generation, the rest real."""
    num_synthetic = round(at(synthetic_ratio, history.generation) * history.budget)
    real = history.draw(history.real, history.budget - num_synthetic, fixed=real_part == "fixed")
    return Composition((real, history.draw(history.synthetic[-1], num_synthetic)))
