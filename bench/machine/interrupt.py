"""SIGTERM, as a cluster sends it before it takes a machine away: save, and leave with an exit status of its own.

Everything on disk is safe against a kill at any moment, so most code simply stops where it is. A training would lose
the steps since its last checkpoint; it runs `deferred`, asks `requested` after each step, and saves first.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)

EXIT_STATUS = 75
"""EX_TEMPFAIL of sysexits.h, "try again later": what was done is saved, and the same command goes on from there."""


class Interrupted(BaseException):
    """The process was asked to stop. Not an `Exception`: a sweep must not take it for a failed chain and go on."""


class _State:
    depth = 0
    requested = False


@contextmanager
def on_sigterm() -> Iterator[None]:
    """Within the `with`, SIGTERM raises `Interrupted` in the main thread. Elsewhere than there, does nothing."""
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
    """Within the `with`, a first SIGTERM only makes `requested` true; a second one does not wait."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1


def requested() -> bool:
    return _State.requested


def _handle(number: int, frame: FrameType | None) -> None:
    if _State.depth and not _State.requested:
        _State.requested = True
        log.warning("SIGTERM: saving a checkpoint and stopping")
        return
    raise Interrupted
