"""The interface of a source of real items before subset and split: ids, labels, and a function that reads rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Read = Callable[[np.ndarray], tuple[np.ndarray, dict[str, Any]]]
"""Maps row numbers, int64 (n,), to the items of these rows (images: uint8 (n, 3, R, R)) and notes on how they were
converted."""
BYTES_PER_ID = 100
"""Memory that the id of an item is assumed to take, in bytes."""


@dataclass(frozen=True, eq=False)
class Source:
    """A source of N real items.

    Attributes:
        source_ids: One unique id per item.
        read: Reads the items of given rows, so that a subset of a large archive costs only its own items.
        labels: Attribute -> int64 (N,).
        label_names: Attribute -> names by index.
        facts: Further columns that a subset may select on, column -> int64 (N,).
        notes: Counts of inputs that were left out before the rows were numbered.
        is_test: bool (N,), True for the items of the test part of a data set that is published in two parts. Held-out
            items come only from that part, and all others from the training part. None if there is one part.
    """

    source_ids: list[str]
    read: Read
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    label_names: dict[str, list[str]] = field(default_factory=dict)
    facts: dict[str, np.ndarray] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    is_test: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.source_ids)
