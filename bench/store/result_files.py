"""The files of a result: a spec, and a manifest with size and SHA-256 of every file, sealed by its own checksum."""

import contextlib
import hashlib
import json
import platform
import secrets
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.files import fsync, sha256_of
from bench.store import stage_files
from bench.store.specs import canonical

SPEC, MANIFEST = "spec.json", "manifest.json"

Stamp = tuple[tuple[str, int, int], ...]
"""(name, size, mtime in ns) of every file: equal stamps mean that nothing was written in between."""


class Damaged(Exception):
    """A stored result does not match its manifest; the message names the file and the difference."""


def write_spec(path: Path, stage: str, spec: dict[str, Any]) -> None:
    """Write the name and the spec of a stage as JSON."""
    path.write_text(json.dumps({"stage": stage, "spec": spec}, indent=2, ensure_ascii=False) + "\n")


def read_spec(path: Path) -> dict[str, Any]:
    """Read the spec that `write_spec` wrote. Raises `Damaged` if the file is missing or is not such a file."""
    try:
        spec: dict[str, Any] = json.loads(path.read_text())["spec"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path.name} cannot be read: {error}") from error
    return spec


def seal(
    directory: Path,
    key: str,
    spec: dict[str, Any],
    facts: dict[str, Any],
    uses: list[str],
    required: Sequence[str] = (),
) -> None:
    """Turn the files of a finished stage into a result: add spec.json and manifest.json, and flush all files to disk.

    Args:
        directory: the directory into which the stage has written its files.
        key: "<stage>/<hash>" of the result.
        spec: every input of the stage, as plain JSON.
        facts: what the stage returned, as plain JSON.
        uses: keys of the results that were requested while this one was produced.
        required: the files that every result of the stage must have (`bench.store.stage_files`).

    Raises:
        StoreError: the facts are not plain JSON, or a required file is missing.
    """
    taken = [name for name in (SPEC, MANIFEST) if (directory / name).exists()]
    assert not taken, f"{key} wrote {taken[0]}, a name that the store reserves"
    absent = stage_files.absent(required, file_names(directory))
    if absent:
        raise StoreError(f"{key} was made without {absent}, which every result of its stage has: not published")
    stage = key.split("/")[0]
    write_spec(directory / SPEC, stage, spec)
    manifest: dict[str, Any] = {
        "key": key,
        "files": {name: _describe(directory / name) for name in file_names(directory)},
        "facts": json.loads(canonical(facts, f"the value that stage {stage!r} returned")),
        "uses": uses,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
    }
    manifest["sha256"] = _seal_of(manifest)
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    fsync(directory / MANIFEST)
    for folder in {directory, *(path.parent for path in directory.rglob("*"))}:
        fsync(folder)


def read_manifest(directory: Path, key: str) -> dict[str, Any]:
    """Read a manifest, and verify its own checksum and its key. Raises `Damaged` if that fails."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise Damaged(f"{MANIFEST} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("sha256") != _seal_of(manifest):
        raise Damaged(f"{MANIFEST} does not match its own checksum")
    if manifest["key"] != key:
        raise Damaged(f"it is the result of {manifest['key']}, in the place of {key}")
    return manifest


def verify(directory: Path, manifest: dict[str, Any], required: Sequence[str] = ()) -> None:
    """Compare every file of a result with the manifest, and check that the manifest names every required file. Raises
    `Damaged` at the first difference."""
    files = manifest["files"]
    absent = stage_files.absent(required, files)
    if absent:
        raise Damaged(f"it was published without {absent}, which every result of its stage has")
    differing = sorted(set(files) ^ set(file_names(directory)))
    if differing:
        raise Damaged(f"{differing[0]} is {'missing' if differing[0] in files else 'not in the manifest'}")
    for name, expected in sorted(files.items()):
        size = (directory / name).stat().st_size
        if size != expected["size"]:
            raise Damaged(f"{name} has {size} bytes, expected {expected['size']}")
    for name, expected in sorted(files.items()):
        if sha256_of(directory / name) != expected["sha256"]:
            raise Damaged(f"{name} does not match its checksum")


def file_names(directory: Path) -> list[str]:
    """Return the relative names of a result's files, without the manifest."""
    names = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    return sorted(name for name in names if name != MANIFEST)


def stamp(directory: Path) -> Stamp:
    """Return the size and modification time of every file of a result, including the manifest."""
    stats = [(name, (directory / name).stat()) for name in [*file_names(directory), MANIFEST]]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def size_of(directory: Path) -> tuple[int, int]:
    """Return (bytes, files) below a directory; files that vanish while counting are left out."""
    total = count = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                total, count = total + path.stat().st_size, count + 1
    return total, count


def checksum(manifest: dict[str, Any]) -> str:
    """Return one SHA-256 for the content of all files of a result; it does not depend on when or where it was made."""
    return hashlib.sha256(canonical(manifest["files"], "the files of a manifest").encode()).hexdigest()


def remove(path: Path) -> None:
    """Remove a scratch directory as far as possible; the next run tries again."""
    shutil.rmtree(path, ignore_errors=True)


def discard(path: Path, trash: Path) -> None:
    """Remove a directory that another process may be using. It is renamed into `trash` first, so that no process ever
    sees or publishes a partly removed one. Raises `OSError` if it cannot be renamed."""
    doomed = make_directory(trash) / f"{path.name}.{secrets.token_hex(4)}"
    path.rename(doomed)
    remove(doomed)


def make_directory(path: Path) -> Path:
    """Create a directory and its parents if they do not exist, and return it."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def _describe(path: Path) -> dict[str, Any]:
    fsync(path)
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}


def _seal_of(manifest: dict[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(canonical(rest, "a manifest").encode()).hexdigest()
