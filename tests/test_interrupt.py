"""SIGTERM stops a run at once, or after saving if progress would be lost."""

import os
import signal
import threading

import pytest

from bench.machine import interrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_stops_at_once() -> None:
    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm():
        terminate()
        pytest.fail("went on")


def test_sigterm_is_not_taken_for_a_failure() -> None:
    assert not issubclass(interrupt.Interrupted, Exception)
    assert interrupt.EXIT_STATUS == os.EX_TEMPFAIL == 75  # documented; launchers take it for "try again"


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


def test_second_sigterm_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "ECHO_SECONDS", 0.0)
    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm(), interrupt.deferred():
        terminate()
        terminate()
        pytest.fail("went on")


def test_sigterm_that_arrives_twice_at_once_is_one() -> None:
    """From a cluster to all processes of a job, and from the sweep to its chains."""
    whole = []
    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm():
        with interrupt.deferred():
            terminate()
            terminate()
            assert interrupt.requested()
            whole.append(True)
        pytest.fail("went on")
    assert whole


def test_a_launcher_that_kills_by_itself_never_means_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "ECHO_SECONDS", 0.0)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "of torchrun")
    with interrupt.on_sigterm():
        with pytest.raises(interrupt.Interrupted), interrupt.deferred():
            terminate()
            terminate()
            interrupt.stop()
        terminate()  # while the process cleans up


def test_a_process_that_stops_for_another_takes_its_own_signal_for_the_same() -> None:
    with interrupt.on_sigterm():
        with pytest.raises(interrupt.Interrupted), interrupt.deferred():
            interrupt.stop()
        terminate()
    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm():
        terminate()
        pytest.fail("went on")


def test_a_process_that_ends_by_sigterm_is_not_killed_by_another_one() -> None:
    outside = signal.getsignal(signal.SIGTERM)
    try:
        with interrupt.on_sigterm(for_good=True):
            pass
        assert signal.getsignal(signal.SIGTERM) == outside, "a sweep that was not asked to stop"
        with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm(for_good=True):
            terminate()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, outside)


def test_sigterm_acts_at_once_after_deferred() -> None:
    with interrupt.on_sigterm():
        with interrupt.deferred(), interrupt.deferred():
            pass
        with pytest.raises(ZeroDivisionError), interrupt.deferred():
            raise ZeroDivisionError
        with pytest.raises(interrupt.Interrupted):
            terminate()
            pytest.fail("went on")


def test_an_inner_training_does_not_end_the_outer_ones_delay() -> None:
    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm(), interrupt.deferred():
        with interrupt.deferred():
            pass
        terminate()
        assert interrupt.requested()
        with interrupt.deferred():
            pass
        raise interrupt.Interrupted


def test_nothing_is_requested_that_was_not_sent() -> None:
    with interrupt.on_sigterm(), interrupt.deferred():
        assert not interrupt.requested()


def test_the_previous_handler_is_restored() -> None:
    """A launcher has set its own handler before it started the run."""
    outside = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupt.on_sigterm():
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm():
            terminate()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, outside)


def test_outside_the_main_thread_nothing_is_touched() -> None:
    seen = []

    def body() -> None:
        with interrupt.on_sigterm():
            seen.append(True)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [True]


def test_a_stop_outside_does_not_make_the_first_sigterm_the_second(monkeypatch):
    with pytest.raises(interrupt.Interrupted):
        interrupt.stop()
    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm(), interrupt.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.requested()
