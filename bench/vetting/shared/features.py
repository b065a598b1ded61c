"""The features that a vetting rule may use."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Detector = Callable[[np.ndarray], np.ndarray]
"""Maps features, float (n, d), to log odds of being generated, float64 (n,)."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features in the space of the scores, float32 (…, d) each.

    Attributes:
        of_items: Features of the items to vet, (N, d).
        of_calibration: Features of real items that no chain trains on.
        of_first_mover: Features of samples of another chain's generation 0.
        of_last_generation: Features of those samples of the previous generation that the composition did not draw; (0,
            0) if it drew no samples of that generation. None for generation 0 of a newcomer, which has no previous
            generation.
        fit: Fits a detector: (features of real items, features of generated items) -> detector.
    """

    of_items: np.ndarray
    of_calibration: np.ndarray
    of_first_mover: np.ndarray
    of_last_generation: np.ndarray | None
    fit: Callable[[np.ndarray, np.ndarray], Detector]
