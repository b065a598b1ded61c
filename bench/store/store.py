"""The store: `make` returns a finished result, and produces it first if it is not stored yet."""

import errno
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.files import fsync
from bench.store import lease, result_files
from bench.store.specs import spec_hash

log = logging.getLogger(__name__)

Produce = Callable[[Path, Path], dict[str, Any]]
"""produce(out, work) -> facts. See `Store.make`."""

_uses: ContextVar[list[str] | None] = ContextVar("_uses", default=None)
"""Keys of the results that were requested so far while the current one is produced; None outside `produce`."""

_verified: dict[Path, result_files.Stamp] = {}
"""Results whose checksums this process has verified, with their stamps at that time: each is read in full once."""


@dataclass(frozen=True)
class Result:
    """A finished result.

    key: "<stage>/<hash>". path: the directory with the stage's files. facts: what the producer returned. reused:
    whether the result was already stored.
    """

    key: str
    path: Path
    facts: dict[str, Any]
    reused: bool


class Store:
    """Results of stages under `root`, which may be shared by any number of processes and machines."""

    def __init__(self, root: Path, lease_seconds: float = lease.LEASE_SECONDS) -> None:
        self.root = Path(root).absolute()
        self.lease_seconds = lease_seconds

    def path(self, key: str) -> Path:
        """Return the path that the result of a key ("<stage>/<hash>") has or would have."""
        stage, digest = key.split("/")
        return self.root / stage / digest[:2] / digest

    def work(self, key: str) -> Path:
        """Return the scratch directory of an unfinished result. Its spec is next to it, with the suffix .json."""
        return self.root / "work" / key

    def find(self, stage: str, spec: dict[str, Any]) -> Result | None:
        """Return the finished result of a spec, with its checksums verified; None if there is none or it is damaged."""
        key = f"{stage}/{spec_hash(stage, spec)}"
        try:
            return self._load(key)
        except result_files.Damaged as damage:
            log.warning("%s is damaged and not used: %s", self.path(key), damage)
            return None

    def make(self, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        """Return the stored result of a spec, or let `produce(out, work)` produce it first.

        `produce` writes the files of the result into `out`, an empty temporary directory, and returns facts as plain
        JSON. `work` is the spec's own scratch directory: files there survive a kill and are passed to the next attempt,
        until the result is published. If several processes call this at once, one produces and the others wait.

        Raises `StoreError` if the disk is full, and if there is no such result in a store that cannot be written. Any
        other error of `produce` is passed on, and nothing is published.
        """
        result = self._make(stage, spec, produce)
        outer = _uses.get()
        if outer is not None:
            outer.append(result.key)
        return result

    def _make(self, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        key = f"{stage}/{spec_hash(stage, spec)}"
        with suppress(result_files.Damaged):  # checked again, and logged, under the lease
            stored = self._load(key)
            if stored is not None:
                with suppress(OSError):
                    os.utime(stored.path)  # the time of last use, for pruning; a read-only store keeps none
                return stored
        log.debug("%s is not stored in %s yet", key, self.root)
        digest = key.split("/")[1]
        with self._explaining(key), lease.hold(self.lock(key), key, self.lease_seconds):
            stored = self._load_or_set_aside(key)  # published while this process waited for the lease
            if stored is not None:
                return stored
            scratch = self.root / "tmp" / stage
            for stale in scratch.glob(f"{digest}.*"):  # left by a process that was killed: this one holds the lease
                result_files.remove(stale)
            out = result_files.make_directory(scratch / f"{digest}.{secrets.token_hex(4)}")
            work = result_files.make_directory(self.work(key))
            result_files.write_spec(work.with_suffix(".json"), stage, spec)
            inside = _uses.set([])
            try:
                facts = produce(out, work)
                self._publish(out, key, spec, facts)
            except Exception as error:
                stored = self._load(key)  # stored only if a successor, who took over the lease, has finished
                if stored is None:
                    raise
                log.warning("%s was published by another process meanwhile: using its result (%s)", key, error)
                return stored
            finally:
                _uses.reset(inside)
                result_files.remove(out)
            result_files.remove(work)
            work.with_suffix(".json").unlink(missing_ok=True)
            result = self._load(key)
        assert result is not None
        return Result(result.key, result.path, result.facts, reused=False)

    def lock(self, key: str) -> Path:
        """Return the lock file that is held while a result is produced."""
        return self.root / "locks" / f"{key}.lock"

    def _load(self, key: str) -> Result | None:
        """Return the stored result, or None; its checksums are verified on this process's first use.

        Raises `result_files.Damaged` if they do not match.
        """
        path = self.path(key)
        if not path.is_dir():
            return None
        manifest = result_files.read_manifest(path)
        try:
            now = result_files.stamp(path)
            if _verified.get(path) != now:
                result_files.verify(path, manifest)
                _verified[path] = now
        except OSError as error:
            raise result_files.Damaged(str(error)) from error
        return Result(key, path, manifest["facts"], reused=True)

    def _load_or_set_aside(self, key: str) -> Result | None:
        """Load a result as `_load` does, but move a damaged one aside. Only for the holder of the key's lease."""
        try:
            return self._load(key)
        except result_files.Damaged as damage:
            aside = self.root / "damaged" / f"{key}.{secrets.token_hex(4)}"
            log.warning("%s is damaged (%s): moved to %s, and made again", self.path(key), damage, aside)
            result_files.make_directory(aside.parent)
            self.path(key).rename(aside)
            return None

    def _publish(self, out: Path, key: str, spec: dict[str, Any], facts: dict[str, Any]) -> None:
        result_files.seal(out, key, spec, facts, uses=sorted(set(_uses.get() or [])))
        final = self.path(key)
        result_files.make_directory(final.parent)
        try:
            out.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            log.warning("%s was published by another process meanwhile: using its result", final)
        else:
            _verified[final] = result_files.stamp(final)  # its bytes were hashed a moment ago
        fsync(final.parent)

    @contextmanager
    def _explaining(self, key: str) -> Iterator[None]:
        """Turn the errors of a full or read-only file system into a `StoreError` that explains what to do."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if _is_full(error):
                raise StoreError(
                    f"the disk of {self.root} is full: {key} was not published; finished results are kept. "
                    f"Free some space (python -m bench.store prune {self.root}) or set store_dir to another disk, "
                    f"then run the same command again: it resumes from the last checkpoint"
                ) from error
            if _is_read_only(error, self.root):
                raise StoreError(
                    f"{self.root} cannot be written ({error}) and has no {key}: finished results can be read from "
                    f"there, but new ones need a store_dir that can be written"
                ) from error
            raise


def _is_full(error: Exception) -> bool:
    """Return whether an error means a full disk. Some libraries drop the errno: safetensors keeps the message, and
    NumPy's tofile only reports how much it wrote."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    short = isinstance(error, OSError) and re.search(r"\d+ requested and \d+ written", str(error))
    return bool(short) or "No space left on device" in str(error)


def _is_read_only(error: Exception, root: Path) -> bool:
    """Return whether an error means that a file of the store, not another file of the producer, cannot be written."""
    if not isinstance(error, OSError) or error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
        return False
    return error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(root)
