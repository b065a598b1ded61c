"""Log lines on stderr, which a live view puts above itself (`bench.machine.console`)."""

import logging
import sys
from typing import TextIO


class StderrHandler(logging.StreamHandler):
    """Writes to what `sys.stderr` is at that moment. Python's own handler keeps what it was at the start, and writes
    into a live view that has taken its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """What to write to."""
        return sys.stderr
