"""Download and unpack an archive of known checksum. A partial or wrong archive is never used."""

import hashlib
import shutil
import tarfile
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

from bench.errors import DataError
from bench.files import remembered_sha256

BLOCK = 1 << 20


def fetch(url: str, target: Path, sha256: str) -> None:
    """Download `url` to `target`, which appears only after its checksum has been verified.

    Raises `DataError` for a failed download and for a wrong checksum.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=60) as response, part.open("wb") as file:
            while block := response.read(BLOCK):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != sha256:
            raise DataError(f"{url} has sha256 {digest.hexdigest()}, expected {sha256}: the download is not used")
        part.replace(target)
    except (OSError, HTTPException) as error:
        raise DataError(
            f"cannot download {url} ({error}). Without network: fetch it elsewhere and put it at {target.resolve()}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def verify(path: Path, sha256: str) -> None:
    """Raise `DataError` if the SHA-256 of a file is not `sha256`."""
    actual = remembered_sha256(path)
    if actual != sha256:
        raise DataError(f"{path} has sha256 {actual}, expected {sha256}: delete it, it is not used")


def unpack(archive: Path, member: str, target: Path) -> None:
    """Unpack the folder `member` of a tar archive to `target`, which appears whole or not at all.

    Raises `DataError` for a damaged archive and for one with members outside its folder (`..`, absolute paths, links).
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
