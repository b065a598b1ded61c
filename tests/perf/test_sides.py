"""A side works in a process of its own, one turn at a time, ends with its use, and says what went wrong there."""

import os
from functools import partial

import pytest

from bench.perf.sides import Side, repeat


def test_results_come_from_another_process_which_ends_with_its_use():
    with Side(repeat, partial, os.getpid) as side:  # the work is partial(os.getpid)
        there = side()
        assert there == side() != os.getpid()
        process = side._process
        assert process.is_alive()
    assert not process.is_alive() and process.exitcode == 0


def test_what_fails_there_is_raised_here():
    with Side(repeat, partial, int, "twelve") as side, pytest.raises(RuntimeError, match=r"(?s)ValueError.*twelve"):
        side()
    with pytest.raises(RuntimeError, match="TypeError"):
        Side(repeat, partial)  # fails before the first turn


def test_a_process_that_is_killed_is_noticed():
    with Side(repeat, partial, os._exit, 9) as side, pytest.raises(RuntimeError, match="status 9"):
        side()
