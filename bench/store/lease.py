"""Leases: at most one process, on any machine, produces a result. The holder of a lease keeps its lock file fresh.

`filelock.SoftFileLease` needs no lock service, only a file system on which exclusive creation is atomic. A holder that
died on this machine is detected at once, because its pid is gone. Any other lock file expires, whatever it contains,
when it has not changed for the duration of the lease on the waiting process's own monotonic clock. Clocks that are
skewed or go backwards therefore cannot expire the lease of a live holder, and an empty or unreadable lock file, left by
a kill or a power cut, blocks nobody for longer. filelock itself waits forever for an empty one, so the expiry is
implemented here.

A holder that was suspended for longer than its lease may continue at the same time as its successor. It detects the
loss with `is_held`, which every holder calls before it changes anything that other processes can see.
"""

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from bench.store.result_files import make_directory

log = logging.getLogger(__name__)

LEASE_SECONDS = 120.0
HEARTBEATS_PER_LEASE = 8
SAY_EVERY = 60.0
"""Seconds between two log lines of a waiting process."""


class Lost(Exception):
    """Another process has taken over the lease, so nothing that was produced under it may be published."""


@contextmanager
def hold(
    lock: Path, what: str, lease_seconds: float = LEASE_SECONDS, wait: bool = True, user: str = ""
) -> Iterator[Callable[[], bool]]:
    """Hold a lock for the body of the `with` statement. If another process holds it, wait and log the wait.

    Args:
        lock: the lock file.
        what: the name of what is locked, for the log.
        lease_seconds: how long the lock file may stay unchanged before its holder counts as dead.
        wait: whether to wait for another holder.
        user: the name of the chain that requests the lock, for the log.

    Yields:
        `is_held`, which returns whether this process still holds the lock.

    Raises:
        OSError: the lock file cannot be written, or is a folder.
        filelock.Timeout: another process holds the lock, and `wait` is false.
    """
    make_directory(lock.parent)
    lease = SoftFileLease(
        lock,
        lease_duration=lease_seconds,
        heartbeat_interval=lease_seconds / HEARTBEATS_PER_LEASE,
        thread_local=False,
        on_compromise=lambda loss: log.warning("lost the lease on %s (%s)", what, loss.reason),
    )
    waiting = _Waiting(lock, what, lease_seconds, user)
    while not _acquire(lease):
        if not wait:
            raise Timeout(str(lock))
        waiting.look(lease)
        time.sleep(min(1.0, lease_seconds / HEARTBEATS_PER_LEASE))
    try:
        yield lambda: _is_held(lease)
    finally:
        lease.release()


def _acquire(lease: SoftFileLease) -> bool:
    try:
        lease.acquire(timeout=0)
    except (Timeout, LeaseSettingsMismatch):  # the latter: the file states another duration; ours applies
        return False
    return True


def _is_held(lease: SoftFileLease) -> bool:
    owner = lease.owner
    return owner is not None and lease.token is not None and owner.token == lease.token


class _Waiting:
    """The observations of a waiting process: since when a lock file is unchanged, and when the wait was last logged."""

    def __init__(self, lock: Path, what: str, lease_seconds: float, user: str) -> None:
        self._lock, self._what, self._lease_seconds = lock, what, lease_seconds
        self._for = f" for {user}" if user else ""
        self._seen: tuple[int, ...] | None = None
        self._began = self._seen_at = time.monotonic()
        self._said_at = -SAY_EVERY

    def look(self, lease: SoftFileLease) -> None:
        """Inspect the lock file: log its holder at intervals, and remove the file once it has expired."""
        now, state = time.monotonic(), _state(self._lock)
        if state != self._seen:
            self._seen, self._seen_at = state, now
        unchanged = now - self._seen_at
        if now - self._said_at >= SAY_EVERY:
            self._said_at = now
            owner = lease.owner
            by = f"process {owner.pid} on {owner.hostname} holds" if owner else "an unreadable lock file reserves"
            log.info(
                "waiting%s for %s, which %s (%s): %.0f s so far; it counts as dead after %.0f s without a sign of life,"
                " and gave the last one %.0f s ago",
                *(self._for, self._what, by, self._lock, now - self._began, self._lease_seconds, unchanged),
            )
        if state is not None and unchanged >= self._lease_seconds:
            log.warning("%s: no sign of life for %.0f s, so its holder counts as dead", self._lock, unchanged)
            _remove(self._lock, state)


def _state(lock: Path) -> tuple[int, ...] | None:
    """Return (inode, mtime, ctime), times in ns, which change with every heartbeat and with every new lock file; None
    if there is no file."""
    try:
        status = os.lstat(lock)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _remove(lock: Path, expired: tuple[int, ...]) -> None:
    """Remove an expired lock file. If another process has taken over since the inspection, put its lock file back."""
    aside = lock.with_name(f"{lock.name}.expired.{secrets.token_hex(4)}")
    with suppress(FileNotFoundError):  # another process was faster
        lock.rename(aside)
        moved = _state(aside)
        if moved is not None and moved[:2] != expired[:2]:  # a rename changes the ctime
            with suppress(OSError):  # if this fails, `is_held` keeps that process from publishing
                os.link(aside, lock)
        aside.unlink()
