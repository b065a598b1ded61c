"""The one resize of the benchmark.

Resize filters alone move FID by several points (Parmar et al. 2022, "On Aliased Resizing"), so every picture, whatever
its source, goes through this one: Pillow's Lanczos on uint8 RGB. Its support grows with the factor of reduction, which
is what avoids aliasing, and it rounds to uint8 at the end. No reducing gap, no draft decoding: both change pixels.
"""

import numpy as np
from PIL import Image

from bench.errors import DataError

VERSION = 1
"""Raised by any change that moves a pixel; part of every data spec."""


def resize(picture: np.ndarray, resolution: int) -> np.ndarray:
    """uint8 (H, H, 3) to uint8 (resolution, resolution, 3); the same array where the size is already right.

    Raises `DataError` for anything but a square uint8 RGB picture: cropping is the source's decision, not this one's.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise DataError(f"a picture has dtype {picture.dtype} and shape {picture.shape}, expected uint8 (H, H, 3)")
    height, width, _ = picture.shape
    if height != width:
        raise DataError(f"a picture is {width} x {height}, expected a square: crop it before the resize")
    if height == resolution:
        return picture
    resized = Image.fromarray(picture).resize((resolution, resolution), Image.Resampling.LANCZOS, reducing_gap=None)
    return np.asarray(resized)


def centre_crop_box(width: int, height: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the largest centred square, in pixels; an odd pixel is left right or below."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side
