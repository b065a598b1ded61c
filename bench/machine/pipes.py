"""The end of a command whose output is read by another command, which may stop reading early."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

CUT_OFF = 128 + 13
"""The status that a shell reports for a command ended by SIGPIPE."""


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Print in the body of the `with`. If stdout is a pipe that `head` or a pager closes, end the body quietly."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # Python would report the error again when it flushes stdout at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its status. If a pipe broke before the command returned, exit with the status of
    SIGPIPE, because a check that was cut off has not passed."""
    status = CUT_OFF
    with reader_may_leave():
        status = main()
    sys.exit(status)
