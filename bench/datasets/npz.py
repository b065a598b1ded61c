"""Real images from a NumPy archive.

The archive holds `images`, uint8 (N, H, H, 3), and optionally `labels`, integers (N,), `class_names` (C,), `filenames`
(N,), and further integer columns (N,) that a subset can select on, such as `padding_bar_px`. It is read without
pickles, and images are streamed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import DataConfig
from bench.datasets.shared.npz_archive import NpzArchive, read_labels
from bench.datasets.shared.resize import resize
from bench.datasets.shared.source import BYTES_PER_ID, Source
from bench.errors import DataError
from bench.files import remembered_sha256
from bench.machine.memory import check_memory
from bench.options import option

VERSION = 1
CITATION = ""
NO_FACTS = ("labels", "class_names", "filenames")


@dataclass
class Config(DataConfig):
    """A NumPy archive with `images` uint8 (N, H, H, 3) and optionally `labels`, `class_names`, `filenames`."""

    name: str = "npz"
    path: str = option(stage=None, file=True)
    subset: str | None = option(None, stage=None)


def checksum(config: Config) -> str:
    """Return the SHA-256 of the file."""
    return remembered_sha256(existing(config))


def existing(config: Config) -> Path:
    """Return the path of the archive. Raises `DataError` if there is no such file."""
    path = Path(config.path).expanduser()
    if not path.is_file():
        raise DataError(f"data.path={config.path!r}: there is no such file (looked in {path.resolve().parent})")
    return path


def open_source(config: Config) -> Source:
    """Return the source. Raises `DataError` for a missing file, a file of another format, and an array of the wrong
    shape or dtype."""
    archive = NpzArchive(existing(config))
    path, headers = archive.path, dict(archive.headers)
    if "images" not in headers:
        raise DataError(f"{path} has no array 'images'; it has {', '.join(headers) or 'none'}")
    images = headers.pop("images")
    num, side = images.shape[0] if images.shape else 0, images.shape[1] if len(images.shape) == 4 else 0
    if images.dtype != np.uint8 or images.shape != (num, side, side, 3):
        raise DataError(f"{path}: images are {images.dtype} {images.shape}, expected uint8 (N, H, H, 3)")
    if images.is_fortran:
        raise DataError(
            f"{path}: images are in Fortran order and cannot be streamed: save np.ascontiguousarray(images)"
        )
    for name in ("labels", "filenames"):
        if name in headers and headers[name].shape != (num,):
            raise DataError(f"{path}: {name} has shape {headers[name].shape}, expected ({num},), one entry per image")
    check_memory(num * BYTES_PER_ID, f"{path}: the names of {num} images")

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        check_memory(len(rows) * 3 * config.resolution**2, f"{path}: {len(rows)} images of {config.resolution} px")
        resized = np.empty((len(rows), 3, config.resolution, config.resolution), np.uint8)
        for at, image in archive.rows("images", rows):
            resized[at] = resize(image, config.resolution).transpose(2, 0, 1)
        return resized, {"num_enlarged": len(rows) if side < config.resolution else 0}

    labels, label_names = read_labels(archive)
    facts = {
        name: archive.load(name).astype(np.int64)
        for name, header in headers.items()
        if name not in NO_FACTS and header.shape == (num,) and np.issubdtype(header.dtype, np.integer)
    }
    width = max(6, len(str(num)))
    names = archive.load("filenames") if "filenames" in headers else (f"{i:0{width}d}" for i in range(num))
    return Source([str(name) for name in names], read, labels, label_names, facts)
