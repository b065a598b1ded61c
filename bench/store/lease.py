"""Leases: at most one process, on any machine, produces a result. Its holder keeps a lock file fresh.

`filelock.SoftFileLease` needs no lock service, only a file system on which exclusive creation is atomic. A holder that
died on this machine is noticed at once, because its pid is gone. A holder that died on another machine is noticed when
its file has not changed for `LEASE_SECONDS` on the waiting process's own monotonic clock, so clocks that are skewed or
go backwards cannot expire the lease of a live holder. A holder that was suspended for longer than its lease may
continue at the same time as its successor. That only costs time: both produce the same bytes, publishing is atomic, and
the first one to finish wins.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

from bench.store.result_files import make_directory

log = logging.getLogger(__name__)

LEASE_SECONDS = 120.0
HEARTBEATS_PER_LEASE = 8


@contextmanager
def hold(lock: Path, what: str, lease_seconds: float = LEASE_SECONDS, wait: bool = True) -> Iterator[None]:
    """Hold a lock for the body of the `with`. If another process holds it, wait, and log once which process that is.

    Args:
        lock: the lock file.
        what: the result that is locked, as it is named in the log.
        lease_seconds: how long the lock file may stay unchanged before its holder counts as dead.
        wait: whether to wait for another holder.

    Raises:
        OSError: the lock file cannot be written.
        filelock.Timeout: another process holds the lock, and `wait` is false.
    """
    make_directory(lock.parent)
    lease = SoftFileLease(
        lock,
        lease_duration=lease_seconds,
        heartbeat_interval=lease_seconds / HEARTBEATS_PER_LEASE,
        thread_local=False,
        poll_interval=min(1.0, lease_seconds / HEARTBEATS_PER_LEASE),
        on_compromise=lambda loss: log.warning("lost the lease on %s (%s)", what, loss.reason),
    )
    try:
        lease.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise
        owner = lease.owner
        by = f"process {owner.pid} on {owner.hostname}" if owner else "another process"
        log.info("waiting for %s, which %s is making (%s)", what, by, lock)
        lease.acquire(timeout=-1)
    try:
        yield
    finally:
        lease.release()
