"""CIFAR-10 (Krizhevsky 2009): 50 000 training and 10 000 test photographs of 32 px in ten classes.

The data are read from the binary version of the archive, whose records are bytes, because the Python version consists
of pickles. Training items are from the published training part, held-out items from its test part.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import DataConfig
from bench.datasets.shared import archive
from bench.datasets.shared.manifest import shipped
from bench.datasets.shared.resize import resize
from bench.datasets.shared.source import Source
from bench.errors import DataError
from bench.machine.memory import check_memory
from bench.options import option

VERSION = 1
CITATION = """@techreport{krizhevsky2009learning,
  title       = {Learning Multiple Layers of Features from Tiny Images},
  author      = {Krizhevsky, Alex},
  institution = {University of Toronto},
  year        = {2009},
}"""
FOLDER = "cifar-10-batches-bin"
FILE = "cifar-10-binary.tar.gz"
TRAIN, TEST = tuple(f"data_batch_{number}" for number in range(1, 6)), "test_batch"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
RECORD = 1 + 3 * SIDE**2
"""Size of a record in bytes: its class, then the red, green and blue pixels, each row by row."""


@dataclass
class Config(DataConfig):
    """CIFAR-10. classes: which of the ten classes to use; each has 5000 training and 1000 held-out photographs."""

    name: str = "cifar10"
    root: str = option("data/cache", stage=None, local=True)
    download: bool = option(True, stage=None, local=True)
    classes: list[str] = option(list(CLASSES), some_of=CLASSES)
    resolution: int = option(SIDE, at_least=8, at_most=1024)


def checksum(config: Config) -> str:
    """Return the SHA-256 of the archive from its manifest, or a checksum of the folder's files if the folder cannot be
    traced to the archive. Raises `DataError` if the folder differs from the archive."""
    known, root = shipped()["cifar10"].checksums[FILE], Path(config.root).expanduser()
    if not (root / FOLDER).is_dir():
        return known
    return archive.identify(root / FOLDER, root / FILE, FOLDER, known)


def open_source(config: Config) -> Source:
    """Return a source of the selected classes, after downloading and unpacking the archive if needed.

    Raises `DataError` for a failed download, a wrong checksum, an unsafe archive, and files that differ from the
    archive.
    """
    folder = _folder(config)
    checksum(config)
    batches = {name: _records(folder / f"{name}.bin") for name in (*TRAIN, TEST)}
    wanted = [CLASSES.index(name) for name in config.classes]
    found = [(name, row) for name, batch in batches.items() for row in np.flatnonzero(np.isin(batch[:, 0], wanted))]

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        check_memory(len(rows) * 3 * config.resolution**2, f"{len(rows)} images of {config.resolution} px")
        images = np.empty((len(rows), 3, config.resolution, config.resolution), np.uint8)
        for at, (name, row) in enumerate(found[row] for row in rows):
            picture = batches[name][row, 1:].reshape(3, SIDE, SIDE).transpose(1, 2, 0)
            images[at] = resize(picture, config.resolution).transpose(2, 0, 1)
        return images, {"num_enlarged": len(rows) if config.resolution > SIDE else 0}

    source_ids = [f"{name}-{row:04d}" for name, row in found]
    labels = np.asarray([batches[name][row, 0] for name, row in found], np.int64)
    is_test = np.asarray([name == TEST for name, _ in found], bool)
    return Source(source_ids, read, {"class": labels}, {"class": list(CLASSES)}, is_test=is_test)


def _records(path: Path) -> np.ndarray:
    """Return the records of a file, uint8 (n, 3073), memory-mapped."""
    try:
        size = path.stat().st_size
        if size == 0 or size % RECORD:
            raise DataError(f"{path} has {size} bytes, expected records of {RECORD}")
        records = np.memmap(path, np.uint8, mode="r").reshape(-1, RECORD)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if records[:, 0].max() >= len(CLASSES):
        raise DataError(f"{path}: a label is {records[:, 0].max()}, expected 0 to {len(CLASSES) - 1}")
    return records


def _folder(config: Config) -> Path:
    manifest = shipped()["cifar10"]
    return archive.unpacked(Path(config.root).expanduser(), FOLDER, FILE, manifest, download=config.download)
