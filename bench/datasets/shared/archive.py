"""Fetching and unpacking an archive of a known checksum, so that a half-done or a wrong one is never used."""

import hashlib
import shutil
import tarfile
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

from bench.datasets.shared.checksum import file_sha256
from bench.errors import DataError

BLOCK = 1 << 20


def fetch(url: str, target: Path, sha256: str) -> None:
    """Downloads to `target`, which appears only once its checksum is right. Raises `DataError`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=60) as response, part.open("wb") as file:
            while block := response.read(BLOCK):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != sha256:
            raise DataError(f"{url} has sha256 {digest.hexdigest()}, expected {sha256}: not used")
        part.replace(target)
    except (OSError, HTTPException) as error:
        raise DataError(
            f"cannot download {url} ({error}). Without network: fetch it elsewhere and put it at {target.resolve()}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def verify(path: Path, sha256: str) -> None:
    found = file_sha256(path)
    if found != sha256:
        raise DataError(f"{path} has sha256 {found}, expected {sha256}: delete it, it is not used")


def unpack(archive: Path, member: str, target: Path) -> None:
    """Unpacks the folder `member` of a tar archive to `target`, which appears whole or not at all.

    Raises `DataError` for a broken archive and for one with members that would land outside (`..`, absolute, links).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(workplace, filter="data")
        if not (workplace / member).is_dir():
            raise DataError(f"{archive} has no folder {member}/")
        (workplace / member).replace(target)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"cannot unpack {archive}: {error}") from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
