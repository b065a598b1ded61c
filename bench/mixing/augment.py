"""All real images and λ times as many samples of the previous generation (Bertrand et al. 2310.00429)."""

from dataclasses import dataclass
from typing import Any

from bench.composition import Composition
from bench.config import MixingConfig
from bench.mixing.shared.history import History
from bench.mixing.shared.ratio_schedule import Ratio, at, checked_ratio

VERSION = 1
CITATION = """@misc{bertrand2023stability,
  title         = {On the Stability of Iterative Retraining of Generative Models on their own Data},
  author        = {Bertrand, Quentin and Bose, Avishek Joey and Duplessis, Alexandre and Jiralerspong, Marco and
                   Gidel, Gauthier},
  year          = {2023},
  eprint        = {2310.00429},
  archivePrefix = {arXiv},
}"""


@dataclass
class Config(MixingConfig):
    """All real images and `synthetic_per_real` (λ) times as many samples of the previous generation."""

    policy: str = "augment"
    synthetic_per_real: Any = 1.0

    def validate(self) -> None:
        self.synthetic_per_real = checked_ratio("synthetic_per_real", self.synthetic_per_real, high=100.0)


def compose(history: History, synthetic_per_real: Ratio) -> Composition:
    """Return all n real images and λ·n samples of the previous generation."""
    num_synthetic = round(at(synthetic_per_real, history.generation) * history.real.num_items)
    real = history.draw(history.real, history.real.num_items)
    return Composition((real, history.draw(history.synthetic[-1], num_synthetic)))
