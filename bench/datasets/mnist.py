"""MNIST (LeCun et al. 1998): 60 000 training and 10 000 test pictures of handwritten digits.

The grey pictures of 28 px are padded with two black pixels on each side to 32 px, and have three equal channels.
Training items are from the published training part, held-out items from its test part. The files are read with NumPy.
"""

import gzip
import zlib
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
CITATION = """@article{lecun1998gradient,
  title   = {Gradient-Based Learning Applied to Document Recognition},
  author  = {LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal = {Proceedings of the IEEE},
  volume  = {86},
  number  = {11},
  pages   = {2278--2324},
  year    = {1998},
}"""
FOLDER = "MNIST/raw"
"""Folder below `data.root`, the one in which torchvision stores the same files."""
PARTS = {"train": "train", "test": "t10k"}
"""Part -> the beginning of its file names."""
SIDE, MARGIN = 28, 2


@dataclass
class Config(DataConfig):
    """MNIST, padded to 32 px, with three equal channels and the label `digit`. At most 60 000 training and 10 000
    held-out items."""

    name: str = "mnist"
    root: str = option("data/cache", stage=None, local=True)
    download: bool = option(True, stage=None, local=True)
    resolution: int = option(32, at_least=8, at_most=1024)


def checksum(config: Config) -> str:
    """Return the SHA-256 checksums of the four files from their manifest, because `open_source` reads no other
    files."""
    return " ".join(f"{name}:{sha256}" for name, sha256 in shipped()["mnist"].checksums.items())


def open_source(config: Config) -> Source:
    """Return the source, after downloading the missing files.

    Raises `DataError` for a failed download, a wrong checksum, and files whose content is not that of MNIST.
    """
    folder = _fetched(config)
    labels = {part: _read_idx(folder / f"{stem}-labels-idx1-ubyte.gz", 1) for part, stem in PARTS.items()}
    source_ids = [f"{part}-{index:05d}" for part, digits in labels.items() for index in range(len(digits))]
    num_train = len(labels["train"])

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        check_memory(len(rows) * 3 * config.resolution**2, f"{len(rows)} images of {config.resolution} px")
        images = np.empty((len(rows), 3, config.resolution, config.resolution), np.uint8)
        for part, first in (("train", 0), ("test", num_train)):
            here = np.flatnonzero((rows >= num_train) == (part == "test"))
            if len(here):
                pictures = _pictures(folder / f"{PARTS[part]}-images-idx3-ubyte.gz", len(labels[part]))
                for at in here:
                    square = np.pad(pictures[rows[at] - first], MARGIN)
                    images[at] = resize(np.stack([square] * 3, axis=-1), config.resolution).transpose(2, 0, 1)
        return images, {"num_enlarged": len(rows) if config.resolution > SIDE + 2 * MARGIN else 0}

    digits = np.concatenate(list(labels.values())).astype(np.int64)
    if len(digits) and digits.max() > 9:
        raise DataError(f"{folder}: a label is {digits.max()}, and digits are 0 to 9")
    is_test = np.arange(len(digits)) >= num_train
    return Source(source_ids, read, {"digit": digits}, {"digit": list("0123456789")}, is_test=is_test)


def _fetched(config: Config) -> Path:
    """Return the folder of the four files, after downloading missing files and verifying all checksums."""
    folder, manifest = Path(config.root).expanduser() / FOLDER, shipped()["mnist"]
    absent = [name for name in manifest.checksums if not (folder / name).is_file()]
    if absent and not config.download:
        raise DataError(
            f"mnist is not in {folder.resolve()}: set data.download=true, or put {', '.join(absent)} from "
            f"{manifest.url} there"
        )
    if absent:
        with archive.locked(folder):
            for name in absent:
                if not (folder / name).is_file():
                    try:
                        archive.fetch(f"{manifest.url}{name}", folder / name, manifest.checksums[name])
                    except DataError as error:
                        raise DataError(f"{error}. Missing files of mnist: {', '.join(absent)}") from error
    for name, sha256 in manifest.checksums.items():
        archive.verify(folder / name, sha256)
    return folder


def _pictures(path: Path, num: int) -> np.ndarray:
    """Return the pictures of a part, uint8 (num, 28, 28)."""
    pictures = _read_idx(path, 3)
    if pictures.shape != (num, SIDE, SIDE):
        raise DataError(f"{path} has pictures {pictures.shape}, expected ({num}, {SIDE}, {SIDE}), one for each label")
    return pictures


def _read_idx(path: Path, num_dimensions: int) -> np.ndarray:
    """Return the array of bytes in a compressed IDX file. Its header has 0, 0, 8 (for bytes) and the number of
    dimensions, then the sizes as big-endian integers of four bytes; the values follow. Raises `DataError` for anything
    else."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked: {error}") from error
    start = 4 + 4 * num_dimensions
    if content[:4] != bytes([0, 0, 8, num_dimensions]) or len(content) < start:
        raise DataError(f"{path} is not an IDX file of bytes in {num_dimensions} dimensions")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", num_dimensions, offset=4))
    values = np.frombuffer(content, np.uint8, offset=start)
    if len(values) != int(np.prod(shape)):
        raise DataError(f"{path} has {len(values)} values, but its header says {shape}")
    return values.reshape(shape)
