"""SIGTERM, which a cluster sends before it takes a machine away: save, and exit with a status that means "try again".

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

log = logging.getLogger(__name__)

EXIT_STATUS = 75
"""EX_TEMPFAIL of sysexits.h, "try again later": all progress is saved, and the same command resumes."""


ECHO_SECONDS = 1.0
"""A second SIGTERM within this time is the first one again: a cluster tells all processes of a job, and a launcher
those that it has started."""


class Interrupted(BaseException):
    """The process was asked to stop. Not an `Exception`, which a sweep would treat as a failed chain and go on."""


class _State:
    depth = 0
    requested = False
    requested_at = 0.0


@contextmanager
def on_sigterm() -> Iterator[None]:
    """Raise `Interrupted` on SIGTERM within the `with`. Called from any thread but the main one, this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _State.requested = False


@contextmanager
def deferred() -> Iterator[None]:
    """Let a first SIGTERM within the `with` only make `requested` true; a second one stops at once."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1


def requested() -> bool:
    """Return whether a SIGTERM arrived within `deferred`."""
    return _State.requested


def _handle(number: int, frame: FrameType | None) -> None:
    if _State.depth and not _State.requested:
        _State.requested, _State.requested_at = True, time.monotonic()
        log.warning("SIGTERM: saving a checkpoint and stopping")
        return
    if _State.depth and time.monotonic() - _State.requested_at < ECHO_SECONDS:
        return
    raise Interrupted
