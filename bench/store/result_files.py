"""What makes a directory a result: a manifest with size and SHA-256 of every file, itself sealed by a checksum."""

import contextlib
import hashlib
import json
import platform
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine.files import fsync, sha256_of
from bench.store.specs import canonical

SPEC, MANIFEST = "spec.json", "manifest.json"

Stamp = tuple[tuple[str, int, int], ...]
"""(name, size, mtime in ns) of every file: equal stamps mean that nobody wrote in between."""


class Damaged(Exception):
    """A stored result is not what its manifest says; the message names the file and how it differs."""


def write_spec(path: Path, stage: str, spec: dict[str, Any]) -> None:
    path.write_text(json.dumps({"stage": stage, "spec": spec}, indent=2, ensure_ascii=False) + "\n")


def read_spec(path: Path) -> dict[str, Any]:
    """What `write_spec` wrote. Raises `Damaged`."""
    try:
        spec: dict[str, Any] = json.loads(path.read_text())["spec"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path.name} cannot be read: {error}") from error
    return spec


def seal(directory: Path, key: str, spec: dict[str, Any], facts: dict[str, Any], uses: list[str]) -> None:
    """Writes spec.json and manifest.json beside the files of a finished stage and flushes all to the disk.
    uses: keys of the results that were asked for while this one was made."""
    taken = [name for name in (SPEC, MANIFEST) if (directory / name).exists()]
    assert not taken, f"{key} wrote {taken[0]}, which is the store's own"
    stage = key.split("/")[0]
    write_spec(directory / SPEC, stage, spec)
    manifest: dict[str, Any] = {
        "key": key,
        "files": {name: _describe(directory / name) for name in names(directory)},
        "facts": json.loads(canonical(facts, f"what stage {stage!r} returned")),
        "uses": uses,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
    }
    manifest["sha256"] = _seal_of(manifest)
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    fsync(directory / MANIFEST)
    for folder in {directory, *(path.parent for path in directory.rglob("*"))}:
        fsync(folder)


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest, its own checksum verified. Raises `Damaged`."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise Damaged(f"{MANIFEST} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("sha256") != _seal_of(manifest):
        raise Damaged(f"{MANIFEST} does not match its own checksum")
    return manifest


def verify(directory: Path, manifest: dict[str, Any]) -> None:
    """Compares every file of a result with the manifest. Raises `Damaged` at the first difference."""
    files = manifest["files"]
    strange = sorted(set(files) ^ set(names(directory)))
    if strange:
        raise Damaged(f"{strange[0]} is {'missing' if strange[0] in files else 'not in the manifest'}")
    for name, expected in sorted(files.items()):
        size = (directory / name).stat().st_size
        if size != expected["size"]:
            raise Damaged(f"{name} has {size} bytes, {expected['size']} were written")
    for name, expected in sorted(files.items()):
        if sha256_of(directory / name) != expected["sha256"]:
            raise Damaged(f"{name} does not match its checksum")


def names(directory: Path) -> list[str]:
    """Relative names of the files of a result, the manifest left out."""
    found = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    return sorted(name for name in found if name != MANIFEST)


def stamp(directory: Path) -> Stamp:
    stats = [(name, (directory / name).stat()) for name in [*names(directory), MANIFEST]]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def size_of(directory: Path) -> tuple[int, int]:
    """(bytes, files) below a directory; files that vanish while counting are left out."""
    total = count = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                total, count = total + path.stat().st_size, count + 1
    return total, count


def remove(path: Path) -> None:
    """Removes a directory tree, or what can be removed of it: it is scratch, and the next run tries again."""
    shutil.rmtree(path, ignore_errors=True)


def make_directory(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _describe(path: Path) -> dict[str, Any]:
    fsync(path)
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}


def _seal_of(manifest: dict[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(canonical(rest, "a manifest").encode()).hexdigest()
