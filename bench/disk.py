"""What has to be on the disk before it is relied on."""

import os
from pathlib import Path


def fsync(path: Path) -> None:
    """Waits until a file, or a directory's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
