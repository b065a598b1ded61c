"""Oxford 102 Category Flowers (Nilsback & Zisserman 2008) through torchvision: 8189 photographs, 102 classes.

The three official splits are merged, because a benchmark of collapse needs one training pool and one held-out set of
its own; both come from the split of this package. Each picture is cropped to its largest centred square.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config import DataConfig
from bench.datasets.shared import archive
from bench.datasets.shared.pictures import read_pictures
from bench.datasets.shared.source import Source
from bench.errors import DataError
from bench.options import option

if TYPE_CHECKING:
    from torchvision.datasets import Flowers102

VERSION = 1
CITATION = """@inproceedings{nilsback2008flowers,
  title     = {Automated Flower Classification over a Large Number of Classes},
  author    = {Nilsback, Maria-Elena and Zisserman, Andrew},
  booktitle = {Indian Conference on Computer Vision, Graphics and Image Processing},
  year      = {2008},
}"""
SPLITS = ("train", "val", "test")


@dataclass
class Config(DataConfig):
    """Oxford 102 Flowers through torchvision. subset: the name of a subset in data/flowers102.yaml, or the path of a
    YAML file with one; null: all classes."""

    name: str = "flowers102"
    root: str = option("data/cache", stage=None, local=True)
    download: bool = option(True, stage=None, local=True)
    subset: str | None = option(None, stage=None)


def _torchvision() -> "type[Flowers102]":
    """Return torchvision's class. It is imported here because the import takes a second."""
    from torchvision.datasets import Flowers102

    return Flowers102


def checksum(config: Config) -> str:
    """Return the MD5 checksums that torchvision requires of the three downloaded files. If the photographs cannot be
    traced to their archive, a checksum of the photographs replaces that of the archive. Raises `DataError` if they
    differ from the archive."""
    known = dict(sorted(_torchvision()._file_dict.values()))
    name, folder = _torchvision()._file_dict["image"][0], _folder(config)
    if (folder / "jpg").is_dir():
        known[name] = archive.identify(folder / "jpg", folder / name, "jpg", known[name])
    return " ".join(f"{name}:{md5}" for name, md5 in known.items())


def open_source(config: Config) -> Source:
    """Return the source, after downloading missing files.

    Raises `DataError` if files are missing or damaged; the message explains what to do without a network.
    """
    paths: list[Path] = []
    labels: list[int] = []
    for part in _splits(config):
        paths += part._image_files
        labels += part._labels
    checksum(config)
    if not paths:
        raise DataError(f"{_folder(config)}: setid.mat names no image")
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(paths)} photographs are not in {_folder(config) / 'jpg'}, e.g. {missing[0]}: "
            "delete that folder and run again with data.download=true"
        )

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        return read_pictures([paths[row] for row in rows], config.resolution)

    names = [path.name for path in paths]
    return Source(names, read, {"class": np.asarray(labels, np.int64)}, {"class": list(_torchvision().classes)})


def _folder(config: Config) -> Path:
    return Path(config.root).expanduser() / "flowers-102"


def _splits(config: Config) -> "list[Flowers102]":
    flowers = _torchvision()
    folder = _folder(config)
    root = folder.parent
    try:
        if config.download:
            _download(folder)
        return [flowers(root, split) for split in SPLITS]
    except (OSError, RuntimeError, DataError) as error:
        files = ", ".join(name for name, _ in flowers._file_dict.values())
        raise DataError(
            f"flowers102 is not in {folder.resolve()} and was not downloaded ({error}). "
            f"{'Without network' if config.download else 'Set data.download=true, or without network'}: fetch {files} "
            f"from {flowers._download_url_prefix} elsewhere, put them into that folder and keep data.download=true, "
            "which then only unpacks"
        ) from error


def _download(folder: Path) -> None:
    """Download missing files and unpack the photographs. torchvision's own download is not used: it has no time-out,
    leaves a partial folder if it is killed, and treats that folder as complete afterwards."""
    flowers = _torchvision()
    with archive.locked(folder):
        unpacked = (folder / "jpg").is_dir()
        for key, (name, md5) in flowers._file_dict.items():
            if not (folder / name).exists() and not (key == "image" and unpacked):
                archive.fetch(flowers._download_url_prefix + name, folder / name, md5)
        if not unpacked:
            archive.unpack(
                folder / flowers._file_dict["image"][0], "jpg", folder / "jpg", flowers._file_dict["image"][1]
            )
