"""What a vetting rule may know of its chain."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.kinds import Items


@dataclass(frozen=True, eq=False)
class Past:
    """The chain before a generation trains. generation: that is about to train; watermark_scores: (earlier generation,
    N items) -> how strongly each carries that generation's watermark, float64 (N,); None where the chain has none."""

    generation: int
    watermark_scores: Callable[[int, Items], np.ndarray] | None
