"""Read NumPy archives (.npz) safely: shapes and dtypes are known from the headers before anything is loaded, items are
streamed in blocks, and a member that is not requested is never opened beyond its header."""

import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import DataError
from bench.machine.memory import check_memory

MOST_HEADER = 10_000
"""Largest size of the header of a member, in bytes, as in NumPy."""
MOST_CLASSES = 65_536
"""Largest number of classes that labels may have."""
DAMAGE = (OSError, ValueError, EOFError, RuntimeError, KeyError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""Exceptions that zipfile and NumPy raise for an archive that is damaged or that they cannot read."""
BLOCK = 1 << 24
"""Size of the blocks that items are read in, in bytes."""


@dataclass(frozen=True)
class Header:
    """The header of a member. start: number of bytes before the values."""

    shape: tuple[int, ...]
    dtype: np.dtype
    is_fortran: bool
    start: int

    @property
    def num_bytes(self) -> int:
        """Return the size of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


class NpzArchive:
    """The arrays of an archive. `headers` maps their names to their headers; members that are not arrays are left
    out."""

    def __init__(self, path: Path) -> None:
        """Read the headers. Raises `DataError` if the file is not a NumPy archive, is encrypted or is damaged."""
        self.path = path
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path} is not a NumPy .npz archive")
        with self._open() as archive:
            members = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            if any(entry.flag_bits & 1 for entry in members):
                raise DataError(f"{path} is encrypted: save it without a password")
            self.headers = {entry.filename.removesuffix(".npy"): _header(archive, entry) for entry in members}

    def load(self, name: str) -> np.ndarray:
        """Return a whole array. Raises `DataError` if it does not fit into memory, is damaged, or needs a pickle."""
        check_memory(self.headers[name].num_bytes, f"{self.path}: {name} {self.headers[name].shape}")
        with self._open() as archive, archive.open(f"{name}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)

    def rows(self, name: str, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (i, the item at rows[i]) for every i, in the order of the file, with one block of items in memory.

        rows: int64 (n,), each in [0, N). Raises `DataError` if the archive is damaged or a block does not fit into
        memory.
        """
        header = self.headers[name]
        size = math.prod(header.shape[1:]) * header.dtype.itemsize
        num = max(1, BLOCK // max(size, 1))
        check_memory(2 * num * size, f"{self.path}: {num} items of {name} {header.shape}")
        order = np.argsort(rows, kind="stable")
        last = int(rows.max(initial=-1)) + 1
        with self._open() as archive, archive.open(f"{name}.npy") as member:
            member.read(header.start)
            for start in range(0, last, num):
                end = min(start + num, header.shape[0])
                content = member.read((end - start) * size)
                if len(content) < (end - start) * size:
                    raise EOFError(f"{name} ends after item {start + len(content) // max(size, 1)}")
                block = np.frombuffer(content, header.dtype).reshape(end - start, *header.shape[1:])
                low, high = np.searchsorted(rows, (start, end), sorter=order)
                for at in order[low:high]:
                    yield int(at), block[rows[at] - start]

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        """Open the archive, and convert every error that a bad archive can cause into a `DataError`."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except DataError:
            raise
        except DAMAGE as error:
            raise DataError(f"{self.path} is not a readable NumPy .npz archive without pickles: {error}") from error


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Header:
    """Return the header of a member. Raises `ValueError` if it is not an array of plain values, or has another size."""
    name = entry.filename
    with archive.open(entry) as member:
        head = io.BytesIO(member.read(MOST_HEADER + 12))
    try:
        version = np.lib.format.read_magic(head)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(head, max_header_size=MOST_HEADER)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}") from error
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    header, there = Header(shape, dtype, is_fortran, head.tell()), entry.file_size - head.tell()
    if header.num_bytes != there:
        raise ValueError(f"{name} of shape {shape} has {there} bytes of values, expected {header.num_bytes}")
    return header


def read_labels(archive: NpzArchive) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Return ({"class": int64 (N,)}, {"class": names}) from the arrays `labels` and `class_names`; ({}, {}) if there
    are no labels. Without `class_names`, the names are the class numbers.

    Raises `DataError` for labels that are not integers (N,), and for labels below -1, beyond the names, or beyond
    `MOST_CLASSES`.
    """
    path, header, named = archive.path, archive.headers.get("labels"), archive.headers.get("class_names")
    if header is None:
        return {}, {}
    if not np.issubdtype(header.dtype, np.integer) or len(header.shape) != 1:
        raise DataError(f"{path}: labels have dtype {header.dtype} and shape {header.shape}, expected integers (N,)")
    if named is not None and (len(named.shape) != 1 or named.shape[0] > MOST_CLASSES):
        raise DataError(f"{path}: class_names have shape {named.shape}, expected at most {MOST_CLASSES} names (C,)")
    labels = archive.load("labels")
    low, top = (int(labels.min()), int(labels.max())) if len(labels) else (0, -1)
    names = None if named is None else [str(name) for name in archive.load("class_names")]
    limit = MOST_CLASSES if names is None else len(names)
    if low < -1 or top >= limit:
        why = f"there are {limit} class names" if names is not None else f"at most {limit} classes are read"
        raise DataError(f"{path}: labels run from {low} to {top}, expected -1 (none) to {limit - 1}, as {why}")
    return {"class": labels.astype(np.int64)}, {"class": [str(i) for i in range(top + 1)] if names is None else names}
