"""Log lines on stderr, which a live view prints above itself (`bench.machine.console`)."""

import logging
import sys
from typing import TextIO


class StderrHandler(logging.StreamHandler):
    """Writes to the current `sys.stderr`. Python's own handler keeps the original one, and would write into a live view
    that has replaced it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Return the stream to write to."""
        return sys.stderr
