"""What an item is: the kind of a pool decides how its items are checked and shown to a person.

The dtype and the number of dimensions of an array tell its kind, so no second record of it can disagree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


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

    shape: the array that holds N of them, as messages show it. preview: draws a few items as one picture, given real
        ones to compare them with, or None.
    """

    name: str
    dtype: type
    num_dimensions: int
    shape: str
    preview: "Callable[[np.ndarray, np.ndarray | None], Image]"

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


def _grid(images: np.ndarray, real: np.ndarray | None = None) -> "Image":
    from bench.contact_sheet import grid

    return grid(images)


def _scatter(points: np.ndarray, real: np.ndarray | None = None) -> "Image":
    """Draw points as black dots; of more than two coordinates the first two. Real points lie below them in grey and
    set the range, so that pictures of several generations have one scale; without them it is that of the points."""
    from PIL import Image, ImageDraw

    side, margin = 256, 32
    frame = _plane(points if real is None or not len(real) else real)
    low, span = frame.min(axis=0), np.ptp(frame, axis=0)
    picture = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(picture)
    for values, radius, colour in ((real, 1, "#bbbbbb"), (points, 2, "black")):
        if values is not None:
            at = margin + (_plane(values) - low) / np.where(span > 0, span, 1) * (side - 2 * margin)
            for x, y in at.clip(0, side):
                pen.ellipse((x - radius, side - y - radius, x + radius, side - y + radius), fill=colour)
    return picture


def _plane(points: np.ndarray) -> np.ndarray:
    flat = np.zeros((len(points), 2))
    flat[:, : min(2, points.shape[1])] = points[:, :2]
    return flat


def _lines(tokens: np.ndarray, real: np.ndarray | None = None) -> "Image":
    """Write sequences of token ids, one per line."""
    from PIL import Image, ImageDraw

    text = "\n".join(" ".join(map(str, row[:32])) for row in tokens)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    _, _, right, bottom = pen.multiline_textbbox((8, 8), text)
    picture = Image.new("RGB", (int(right) + 8, int(bottom) + 8), "white")
    ImageDraw.Draw(picture).multiline_text((8, 8), text, fill="black")
    return picture


IMAGES = Kind("images", np.uint8, 4, "(N, 3, H, H)", _grid)
POINTS = Kind("points", np.float64, 2, "(N, d)", _scatter)
TOKENS = Kind("tokens", np.int32, 2, "(N, L)", _lines)
KINDS = {kind.name: kind for kind in (IMAGES, POINTS, TOKENS)}
