"""Picture files to uint8 arrays: decoded, cropped and resized one by one, so that no archive is held at full size."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from bench.datasets.shared.resize import centre_crop_box, resize
from bench.errors import DataError

Box = tuple[int, int, int, int]
Crop = Callable[[int, int], Box]
"""Width and height of a picture to the square (left, top, right, bottom) that is kept of it, in pixels."""


def read_pictures(
    paths: Sequence[Path], resolution: int, crops: Sequence[Crop] | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """uint8 (N, 3, resolution, resolution), and how many pictures were not RGB and how many were smaller than that.

    crops: one per picture; None keeps the largest centred square. Raises `DataError` naming an unreadable picture.
    """
    images = np.empty((len(paths), 3, resolution, resolution), np.uint8)
    converted = np.zeros(len(paths), bool)
    enlarged = np.zeros(len(paths), bool)

    def read(at: int) -> None:
        square, converted[at] = read_square(paths[at], crops[at] if crops else centre_crop_box)
        enlarged[at] = len(square) < resolution
        images[at] = resize(square, resolution).transpose(2, 0, 1)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for _ in threads.map(read, range(len(paths))):
            pass
    return images, {"num_converted": int(converted.sum()), "num_enlarged": int(enlarged.sum())}


def read_square(path: Path, crop: Crop) -> tuple[np.ndarray, bool]:
    """The square part of one picture, uint8 (H, H, 3), and whether it had to be converted to RGB.

    Turned upright first where the camera noted how it was held. Transparent parts are laid on white.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            converted = picture.mode != "RGB"
            if picture.mode[0] in "IF":
                raise DataError(f"{path}: pixels of mode {picture.mode} hold more than 8 bits: save it as 8-bit RGB")
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            return np.asarray(picture.convert("RGB").crop(crop(*picture.size))), converted
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable picture: {error}") from error
