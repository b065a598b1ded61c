"""The facts about its chain that a vetting rule may use."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.kinds import Items


@dataclass(frozen=True, eq=False)
class Past:
    """The chain before a generation trains.

    Attributes:
        generation: The generation that is about to train.
        watermark_scores: (earlier generation, N items) -> how strongly each item carries that generation's watermark,
            float64 (N,); None if the chain has no watermark.
    """

    generation: int
    watermark_scores: Callable[[int, Items], np.ndarray] | None
