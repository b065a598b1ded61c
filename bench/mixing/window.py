"""Like blend, with the synthetic share drawn from the last few generations together."""

from dataclasses import dataclass

from bench.composition import Composition
from bench.mixing.shared.history import History
from bench.mixing.shared.ratio_schedule import Ratio, RatioConfig, at
from bench.options import option

VERSION = 1
CITATION = ""


@dataclass
class Config(RatioConfig):
    """Like blend, but the synthetic share is drawn from the last `num_generations` generations together."""

    policy: str = "window"
    real_part: str = option("redrawn", one_of=("fixed", "redrawn"))
    num_generations: int = option(3, at_least=1)


def compose(history: History, num_generations: int, synthetic_ratio: Ratio, real_part: str) -> Composition:
    """Return `budget` images, whose synthetic share is drawn from the last few generations together.

    Args:
        history: The pools so far.
        num_generations: The number of last generations to draw from.
        synthetic_ratio: The synthetic share, or a schedule.
        real_part: Whether the real images are the same ("fixed") or "redrawn" in every generation.
    """
    num_synthetic = round(at(synthetic_ratio, history.generation) * history.budget)
    real = history.draw(history.real, history.budget - num_synthetic, fixed=real_part == "fixed")
    if num_synthetic == 0:
        return Composition((real,))
    recent = history.synthetic[-num_generations:]
    universe = Composition(tuple(history.draw(pool, history.budget, fixed=True) for pool in recent))
    return Composition((real, *history.subsample(universe, num_synthetic).parts))
