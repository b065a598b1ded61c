"""A side works in its own process, one turn at a time, ends with its use, and reports errors from there."""

import os
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import pytest

from bench.perf.pairs import timed
from bench.perf.sides import Side


def test_results_come_from_another_process_which_ends_with_its_use():
    with Side(partial, timed, os.getpid) as side:  # the turn is partial(timed, os.getpid)
        (seconds, there), (_, again) = side(), side()
        assert there == again != os.getpid() and seconds >= 0
        os.kill(there, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(there, 0)


def test_errors_of_the_other_process_are_raised_here():
    with Side(partial, int, "twelve") as side, pytest.raises(RuntimeError, match=r"(?s)ValueError.*twelve"):
        side()
    with pytest.raises(RuntimeError, match="TypeError"):
        Side(partial)  # fails before the first turn


def test_a_process_that_is_killed_is_noticed():
    with Side(partial, os._exit, 9) as side, pytest.raises(BrokenProcessPool):
        side()
