"""Archives with a known checksum, and the folders that they are unpacked to. A partial or wrong archive is never used.

A data set is identified by the content of the files that are read, not by the name of their folder. The unpacked folder
contains a listing of the files' checksums, made from the verified archive. A folder without a listing is identified by
its own content if its archive is not available either.
"""

import functools
import hashlib
import json
import logging
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from bench import files
from bench.errors import DataError
from bench.files import checksum_of, remembered_sha256, write_aside

if TYPE_CHECKING:
    from bench.datasets.shared.manifest import Manifest

log = logging.getLogger(__name__)

LISTING = ".sha256.json"
"""Name of the listing in an unpacked folder: {"archive": checksum of the archive, "files": {name below the folder:
SHA-256}}."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a download folder, because the chains of a sweep may start at the same time. The folder is
    created if needed. Raises `DataError` if it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error}") from error
    try:
        yield
    finally:
        lock.release()


def fetch(url: str, target: Path, checksum: str) -> None:
    """Download `url` to `target`, which appears only after its checksum, SHA-256 or MD5, has been verified.

    Raises `DataError` for a failed download or a wrong checksum.
    """
    try:
        files.download(url, target, checksum)
    except OSError as error:
        raise DataError(
            f"cannot download {url} ({error}). Without network: fetch it elsewhere and put it at {target.resolve()}"
        ) from error


def unpacked(root: Path, folder: str, file: str, manifest: "Manifest", *, download: bool) -> Path:
    """Return the folder that an archive is unpacked to, `root / folder`, after downloading and unpacking it if needed.

    Args:
        root: The folder that contains, or will contain, the unpacked folder and the archive.
        folder: Name of the unpacked folder, both below `root` and in the archive.
        file: Name of the archive.
        manifest: The manifest, which has the name of the data set, its URL, and the checksum of the archive.
        download: Whether the network may be used.

    Raises:
        DataError: The folder is missing and may not be downloaded, the download failed, or the archive has a wrong
            checksum or is unsafe.
    """
    target, archive = root / folder, root / file
    if target.is_dir():
        return target
    if not download and not archive.exists():
        raise DataError(
            f"{manifest.name} is not in {target.resolve()}: set data.download=true, or put {file} into {root.resolve()}"
        )
    with locked(root):
        if not target.is_dir():
            assert manifest.url is not None
            if not archive.exists():
                fetch(manifest.url, archive, manifest.checksums[file])
            unpack(archive, folder, target, manifest.checksums[file])
    return target


def verify(path: Path, checksum: str) -> None:
    """Raise `DataError` if the checksum of a file, SHA-256 or MD5, is not `checksum`."""
    algorithm, actual = checksum_of(path, checksum)
    if actual != checksum:
        raise DataError(f"{path} has {algorithm} {actual}, expected {checksum}: delete it, it is not used")


def unpack(archive: Path, member: str, target: Path, checksum: str) -> None:
    """Unpack the folder `member` of a tar archive to `target`, which appears complete, with its listing, or not at all.
    The caller must hold the lock of the parent folder, because the remains of an earlier call that was killed are
    removed.

    Raises `DataError` for a wrong checksum, a damaged archive, and an archive with members or links that point outside
    of its folder.
    """
    verify(archive, checksum)
    workplace = target.parent / f".{target.name}-unpacking"
    try:
        shutil.rmtree(workplace, ignore_errors=True)
        workplace.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            tar.extractall(workplace, filter="data")
        if not (workplace / member).is_dir():
            raise DataError(f"{archive} has no folder {member}/")
        _write_listing(workplace / member, checksum, _files(workplace / member))
        (workplace / member).replace(target)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"cannot unpack {archive}: {error}") from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def identify(folder: Path, archive: Path, member: str, checksum: str) -> str:
    """Return the checksum that identifies the files of an unpacked folder.

    Args:
        folder: The unpacked folder.
        archive: Path of the archive, which need not exist.
        member: Name of the folder in the archive.
        checksum: Checksum of the archive.

    Returns:
        `checksum` if the folder has the files of that archive. If there is neither a listing nor the archive to verify
        this, "files sha256:" followed by a hash of names and contents, with a warning.

    Raises:
        DataError: A file is missing or differs from the one in the archive.
    """
    expected = _read_listing(folder, checksum)
    if expected is None and archive.is_file():
        verify(archive, checksum)
        expected = _contents(archive, member)
        with suppress(OSError):  # in a read-only folder, the listing is recomputed each time
            _write_listing(folder, checksum, expected)
    if expected is None:
        return _own_content(folder, archive.name)
    found = {name: remembered_sha256(folder / name) for name in expected if (folder / name).is_file()}
    differing = [name for name, digest in expected.items() if found.get(name) != digest]
    if differing:
        raise DataError(
            f"{len(differing)} of {len(expected)} files in {folder} are missing or not those of {archive.name}, e.g. "
            f"{differing[0]}: delete that folder and run again with data.download=true; pictures of your own are read "
            "by data=folder"
        )
    return checksum


def _own_content(folder: Path, archive: str) -> str:
    text = "".join(f"{name}\0{digest}\n" for name, digest in sorted(_files(folder).items()))
    content = f"files sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    _warn_of_own_content(folder, archive, content)
    return content


@functools.cache
def _warn_of_own_content(folder: Path, archive: str, content: str) -> None:
    """Warn once per process and content."""
    log.warning(
        "%s was not unpacked by this program and %s is not beside it: it cannot be verified that these are its files, "
        "so the results are identified by their content (%s), not by the data set's checksum",
        folder,
        archive,
        content,
    )


def _files(folder: Path) -> dict[str, str]:
    """Return name below the folder -> SHA-256 of every file below a folder, except hidden files."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): remembered_sha256(path) for path in paths}


def _contents(archive: Path, member: str) -> dict[str, str]:
    """Return what `_files` would return for the folder `member` after unpacking. Raises `DataError` for a damaged
    archive."""
    files = {}
    try:
        with tarfile.open(archive) as tar:
            for entry in tar:
                name = entry.name.removeprefix("./").removeprefix(f"{member}/")
                content = tar.extractfile(entry) if entry.isfile() and name != entry.name.removeprefix("./") else None
                if content is not None and not Path(name).name.startswith("."):
                    files[name] = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"cannot read {archive}: {error}") from error
    return files


def _write_listing(folder: Path, checksum: str, files: dict[str, str]) -> None:
    with write_aside(folder / LISTING) as partial:
        partial.write_text(json.dumps({"archive": checksum, "files": files}, indent=0) + "\n")


def _read_listing(folder: Path, checksum: str) -> dict[str, str] | None:
    """Return the listing of the archive with this checksum; None if there is no listing, or it is of another
    archive."""
    try:
        listing = json.loads((folder / LISTING).read_text())
        return dict(listing["files"]) if listing["archive"] == checksum else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
