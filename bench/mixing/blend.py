"""A fixed total, of which a share are samples of the previous generation and the rest real images."""

from dataclasses import dataclass

from bench.composition import Composition
from bench.mixing.shared.history import History
from bench.mixing.shared.ratio_schedule import Ratio, RatioConfig, at
from bench.options import option

VERSION = 1
CITATION = ""


@dataclass
class Config(RatioConfig):
    """A fixed total, of which the share `synthetic_ratio` are samples of the previous generation and the rest real
    images."""

    policy: str = "blend"
    real_part: str = option("redrawn", one_of=("fixed", "redrawn"))


def compose(history: History, synthetic_ratio: Ratio, real_part: str) -> Composition:
    """Return `budget` images: a share `synthetic_ratio` of samples of the previous generation, the rest real images.

    Args:
        history: The pools so far.
        synthetic_ratio: The share, or a schedule.
        real_part: Whether the real images are the same ("fixed") or "redrawn" in every generation.
    """
    num_synthetic = round(at(synthetic_ratio, history.generation) * history.budget)
    real = history.draw(history.real, history.budget - num_synthetic, fixed=real_part == "fixed")
    return Composition((real, history.draw(history.synthetic[-1], num_synthetic)))
