"""Real images from a NumPy archive.

The archive holds `images`, uint8 (N, H, H, 3), and optionally `labels`, integers (N,), `class_names` (C,), `filenames`
(N,), and further integer columns (N,) that a subset can select on, such as `padding_bar_px`. It is read without
pickles.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import DataConfig
from bench.datasets.shared.resize import resize
from bench.datasets.shared.source import Source
from bench.errors import DataError
from bench.files import remembered_sha256
from bench.options import option

VERSION = 1
CITATION = ""


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
    """Return the source. Raises `DataError` for a missing file, another format, or an array of the wrong shape or
    dtype."""
    path = existing(config)
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not a NumPy .npz archive")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a readable NumPy .npz archive without pickles: {error}") from error
    if "images" not in arrays:
        raise DataError(f"{path} has no array 'images'; it has {', '.join(arrays) or 'none'}")
    images = arrays.pop("images")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2]:
        raise DataError(f"{path}: images are {images.dtype} {images.shape}, expected uint8 (N, H, H, 3)")
    num = len(images)

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        resized = np.empty((len(rows), 3, config.resolution, config.resolution), np.uint8)
        for at, row in enumerate(rows):
            resized[at] = resize(images[row], config.resolution).transpose(2, 0, 1)
        enlarged = len(rows) if images.shape[1] < config.resolution else 0
        return resized, {"num_enlarged": enlarged}

    for name in ("labels", "filenames"):
        if name in arrays and arrays[name].shape != (num,):
            raise DataError(f"{path}: {name} has shape {arrays[name].shape}, expected ({num},), one entry per image")
    names = arrays.pop("filenames", None)
    labels, label_names = _labels(path, arrays)
    facts = {
        name: column.astype(np.int64)
        for name, column in arrays.items()
        if column.shape == (num,) and np.issubdtype(column.dtype, np.integer)
    }
    width = max(6, len(str(num)))
    source_ids = [str(name) for name in names] if names is not None else [f"{i:0{width}d}" for i in range(num)]
    return Source(source_ids, read, labels, label_names, facts)


def _labels(path: Path, arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    given_names = arrays.pop("class_names", None)
    labels = arrays.pop("labels", None)
    if labels is None:
        return {}, {}
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: labels have dtype {labels.dtype}, expected integers")
    top = int(labels.max(initial=-1))
    class_names = [str(name) for name in (range(top + 1) if given_names is None else given_names)]
    if labels.min(initial=0) < -1 or top >= len(class_names):
        raise DataError(
            f"{path}: labels run from {labels.min()} to {top}, expected -1 (none) to {len(class_names) - 1}, "
            f"as there are {len(class_names)} class names"
        )
    return {"class": labels.astype(np.int64)}, {"class": class_names}
