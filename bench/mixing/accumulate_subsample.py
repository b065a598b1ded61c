"""A fixed total, drawn from the set that `accumulate` composes (Kazdan et al. 2410.16713; Shi et al. 2509.16499)."""

from dataclasses import dataclass

from bench.composition import Composition
from bench.config import MixingConfig
from bench.mixing import accumulate
from bench.mixing.shared.history import History

VERSION = 1
CITATION = """@misc{kazdan2024collapse,
  title         = {Collapse or Thrive? Perils and Promises of Synthetic Data in a Self-Generating World},
  author        = {Kazdan, Joshua and Schaeffer, Rylan and Dey, Apratim and others},
  year          = {2024},
  eprint        = {2410.16713},
  archivePrefix = {arXiv},
}"""


@dataclass
class Config(MixingConfig):
    """A fixed total, drawn uniformly from the set that `accumulate` composes."""

    policy: str = "accumulate_subsample"


def compose(history: History) -> Composition:
    """Return `budget` images, drawn uniformly from the set that `accumulate` composes."""
    return history.subsample(accumulate.compose(history), history.budget)
