"""Only the real share of blend: a control that separates the effect of too few real images from that of samples."""

from dataclasses import dataclass

from bench.composition import Composition
from bench.errors import ConfigError
from bench.mixing.shared.history import History
from bench.mixing.shared.ratio_schedule import Ratio, RatioConfig, at
from bench.options import option

VERSION = 1
CITATION = ""


@dataclass
class Config(RatioConfig):
    """Only the real images that blend draws at the same `synthetic_ratio` r: (1 − r)·n images, with the same number of
    steps."""

    policy: str = "real_only"
    real_part: str = option("redrawn", one_of=("fixed", "redrawn"))

    def validate(self) -> None:
        super().validate()
        ratios = self.synthetic_ratio if isinstance(self.synthetic_ratio, list) else [self.synthetic_ratio]
        if max(ratios) == 1.0:
            raise ConfigError("synthetic_ratio", self.synthetic_ratio, "must be below 1: no real image would be left")


def compose(history: History, synthetic_ratio: Ratio, real_part: str) -> Composition:
    """Return the real images that `blend` draws at the same ratio, seed and generation."""
    num_left_out = round(at(synthetic_ratio, history.generation) * history.budget)
    return Composition((history.draw(history.real, history.budget - num_left_out, fixed=real_part == "fixed"),))
