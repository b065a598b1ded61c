"""Helpers for files that a later run relies on: checksums, flushes to the disk, and writes and downloads that happen
completely or not at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

TIMEOUT = 60.0
"""Seconds without a byte after which a download has failed."""


def fsync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content as hex digits. Raises `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a path next to `path` to write to. If the body of the `with` succeeds, the file there replaces `path` and
    is on the disk; if it raises, that file is removed and `path` stays as it was."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        fsync(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def checksum_of(path: Path, like: str) -> tuple[str, str]:
    """Return (algorithm, checksum) of a file. The algorithm is that of the checksum `like`: SHA-256 for 64 hex digits,
    else MD5."""
    if len(like) == 64:
        return "sha256", remembered_sha256(path)
    with path.open("rb") as file:
        return "md5", hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(url: str, path: Path, checksum: str | None = None) -> None:
    """Download a file to `path`, completely or not at all.

    Raises `OSError` if there is no answer or no further byte for `TIMEOUT` seconds, if the file ends early or cannot be
    written, or if its checksum (SHA-256 or MD5) is not the given one.
    """
    import urllib.request  # here, because most commands download nothing
    from http.client import HTTPException

    path.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(path) as partial:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response, partial.open("wb") as file:
                length, received = getattr(response, "length", None), 0
                while block := response.read(1 << 20):
                    received += file.write(block)
        except HTTPException as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
        if length is not None and received != length:
            raise OSError(f"it ended after {received} of {length} bytes")
        if checksum is not None:
            algorithm, actual = checksum_of(partial, checksum)
            if actual != checksum:
                raise OSError(f"it has {algorithm} {actual}, expected {checksum}: the download is not used")


def remembered_sha256(path: Path) -> str:
    """Return `sha256_of(path)`. The file is read again only if its size or modification time has changed, because a
    sweep asks for the same file many times."""
    status = path.stat()
    return _remembered(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=65536)
def _remembered(path: Path, size: int, modified: int) -> str:
    return sha256_of(path)
