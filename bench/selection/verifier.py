"""Keep the samples that look most real to a verifier, a logistic regression that separates real items from candidates.

A verifier improves the first generations; later ones converge to the verifier's own knowledge (2510.16657).
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
CITATION = ""


@dataclass
class Config(SelectionConfig):
    """Keep the samples, out of `num_candidates`, that look most real to a verifier that was trained on other
    candidates."""

    name: str = "verifier"
    num_candidates: int = option(at_least=2)


def keep(candidates: "Candidates") -> np.ndarray:
    """Return the `num_kept` rows with the highest log odds of being real. Each half of the candidates is judged by a
    verifier that was trained on the real pool and the other half."""
    assert candidates.features is not None
    points, real = candidates.features.of_candidates, candidates.features.of_real
    order = candidates.rng.permutation(len(points))
    halves = np.array_split(order, 2)
    looks_real = np.empty(len(points))
    for judged, learned in (halves, halves[::-1]):
        both = np.concatenate([points[learned], real])
        verifier = candidates.features.fit(both, np.repeat([0, 1], [len(learned), len(real)]), 2)
        log_probabilities = verifier.log_probabilities(points[judged])
        looks_real[judged] = log_probabilities[:, 1] - log_probabilities[:, 0]
    return np.argsort(-looks_real, kind="stable")[: candidates.num_kept]
