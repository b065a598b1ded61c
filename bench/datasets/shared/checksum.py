"""Checksums of files, remembered within the process for as long as the file's size and time stay the same."""

import hashlib
from functools import lru_cache
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Hex digest of a file's content. A sweep asks many times for the same file: it is read once."""
    status = path.stat()
    return _file_sha256(str(path.resolve()), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=65536)
def _file_sha256(path: str, size: int, modified: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
