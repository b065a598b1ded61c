"""The store: `make` returns a finished result, and produces it first if it is not stored yet."""

import errno
import logging
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.files import fsync
from bench.store import lease, result_files
from bench.store.specs import spec_hash

log = logging.getLogger(__name__)

NO_PERMISSION = (errno.EROFS, errno.EACCES, errno.EPERM)
WRONG_KIND = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP)
"""Error numbers for a file in place of a folder, a folder in place of a file, and links to nothing or to themselves."""

Produce = Callable[[Path, Path], dict[str, Any]]
"""produce(out, work) -> facts. See `Store.make`."""

_uses: ContextVar[list[str] | None] = ContextVar("_uses", default=None)
"""Keys of the results that producing the current one has requested so far; None outside `produce`."""

_verified: dict[Path, result_files.Stamp] = {}
"""Results whose checksums this process has verified, with their stamps at that time. An unchanged result is read in
full only once."""


@dataclass(frozen=True)
class Result:
    """A finished result.

    key: "<stage>/<hash>". path: the directory with the stage's files. facts: what the producer returned. reused:
    whether the result was already stored. checksum: SHA-256 of the content of all its files.
    """

    key: str
    path: Path
    facts: dict[str, Any]
    reused: bool
    checksum: str = ""


class Store:
    """Results of stages under `root`, which may be shared by any number of processes and machines."""

    def __init__(
        self,
        root: Path,
        lease_seconds: float = lease.LEASE_SECONDS,
        required: Mapping[str, Sequence[str]] | None = None,
        user: str = "",
    ) -> None:
        """Open a store.

        Args:
            root: the store's directory.
            lease_seconds: how long a lock file may stay unchanged before its holder counts as dead. All processes that
                share the store must use the same value.
            required: stage -> the files that every result must have; `stage_files.REQUIRED` for a chain.
            user: the name of the chain that uses this store, for the log.
        """
        self.root = Path(root).absolute()
        self.lease_seconds = lease_seconds
        self.required = required or {}
        self.user = user

    def path(self, key: str) -> Path:
        """Return the path that the result of a key ("<stage>/<hash>") has or would have."""
        stage, digest = key.split("/")
        return self.root / stage / digest[:2] / digest

    def work_spec(self, key: str) -> Path:
        """Return the file that holds the spec of a result that was started and is not finished."""
        return self.root / "work" / f"{key}.json"

    def work(self, key: str) -> list[Path]:
        """Return the scratch directories of an unfinished result, newest first. There is at most one, unless a process
        was suspended for longer than its lease."""
        stage, digest = key.split("/")
        found = [path for path in (self.root / "work" / stage).glob(f"{digest}.*") if path.is_dir()]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def find(self, stage: str, spec: dict[str, Any]) -> Result | None:
        """Return the finished result of a spec, with its checksums verified; None if there is none or it is damaged."""
        key = f"{stage}/{spec_hash(stage, spec)}"
        try:
            return self.open(key)
        except result_files.Damaged as damage:
            log.warning("%s is damaged and not used: %s", self.path(key), damage)
            return None

    def make(self, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        """Return the stored result of a spec, or let `produce(out, work)` produce it first.

        `produce` writes the files of the result into `out`, an empty temporary directory, and returns facts as plain
        JSON. `work` is the spec's own scratch directory: files there survive a kill and are passed to the next attempt,
        until the result is published. If several processes call this at once, one produces and the others wait. A
        process that was suspended until another one took over publishes nothing, and uses the other's result.

        Raises `StoreError` if the disk is full, if a store that cannot be written lacks the result, if the store needs
        a folder where there is a file or the reverse, or if `produce` does not write a file that the stage requires.
        Any other error of `produce` is passed on, and nothing is published.
        """
        result = self._make(stage, spec, produce)
        outer = _uses.get()
        if outer is not None:
            outer.append(result.key)
        return result

    def _make(self, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        key = f"{stage}/{spec_hash(stage, spec)}"
        while True:
            with suppress(result_files.Damaged):  # checked again, and logged, under the lease
                stored = self.open(key)
                if stored is not None:
                    with suppress(OSError):
                        os.utime(stored.path)  # the time of last use, for pruning; a read-only store keeps none
                    return stored
            log.debug("%s is not stored in %s yet", key, self.root)
            try:
                with self._explaining(key), self.hold(key) as is_held:
                    return self._load_or_set_aside(key) or self._produce(key, spec, produce, is_held)
            except lease.Lost:
                log.warning("%s: another process took over while this one was suspended; nothing is published", key)

    def _produce(self, key: str, spec: dict[str, Any], produce: Produce, is_held: Callable[[], bool]) -> Result:
        """Produce and publish a result that is not stored. Raises `lease.Lost` if the lease is not held at the end.

        Both directories have names that no other process uses, so a successor that takes over neither deletes files
        that this process continues to write nor writes into the same files.
        """
        stage, digest = key.split("/")
        name = f"{digest}.{secrets.token_hex(4)}"
        for stale in (self.root / "tmp" / stage).glob(f"{digest}.*"):  # of a process that was killed or suspended
            self.discard(stale)
        out = result_files.make_directory(self.root / "tmp" / stage / name)
        work = self._adopt_work(key, name)
        result_files.write_spec(self.work_spec(key), stage, spec)
        inside = _uses.set([])
        try:
            facts = produce(out, work)
            self._publish(out, key, spec, facts, is_held)
        except Exception as error:
            if is_held():
                raise
            result_files.remove(work)  # the successor renamed the directory, so this one was written after the loss
            raise lease.Lost(key) from error
        finally:
            _uses.reset(inside)
            result_files.remove(out)
        result_files.remove(work)
        self.work_spec(key).unlink(missing_ok=True)
        result = self.open(key)
        assert result is not None
        return replace(result, reused=False)

    def _adopt_work(self, key: str, name: str) -> Path:
        """Return the scratch directory of this name, with the complete files of an earlier attempt. Its partial files
        are removed, because a suspended process may still be writing them."""
        work = self.root / "work" / key.split("/")[0] / name
        found = self.work(key)
        for older in found[1:]:
            self.discard(older)
        if not found:
            return result_files.make_directory(work)
        found[0].rename(work)
        for partial in work.rglob("*.partial"):
            partial.unlink()
        return work

    def lock(self, key: str) -> Path:
        """Return the path of the lock file that is held while a result is produced."""
        return self.root / "locks" / f"{key}.lock"

    def hold(self, key: str, wait: bool = True) -> AbstractContextManager[Callable[[], bool]]:
        """Hold the lease of a result, as `lease.hold` does."""
        return lease.hold(self.lock(key), key, self.lease_seconds, wait=wait, user=self.user)

    def discard(self, path: Path) -> None:
        """Remove a directory of the store that another process may be using."""
        result_files.discard(path, self.root / "tmp" / "discarded")

    def open(self, key: str) -> Result | None:
        """Return the stored result, or None if there is none.

        Its checksums are verified on this process's first use, and again if its files have changed since. Raises
        `result_files.Damaged` if they do not match.
        """
        path = self.path(key)
        if not path.is_dir():
            return None
        manifest = result_files.read_manifest(path, key)
        try:
            now = result_files.stamp(path)
            if _verified.get(path) != now:
                result_files.verify(path, manifest, self.required.get(key.split("/")[0], ()))
                _verified[path] = now
        except OSError as error:
            raise result_files.Damaged(str(error)) from error
        return Result(key, path, manifest["facts"], reused=True, checksum=result_files.checksum(manifest))

    def _load_or_set_aside(self, key: str) -> Result | None:
        """Load a result as `open` does, but move a damaged one aside. Only for the holder of the key's lease."""
        try:
            return self.open(key)  # published while this process waited for the lease
        except result_files.Damaged as damage:
            aside = self.root / "damaged" / f"{key}.{secrets.token_hex(4)}"
            log.warning("%s is damaged (%s): moved to %s, and made again", self.path(key), damage, aside)
            result_files.make_directory(aside.parent)
            self.path(key).rename(aside)
            return None

    def _publish(
        self, out: Path, key: str, spec: dict[str, Any], facts: dict[str, Any], is_held: Callable[[], bool]
    ) -> None:
        required = self.required.get(key.split("/")[0], ())
        result_files.seal(out, key, spec, facts, sorted(set(_uses.get() or [])), required)
        final = self.path(key)
        result_files.make_directory(final.parent)
        if not is_held():
            raise lease.Lost(key)
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
        """Turn the errors of a file system that is full, is read-only, or has a file where the store needs a folder (or
        the reverse) into a `StoreError` that explains what to do."""
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
            if _is_within(error, self.root, NO_PERMISSION):
                raise StoreError(
                    f"{self.root} cannot be written ({error}) and has no {key}: finished results can be read from "
                    f"there, but new ones need a store_dir that can be written"
                ) from error
            if _is_within(error, self.root, WRONG_KIND):
                raise StoreError(
                    f"{self.root} is no store, or something else lies in it ({error}): {key} was not published. Move "
                    f"that away, or set store_dir to another folder"
                ) from error
            raise


def _is_full(error: Exception) -> bool:
    """Return whether an error means a full disk. Some libraries drop the errno: safetensors keeps only the message, and
    NumPy's `tofile` only reports how much it wrote."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    short = isinstance(error, OSError) and re.search(r"\d+ requested and \d+ written", str(error))
    return bool(short) or "No space left on device" in str(error)


def _is_within(error: Exception, root: Path, numbers: Collection[int]) -> bool:
    """Return whether an error has one of these numbers and concerns a file of the store or a parent folder of the
    store, not another file that the producer uses."""
    if not isinstance(error, OSError) or error.errno not in numbers or error.filename is None:
        return False
    return Path(os.fsdecode(error.filename)).is_relative_to(root) or root.is_relative_to(os.fsdecode(error.filename))
