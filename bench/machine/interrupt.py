"""Handling of SIGTERM, which a cluster sends before it takes a machine away: save, and exit with a status that means
"try again".

Files on the disk survive a kill at any moment, so most code simply stops. Training would lose the steps since its last
checkpoint, so it runs within `deferred`, calls `requested` after each step, and saves before it stops.
"""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from bench.machine import torchrun

log = logging.getLogger(__name__)

EXIT_STATUS = 75
"""EX_TEMPFAIL of sysexits.h, "try again later": all progress is saved, and the same command resumes the run."""


ECHO_SECONDS = 1.0
"""Seconds within which a second SIGTERM counts as a repetition of the first. A cluster signals all processes of a job,
and a launcher passes the signal on to those that it has started. Torch's launcher may pass it on at any later time, and
kills the processes itself after half a minute, so under it every later SIGTERM counts as a repetition."""


class Interrupted(BaseException):
    """The process was asked to stop. It is not an `Exception`, because a sweep would treat that as a failed chain and
    continue."""


class _State:
    depth = 0
    requested = False
    heard_at: float | None = None


@contextmanager
def on_sigterm(for_good: bool = False) -> Iterator[None]:
    """Raise `Interrupted` on SIGTERM within the `with`. In any thread except the main one, this does nothing.

    for_good: Whether the process ends after the `with`, so that after one SIGTERM it ignores further ones.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _handle)
    if before is not _handle:
        _State.heard_at = None  # `stop` may have been called outside the `with`
    try:
        yield
    finally:
        ends = for_good and _State.heard_at is not None
        signal.signal(signal.SIGTERM, signal.SIG_IGN if ends else before)
        _State.requested = False
        if before is not _handle:
            _State.heard_at = None


@contextmanager
def deferred() -> Iterator[None]:
    """Defer a first SIGTERM within the `with`: it only makes `requested` true. A second one stops at once.

    Raises `Interrupted` at the end of the `with` if a SIGTERM arrived too late for the body to notice it.
    """
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
    if _State.requested and not _State.depth:
        raise Interrupted


def requested() -> bool:
    """Return whether a SIGTERM arrived within `deferred`."""
    return _State.requested


def stop() -> NoReturn:
    """Raise `Interrupted` as on SIGTERM, which another process of this chain may have received before this one."""
    _State.heard_at = time.monotonic()
    raise Interrupted


def _handle(number: int, frame: FrameType | None) -> None:
    now, heard_at = time.monotonic(), _State.heard_at
    if heard_at is not None and (torchrun.has_agent() or now - heard_at < ECHO_SECONDS):
        return
    _State.heard_at = now
    if _State.depth and heard_at is None:
        _State.requested = True
        log.warning("SIGTERM: saving a checkpoint and stopping")
        return
    raise Interrupted
