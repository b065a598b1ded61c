"""What a vetting rule may know of items by their features."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Detector = Callable[[np.ndarray], np.ndarray]
"""Maps features, float (n, d), to log odds of being generated, float64 (n,)."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features in the space of the scores, float32 (…, d) each.

    Attributes:
        of_items: Of what is vetted, (N, d).
        of_calibration: Of real items that no chain trains on.
        of_first_mover: Of samples of another chain's generation 0.
        of_last_generation: Of samples of the generation before that the composition did not draw; (0, 0) where it drew
            none of them. None for generation 0, of a newcomer: there is no generation before.
        fit: (features of real items, of generated ones) -> a detector.
    """

    of_items: np.ndarray
    of_calibration: np.ndarray
    of_first_mover: np.ndarray
    of_last_generation: np.ndarray | None
    fit: Callable[[np.ndarray, np.ndarray], Detector]
