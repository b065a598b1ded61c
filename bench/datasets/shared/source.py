"""What every source of real images offers before subset, split and resize: names, labels, and a way to read rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Read = Callable[[np.ndarray], tuple[np.ndarray, dict[str, Any]]]
"""Row numbers (n,) to uint8 images (n, 3, R, R), and notes about what happened to them on the way."""


@dataclass(frozen=True, eq=False)
class Source:
    """source_ids: one per image, unique. labels: attribute -> int64 (N,). label_names: attribute -> names by index.
    facts: further int64 columns (N,) that a subset may select on. read: makes the images of the rows asked for, so that
    a subset of a large archive costs only its own pictures."""

    source_ids: list[str]
    read: Read
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    label_names: dict[str, list[str]] = field(default_factory=dict)
    facts: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source_ids)
