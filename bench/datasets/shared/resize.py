"""Resize pictures with the one filter that the whole benchmark uses.

The choice of the resize filter alone changes FID by several points (Parmar et al. 2022, "On Aliased Resizing"), so
every picture of every source is resized with the same one: Pillow's Lanczos on uint8 RGB. Its support grows with the
reduction factor, which avoids aliasing, and it rounds to uint8 at the end. A reducing gap and draft decoding would
change pixels, so neither is used.
"""

import numpy as np
from PIL import Image

from bench.errors import DataError

VERSION = 1
"""Must be raised by any change that alters a pixel; part of every data spec."""


def resize(picture: np.ndarray, resolution: int) -> np.ndarray:
    """Return a uint8 (H, H, 3) picture as uint8 (resolution, resolution, 3); the same array if H is `resolution`.

    Raises `DataError` for anything but a square uint8 RGB picture, because each source decides how to crop.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise DataError(f"a picture has dtype {picture.dtype} and shape {picture.shape}, expected uint8 (H, H, 3)")
    height, width, _ = picture.shape
    if height != width:
        raise DataError(f"a picture is {width} x {height}, expected a square: crop it before resizing")
    if height == resolution:
        return picture
    resized = Image.fromarray(picture).resize((resolution, resolution), Image.Resampling.LANCZOS, reducing_gap=None)
    return np.asarray(resized)


def centre_crop_box(width: int, height: int) -> tuple[int, int, int, int]:
    """Return the largest centred square (left, top, right, bottom), in pixels. An odd margin is one pixel larger on the
    right or at the bottom."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side
