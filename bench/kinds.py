"""The kinds of items: images, points and tokens. The kind of a pool decides how its items are checked and named.

The dtype and the number of dimensions of an array tell its kind, so no second record of it can disagree.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bench.errors import DataError


class Items(Protocol):
    """The items that a training reads: an array in memory or on disk, or rows of several (`bench.pool.Gathered`)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Return copies of the items at `rows`, int64 (n,)."""


@dataclass(frozen=True)
class Kind:
    """One kind of item.

    shape: The shape of an array of N items, as messages show it. item: The word for one item in messages.
    """

    name: str
    dtype: type
    num_dimensions: int
    shape: str
    item: str

    @property
    def items(self) -> str:
        """The plural of `item`."""
        return f"{self.item}s"

    def __str__(self) -> str:
        return f"{self.name}: {np.dtype(self.dtype).name} {self.shape}"


def kind_of(items: Items) -> Kind:
    """Return the kind of an array of items without reading any value. Raises `DataError` if it has no known kind."""
    for kind in KINDS.values():
        if items.dtype == kind.dtype and len(items.shape) == kind.num_dimensions:
            if kind is IMAGES and (items.shape[1] != 3 or items.shape[2] != items.shape[3]):
                break
            return kind
    allowed = "; ".join(map(str, KINDS.values()))
    raise DataError(f"items have dtype {items.dtype} and shape {items.shape}, expected one of {allowed}")


def check_images(images: Items) -> None:
    """Raise `DataError` unless `images` are uint8 (N, 3, H, H), without reading any pixel."""
    if images.dtype != np.uint8:
        raise DataError(f"images have dtype {images.dtype}, expected uint8")
    if len(images.shape) != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise DataError(f"images have shape {images.shape}, expected (N, 3, H, H)")


IMAGES = Kind("images", np.uint8, 4, "(N, 3, H, H)", "image")
POINTS = Kind("points", np.float64, 2, "(N, d)", "point")
TOKENS = Kind("tokens", np.int32, 2, "(N, L)", "sequence")
KINDS = {kind.name: kind for kind in (IMAGES, POINTS, TOKENS)}
