"""A fixed total, of which a share is synthetic."""

from dataclasses import dataclass
from typing import Any

from bench.composition import Composition
from bench.config import MixingConfig
from bench.mixing.shared.history import History
from bench.mixing.shared.schedule import Ratio, at, checked_ratio
from bench.options import option

VERSION = 1
CITATION = ""


@dataclass
class Config(MixingConfig):
    """A fixed total, of which the share `synthetic_ratio` comes from the previous generation."""

    policy: str = "blend"
    synthetic_ratio: Any = 0.5
    real_part: str = option("redrawn", one_of=("fixed", "redrawn"))

    def validate(self) -> None:
        self.synthetic_ratio = checked_ratio("synthetic_ratio", self.synthetic_ratio)


def compose(history: History, synthetic_ratio: Ratio, real_part: str) -> Composition:
    """Return a fixed total: the share `synthetic_ratio` from the previous generation, the rest real."""
    num_synthetic = round(at(synthetic_ratio, history.generation) * history.budget)
    real = history.draw(history.real, history.budget - num_synthetic, fixed=real_part == "fixed")
    return Composition((real, history.draw(history.synthetic[-1], num_synthetic)))
