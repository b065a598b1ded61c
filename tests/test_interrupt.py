"""SIGTERM: at once where nothing is lost, after saving where something would be."""

import os
import signal
import threading

import pytest

from bench import interrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_stops_at_once() -> None:
    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm():
        terminate()
        pytest.fail("went on")


def test_sigterm_is_not_taken_for_a_failure() -> None:
    assert not issubclass(interrupt.Interrupted, Exception)
    assert interrupt.EXIT_STATUS not in (0, 1, 2)


def test_deferred_sigterm_waits_for_the_end_of_the_step() -> None:
    steps = []
    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm(), interrupt.deferred():
        for step in range(10):
            if step == 3:
                terminate()
            steps.append(step)
            if interrupt.requested():
                raise interrupt.Interrupted
    assert steps == [0, 1, 2, 3]
    assert not interrupt.requested()


def test_second_sigterm_does_not_wait() -> None:
    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm(), interrupt.deferred():
        terminate()
        terminate()
        pytest.fail("went on")


def test_what_was_there_before_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with interrupt.on_sigterm():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_nothing_is_touched() -> None:
    seen = []

    def body() -> None:
        with interrupt.on_sigterm():
            seen.append(True)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [True]
