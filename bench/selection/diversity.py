"""Keep the samples that are farthest from each other, by greedy farthest-point sampling in feature space.

Shi et al. (2509.16499) propose this against collapse, because repeated samples add nothing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.config import SelectionConfig
from bench.options import option

if TYPE_CHECKING:
    from bench.selection import Candidates

VERSION = 1
NEEDS = ("features",)
CITATION = """@misc{shi2025closer,
  title         = {A Closer Look at Model Collapse: From a Generalization-to-Memorization Perspective},
  author        = {Shi, Lianghe and Wu, Meng and Zhang, Huijie and Zhang, Zekai and Tao, Molei and Qu, Qing},
  year          = {2025},
  eprint        = {2509.16499},
  archivePrefix = {arXiv},
}"""


@dataclass
class Config(SelectionConfig):
    """Keep the samples, out of `num_candidates`, that are farthest from each other in the feature space of the
    scores."""

    name: str = "diversity"
    num_candidates: int = option(at_least=1)


def keep(candidates: "Candidates") -> np.ndarray:
    """Return `num_kept` rows: the first is random, and each next one is the farthest from its nearest kept sample
    (Gonzalez 1985). Distances are Euclidean, on features that are not normalised."""
    assert candidates.features is not None
    points = candidates.features.of_candidates.astype(np.float64)
    squares = np.square(points).sum(axis=1)
    rows = np.empty(candidates.num_kept, np.int64)
    rows[0] = candidates.rng.integers(len(points))
    nearest = np.full(len(points), np.inf)
    taken = np.zeros(len(points), bool)
    for at in range(1, len(rows)):
        last = rows[at - 1]
        taken[last] = True
        distances = squares + squares[last] - 2 * (points @ points[last])
        nearest = np.minimum(nearest, distances)
        rows[at] = np.argmax(np.where(taken, -np.inf, nearest))
    return rows
