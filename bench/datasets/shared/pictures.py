"""Read picture files as uint8 arrays. Each is decoded, cropped and resized on its own, so that memory holds only the
resized images."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from bench.datasets.shared.resize import centre_crop_box, resize
from bench.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""Accepted formats by Pillow's names, whatever the suffix of a file. Others are excluded because Pillow starts another
program for some of them, such as PostScript."""

Box = tuple[int, int, int, int]
Crop = Callable[[int, int], Box]
"""Maps the width and height of a picture to the square crop (left, top, right, bottom), all in pixels."""


def read_pictures(
    paths: Sequence[Path], resolution: int, crops: Sequence[Crop] | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read pictures at one resolution.

    Args:
        paths: One file per picture, N in all.
        resolution: Side of the images returned, in pixels.
        crops: One crop per picture; None: the largest centred square.

    Returns:
        uint8 (N, 3, resolution, resolution), and two counts: `num_converted`, pictures that were not RGB, and
        `num_enlarged`, crops that were smaller than `resolution`.

    Raises:
        DataError: A picture is unreadable; the message names it.
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


def unreadable(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the files that `read_pictures` would refuse, with the reason for each. Decodes all of them."""

    def reason(path: Path) -> str:
        try:
            read_square(path, centre_crop_box)
        except DataError as error:
            return str(error).removeprefix(f"{path}").removeprefix(" is not a readable picture").lstrip(": ")
        return ""

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return {path: why for path, why in zip(paths, threads.map(reason, paths), strict=True) if why}


def read_square(path: Path, crop: Crop) -> tuple[np.ndarray, bool]:
    """Return the square crop of one picture, uint8 (H, H, 3), and whether the picture had to be converted to RGB.

    The EXIF orientation is applied first. Transparent parts are composited on white. Raises `DataError`, which names
    the file, for a picture that is unreadable or has more than 8 bits per channel.
    """
    if not path.is_file():  # reading a FIFO or a device could block
        raise DataError(f"{path} is not a readable picture: {what_it_is(path)}")
    try:
        with Image.open(path, formats=FORMATS) as opened:
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


def what_it_is(path: Path) -> str:
    """Return a description of a path that is not a regular file, for an error message."""
    if path.is_dir():
        return "a folder"
    if path.is_fifo():
        return "a FIFO"
    if not path.exists():
        return "a link to nothing" if path.is_symlink() else "there is no such file"
    return "a device or socket"
