"""The end of a command whose output is read by another one, which may stop early."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

CUT_OFF = 128 + 13
"""What a shell reports for a command that SIGPIPE has ended."""


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Print in the body of the `with`; where stdout is a pipe that `head` or a pager closes, end the body quietly."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # Python would report it once more when it flushes stdout at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its status; with that of SIGPIPE where a pipe broke before there was one, because a
    check that was cut off has not passed."""
    status = CUT_OFF
    with reader_may_leave():
        status = main()
    sys.exit(status)
