"""Keep samples at random: the control that every other selection is compared with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.config import SelectionConfig
from bench.options import option

if TYPE_CHECKING:
    from bench.selection import Candidates

VERSION = 1
CITATION = ""


@dataclass
class Config(SelectionConfig):
    """Keep samples at random, out of `num_candidates`."""

    name: str = "random"
    num_candidates: int = option(at_least=1)


def keep(candidates: "Candidates") -> np.ndarray:
    """Return `num_kept` rows; every set of rows is equally likely."""
    return candidates.rng.permutation(len(candidates.pool))[: candidates.num_kept]
