"""Files that a later run relies on: checksums, flushes to the disk, and writes that happen whole or not at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path


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


def remembered_sha256(path: Path) -> str:
    """Return `sha256_of(path)`, read again only when the file's size or time has changed: a sweep asks many times for
    the same file."""
    status = path.stat()
    return _remembered(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=65536)
def _remembered(path: Path, size: int, modified: int) -> str:
    return sha256_of(path)
