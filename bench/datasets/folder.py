"""Real images from the picture files below a folder. The class of a picture is the name of its parent folder."""

import hashlib
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import DataConfig
from bench.datasets.shared.pictures import read_pictures, unreadable, what_it_is
from bench.datasets.shared.source import Source
from bench.errors import DataError
from bench.files import remembered_sha256
from bench.options import option

VERSION = 1
CITATION = ""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
OTHER_PICTURES = (".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".jfif", ".ppm", ".raw", ".svg")
"""Suffixes of pictures that are not read. They are counted, so that the user notices them."""
SHOWN = 10

log = logging.getLogger(__name__)


@dataclass
class Config(DataConfig):
    """Every picture below a folder; the class of a picture is the name of its parent folder. unreadable: `error` raises
    an error that lists the files that cannot be read as pictures; `skip` leaves them out and counts them."""

    name: str = "folder"
    path: str = option(stage=None, file=True)
    unreadable: str = option("error", one_of=("error", "skip"))
    subset: str | None = option(None, stage=None)


def find_pictures(config: Config) -> tuple[Path, list[Path]]:
    """Return the folder and every picture at any depth below it, sorted by path, without hidden files.

    Raises `DataError` for a missing folder, a folder without pictures, and picture names that are not files (folders,
    broken links, FIFOs, devices) or not in UTF-8.
    """
    root = Path(config.path).expanduser()
    if not root.is_dir():
        raise DataError(f"data.path={config.path!r}: there is no such folder (looked in {root.resolve().parent})")
    paths = [path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not paths:
        raise DataError(f"data.path={config.path!r}: no picture below it; accepted are {', '.join(SUFFIXES)}")
    wrong = [f"{path.relative_to(root)} ({what_it_is(path)})" for path in paths if not path.is_file()]
    wrong += [f"{str(path.relative_to(root))!a} (not in UTF-8)" for path in paths if not _is_utf8(path)]
    if wrong:
        shown = ", ".join(wrong[:3]).encode(errors="backslashreplace").decode()
        raise DataError(f"data.path={config.path!r}: {len(wrong)} names below it are no picture files, e.g. {shown}")
    return root, sorted(paths, key=lambda path: path.relative_to(root).as_posix())


def _is_utf8(path: Path) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in str(path))  # Python decodes invalid bytes as surrogates


def checksum(config: Config) -> str:
    """Return the SHA-256 of the names and contents of all pictures: renaming or editing a picture changes the data
    set."""
    root, paths = find_pictures(config)
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(root).as_posix()}\0{remembered_sha256(path)}\n".encode())
    return digest.hexdigest()


def open_source(config: Config) -> Source:
    """Return the source. Raises `DataError` for a missing or empty folder. `Source.read` raises it for pictures that
    cannot be read, unless they are left out."""
    root, paths = find_pictures(config)
    others = Counter(path.suffix.lower() for path in root.rglob("*") if path.suffix.lower() in OTHER_PICTURES)
    if others:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        log.warning("data.path=%r: not read, convert them to PNG if they are wanted: %s files", config.path, counts)
    left_out = unreadable(paths) if config.unreadable == "skip" else {}
    if left_out:
        log.warning("data.unreadable=skip: %s", _listing(root, left_out, len(paths)))
        paths = [path for path in paths if path not in left_out]
        if not paths:
            raise DataError(f"data.path={config.path!r}: none of the pictures below it can be read")
    folders = [path.parent.name or root.resolve().name for path in paths]
    classes = sorted(set(folders))
    index = {name: number for number, name in enumerate(classes)}
    labels = np.asarray([index[name] for name in folders], np.int64)
    notes = {"num_other_formats": sum(others.values()), "num_unreadable": len(left_out)}

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        try:
            items, counts = read_pictures([paths[row] for row in rows], config.resolution)
        except DataError as error:
            wrong = unreadable(paths)
            if len(wrong) < 2:
                raise DataError(f"{error}; data.unreadable=skip leaves it out") from error
            raise DataError(f"{_listing(root, wrong, len(paths))}\ndata.unreadable=skip leaves them out") from error
        return items, counts

    source_ids = [path.relative_to(root).as_posix() for path in paths]
    return Source(source_ids, read, {"class": labels}, {"class": classes}, notes=notes)


def _listing(root: Path, wrong: dict[Path, str], num: int) -> str:
    """Return a text with the number of unreadable files, and the names and reasons of the first `SHOWN` of them."""
    lines = [f"  {path.relative_to(root).as_posix()}: {reason}" for path, reason in list(wrong.items())[:SHOWN]]
    lines += [f"  and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    return "\n".join([f"{len(wrong)} of {num} files below {root} cannot be read as pictures:", *lines])
