"""One maker per result, over processes and machines: a lock file that its holder keeps fresh.

`filelock.SoftFileLease` needs no lock service, only a file system on which exclusive creation is atomic. A holder
that died on this machine is noticed at once (its pid is gone); one that died elsewhere, when its file has not changed
for `LEASE_SECONDS` of the waiter's own monotonic clock, so neither skewed clocks nor one that goes backwards can
expire a live holder. A holder that was suspended past its lease may go on beside its successor: both make the same
bytes, and publishing is atomic, so the first one done wins and nothing is harmed but time.
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
    """Holds `lock` for the body of the `with`; waits for whoever has it, and says once for whom.

    Raises `OSError` where the lock file cannot be written, and `filelock.Timeout` where somebody has it and
    `wait` is false.
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
