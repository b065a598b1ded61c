"""Caltech-UCSD Birds-200-2011 (Wah et al. 2011): 11 788 photographs of 200 species, cropped to their bounding boxes.

The crop follows Martínez et al. (arXiv 2306.06130), whose square is centred on the box and (1 + padding) times as long
as the box's longer side, with padding 0.25. One difference: if the square extends past the edge of the photograph, the
paper trims each side symmetrically about the centre and stretches the rest to a square. Here the square is first moved
inside the photograph, and is made smaller only if it is longer than the photograph's shorter side. The crop is always
a square of real pixels, without bars or distortion.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench.config import DataConfig
from bench.datasets.shared import archive
from bench.datasets.shared.manifest import shipped
from bench.datasets.shared.pictures import Box, Crop, read_pictures
from bench.datasets.shared.source import Source
from bench.errors import DataError
from bench.options import option

VERSION = 1
CITATION = """@techreport{wah2011cub,
  title       = {The {Caltech-UCSD Birds-200-2011} Dataset},
  author      = {Wah, Catherine and Branson, Steve and Welinder, Peter and Perona, Pietro and Belongie, Serge},
  institution = {California Institute of Technology},
  number      = {CNS-TR-2011-001},
  year        = {2011},
}"""
FOLDER = "CUB_200_2011"
FILE = "CUB_200_2011.tgz"


@dataclass
class Config(DataConfig):
    """CUB-200-2011, cropped to its bounding boxes widened by `padding` times their longer side."""

    name: str = "cub200"
    root: str = option("data/cache", stage=None, local=True)
    download: bool = option(True, stage=None, local=True)
    subset: str | None = option(None, stage=None)
    padding: float = option(0.25, at_least=0.0, at_most=2.0)


def checksum(config: Config) -> str:
    """Return the SHA-256 of the archive from its manifest, or a checksum of the folder's files if the folder cannot be
    traced to the archive. Raises `DataError` if the folder differs from the archive."""
    known, root = shipped()["cub200"].checksums[FILE], Path(config.root).expanduser()
    if not (root / FOLDER).is_dir():
        return known
    return archive.identify(root / FOLDER, root / FILE, FOLDER, known)


def square_around(box: tuple[float, float, float, float], padding: float, width: int, height: int) -> Box:
    """Return the square crop of a photograph around a bounding box.

    Args:
        box: The bounding box (x, y, w, h), in pixels.
        padding: Extra length of the square, as a share of the box's longer side.
        width: Width of the photograph, in pixels.
        height: Height of the photograph, in pixels.

    Returns:
        The square (left, top, right, bottom), in pixels, inside the photograph.
    """
    x, y, w, h = box
    side = max(1, min(round((1 + padding) * max(w, h)), width, height))
    left = min(max(round(x + w / 2 - side / 2), 0), width - side)
    top = min(max(round(y + h / 2 - side / 2), 0), height - side)
    return left, top, left + side, top + side


def open_source(config: Config) -> Source:
    """Return the source, after downloading and unpacking the archive if needed.

    Raises `DataError` for a failed download, a wrong checksum, files that differ from the archive, an unsafe archive,
    or inconsistent tables.
    """
    folder = _folder(config)
    checksum(config)
    names = _table(folder / "images.txt")
    boxes = _table(folder / "bounding_boxes.txt")
    classes = _table(folder / "classes.txt")
    labels = _table(folder / "image_class_labels.txt")
    if not names.keys() == boxes.keys() == labels.keys():
        raise DataError(
            f"{folder}: images.txt, bounding_boxes.txt and image_class_labels.txt list "
            f"{len(names)}, {len(boxes)} and {len(labels)} images, expected the same"
        )
    class_names = list(classes.values())
    position = {number: at for at, number in enumerate(classes)}
    try:
        label_column = np.asarray([position[labels[number][0]] for number in names], np.int64)
        crops = [_crop(boxes[number], config.padding) for number in names]
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"{folder}: the tables do not fit each other or are not numbers: {error}") from error
    source_ids = [" ".join(name) for name in names.values()]
    outside = [name for name in source_ids if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    if outside:
        raise DataError(f"{folder / 'images.txt'} names {outside[0]!r}, which is not below {folder / 'images'}")
    paths = [folder / "images" / name for name in source_ids]

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        return read_pictures([paths[row] for row in rows], config.resolution, [crops[row] for row in rows])

    return Source(source_ids, read, {"class": label_column}, {"class": [" ".join(name) for name in class_names]})


def _crop(fields: list[str], padding: float) -> Crop:
    x, y, w, h = (float(field) for field in fields)
    return lambda width, height: square_around((x, y, w, h), padding, width, height)


def _table(path: Path) -> dict[str, list[str]]:
    """Return the lines "number field field ..." of a table, as a mapping from number to fields."""
    try:
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable table: {error}") from error
    return {row[0]: row[1:] for row in rows}


def _folder(config: Config) -> Path:
    manifest = shipped()["cub200"]
    return archive.unpacked(Path(config.root).expanduser(), FOLDER, FILE, manifest, download=config.download)
