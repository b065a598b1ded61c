"""What an item is: the kind of a pool decides how its items are checked and what they are called.

The dtype and the number of dimensions of an array tell its kind, so no second record of it can disagree.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bench.errors import DataError


class Items(Protocol):
    """What a training reads: an array in memory or on disk, or rows of several (`bench.pool.Gathered`)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Return copies of the items at rows, int64 (n,)."""


@dataclass(frozen=True)
class Kind:
    """One kind of item.

    shape: the array that holds N of them, as messages show it. item: what a person calls one of them.
    """

    name: str
    dtype: type
    num_dimensions: int
    shape: str
    item: str

    @property
    def items(self) -> str:
        """What a person calls several of them."""
        return f"{self.item}s"

    def __str__(self) -> str:
        return f"{self.name}: {np.dtype(self.dtype).name} {self.shape}"


def kind_of(items: Items) -> Kind:
    """Return the kind of an array of items. Raises `DataError` where it is none; looks at no value."""
    for kind in KINDS.values():
        if items.dtype == kind.dtype and len(items.shape) == kind.num_dimensions:
            if kind is IMAGES and (items.shape[1] != 3 or items.shape[2] != items.shape[3]):
                break
            return kind
    allowed = "; ".join(map(str, KINDS.values()))
    raise DataError(f"items have dtype {items.dtype} and shape {items.shape}, expected one of {allowed}")


def check_images(images: Items) -> None:
    """Raise `DataError` unless `images` are uint8 (N, 3, H, H). Looks at no pixel."""
    if images.dtype != np.uint8:
        raise DataError(f"images have dtype {images.dtype}, expected uint8")
    if len(images.shape) != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise DataError(f"images have shape {images.shape}, expected (N, 3, H, H)")


IMAGES = Kind("images", np.uint8, 4, "(N, 3, H, H)", "image")
POINTS = Kind("points", np.float64, 2, "(N, d)", "point")
TOKENS = Kind("tokens", np.int32, 2, "(N, L)", "sequence")
KINDS = {kind.name: kind for kind in (IMAGES, POINTS, TOKENS)}
