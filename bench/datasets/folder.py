"""Real images from the pictures below a folder. The name of a picture's own folder is its class."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import FolderConfig
from bench.datasets.shared.checksum import file_sha256
from bench.datasets.shared.pictures import read_pictures
from bench.datasets.shared.source import Source
from bench.errors import DataError

VERSION = 1
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def find_pictures(config: FolderConfig) -> tuple[Path, list[Path]]:
    """The folder, and every picture at any depth below it, sorted by name; hidden files are left out."""
    root = Path(config.path).expanduser()
    if not root.is_dir():
        raise DataError(f"data.path={config.path!r}: there is no such folder (looked in {root.resolve().parent})")
    found = [path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not found:
        raise DataError(f"data.path={config.path!r}: no picture below it; known are {', '.join(SUFFIXES)}")
    return root, sorted(found, key=lambda path: path.relative_to(root).as_posix())


def checksum(config: FolderConfig) -> str:
    """sha256 over every picture's name and content: a renamed or retouched picture makes another data set."""
    root, paths = find_pictures(config)
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(root).as_posix()}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def open_source(config: FolderConfig) -> Source:
    """Raises `DataError` for a missing or empty folder; `read` does for an unreadable picture."""
    root, paths = find_pictures(config)
    folders = [path.parent.name or root.resolve().name for path in paths]
    classes = sorted(set(folders))
    index = {name: number for number, name in enumerate(classes)}
    labels = np.asarray([index[name] for name in folders], np.int64)

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        return read_pictures([paths[row] for row in rows], config.resolution)

    source_ids = [path.relative_to(root).as_posix() for path in paths]
    return Source(source_ids, read, {"class": labels}, {"class": classes})
