"""All real images and samples of every generation so far (Gerstgrasser et al. 2404.01413)."""

from dataclasses import dataclass

from bench.composition import Composition
from bench.config import MixingConfig
from bench.mixing.shared.history import History

VERSION = 1
CITATION = """@misc{gerstgrasser2024inevitable,
  title         = {Is Model Collapse Inevitable? Breaking the Curse of Recursion by Accumulating Real and Synthetic
                   Data},
  author        = {Gerstgrasser, Matthias and Schaeffer, Rylan and Dey, Apratim and others},
  year          = {2024},
  eprint        = {2404.01413},
  archivePrefix = {arXiv},
}"""


@dataclass
class Config(MixingConfig):
    """All real images and samples of every generation so far; the training set grows."""

    policy: str = "accumulate"


def compose(history: History) -> Composition:
    """Return all real images and `budget` samples of every generation so far. The draw from each generation stays the
    same, so that a training set contains the previous one."""
    kept = (history.draw(pool, history.budget, fixed=True) for pool in history.synthetic)
    return Composition((history.draw(history.real, history.budget, fixed=True), *kept))
