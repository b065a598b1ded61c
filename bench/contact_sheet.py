"""Images in a grid. Small images are enlarged by whole factors, so that every pixel is shown as it is."""

import math

import numpy as np
from PIL import Image


def enlarge(images: np.ndarray, min_side: int = 64) -> np.ndarray:
    """Repeat pixels until the height is at least `min_side`; images that are large enough are unchanged.

    images: uint8 (..., H, W).
    """
    factor = max(1, math.ceil(min_side / images.shape[-2]))
    return images.repeat(factor, axis=-2).repeat(factor, axis=-1)


def grid(images: np.ndarray, min_side: int = 64, num_columns: int | None = None, gap: int = 2) -> Image.Image:
    """Lay out images row by row as one image.

    Args:
        images: uint8 (N, 3, H, W).
        min_side: the least height to which smaller images are enlarged, in pixels.
        num_columns: the number of images in a row; None makes the grid nearly square.
        gap: the width of the white lines between images, in pixels.
    """
    num_columns = num_columns or math.ceil(math.sqrt(len(images)))
    num_rows = math.ceil(len(images) / num_columns)
    large = enlarge(images, min_side)
    height, width = large.shape[-2:]
    canvas = np.full((num_rows * (height + gap) - gap, num_columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, image in enumerate(large):
        top, left = (i // num_columns) * (height + gap), (i % num_columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return Image.fromarray(canvas)
