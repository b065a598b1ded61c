"""The console: live on a terminal, plain lines in a pipe, nothing if quiet."""

import os
import pty
import re
import subprocess
import sys

import pytest

from bench.machine import console

RUN = """
import logging, sys, time
from bench.machine.log_lines import StderrHandler
logging.basicConfig(handlers=[StderrHandler()], format="%(levelname)s %(message)s")
from bench.machine import console
console.PLAIN_EVERY = 0.05
view = console.Console(quiet="quiet" in sys.argv)
view.where = "blend-r0.50-seed0-3fa2b1c9 · generation 2"
view.print("generation 1: fid 435 [not a style]")
with view.stage("train on 1024 images", unit="steps") as report:
    for step in range(20):
        time.sleep(0.03)
        report(step + 1, 40)
print("the result")
"""


def test_a_pipe_gets_plain_lines_and_stdout_none_of_them() -> None:
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "the result\n"
    printed, *lines = done.stderr.splitlines()
    assert printed == "generation 1: fid 435 [not a style]"
    assert 3 <= len(lines) <= 12  # not one for every step
    form = r"blend-r0\.50-seed0-3fa2b1c9 · generation 2 · train on 1024 images: \d+/40 steps, \d+ steps/s, \d+ s left"
    assert all(re.fullmatch(form, line) for line in lines), lines
    assert "\x1b" not in done.stderr


def test_a_quiet_console_prints_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", RUN, "quiet"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""


def test_a_terminal_gets_a_live_view_that_leaves_only_printed_lines() -> None:
    text = on_a_terminal(RUN)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    for word in ("generation 1: fid 435", "generation 2", "train on 1024 images", "/40", "steps/s", "0:00:0"):
        assert word in plain, word
    assert text.rindex("\x1b[2K") > text.rindex("steps/s")  # the live view is wiped at the end


def on_a_terminal(code: str) -> str:
    """Run Python code whose stderr is a terminal of 100 columns, and return what that was sent."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", "NO_COLOR": ""}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        seen += block
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return seen.decode()


A_CHAIN = (
    RUN.split("view = ")[0]
    + """
view = console.Console(place=(3, 6), seconds=[60.0])
with view.chain("blend-r0.50-seed0-3fa2b1c9", 4):
    view.generation(1)
    with view.stage("train on 24 items", unit="steps", compiles=True) as report:
        time.sleep(0.6)
        with view.stage("risk"):
            logging.warning("waiting for train/3fa2, which another process makes")
            time.sleep(0.3)
        report(1, 40)
        time.sleep(0.4)
        print("a line of a library", file=sys.stderr)
        logging.warning("a second line")
        view.print("generation 1: FID 1760")
    time.sleep(0.3)
"""
)


def test_log_lines_of_a_chain_stand_whole_above_the_one_view_which_says_where_it_is() -> None:
    text = on_a_terminal(A_CHAIN)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    lines = [line for line in re.split(r"[\r\n]+", plain) if line.strip()]
    for line in (
        "WARNING waiting for train/3fa2, which another process makes",
        "a line of a library",
        "WARNING a second line",
        "generation 1: FID 1760",
    ):
        assert [shown.strip() for shown in lines].count(line) == 1, (line, lines)
    shown = [line.strip() for line in lines]
    assert "chain 3 of 6 · blend-r0.50-seed0-3fa2b1c9 · generation 1 of 3" in shown
    assert any(re.fullmatch(r"chain 3 min left · sweep 1[56] min left", line) for line in shown), shown
    assert any("train on 24 items: the first step compiles what is not" in line for line in lines)
    assert any(re.search(r"train on 24 items [━╸].* 1/40", line) for line in lines)
    assert any("risk" in line for line in lines), "a stage within a stage has a bar of its own"
    assert text.rindex("\x1b[2K") > text.rindex("chain 3 of 6")  # nothing is left of the view


def test_the_time_left_counts_what_was_computed_and_nothing_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    seconds: list[float] = []
    view = console.Console(quiet=True, place=(2, 3), seconds=seconds)
    with view.chain("name", 3):
        view.generation(0)
        clock[0] = 40.0
        assert view.left() == []
        view.finished(reused=True)
        assert view.left() == [], "what was in the store says nothing of what is not"
        view.generation(1)
        clock[0] = 140.0
        view.finished(reused=False)
        view.generation(2)
        clock[0] = 170.0
        assert seconds == [100.0] and view.left() == ["chain 70 s left", "sweep 6 min left"]
    assert console.Console(seconds=seconds).left() == [], "no chain is running"


@pytest.mark.parametrize(("seconds", "words"), [(9.6, "10 s"), (720, "12 min"), (12600, "3.5 h")])
def test_times_are_written_as_people_say_them(seconds: float, words: str) -> None:
    assert console.duration(seconds) == words


@pytest.mark.parametrize("first", [1, 500], ids=["compiled before the first step", "resumed"])
def test_the_speed_is_that_since_the_first_report(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    pace = console._Pace()
    clock[0] = 30.0
    assert pace(first) == 0
    clock[0] = 40.0
    assert pace(first + 100) == 10


def test_plain_lines_are_printed_at_intervals_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    view = console.Console()
    view.where = "chain"
    with view.stage("train", unit="steps") as report:
        for at, done in ((1, 1), (14.9, 40), (21, 101), (34, 130), (41, 161)):
            clock[0] = at
            report(done, 400)
    assert capsys.readouterr().err.splitlines() == [
        "chain · train: 101/400 steps, 5 steps/s, 60 s left",
        "chain · train: 161/400 steps, 4 steps/s, 60 s left",
    ]


def test_a_resumed_stage_shows_the_speed_of_this_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    with console.Console().stage("train") as report:
        for at, done in ((10, 300), (20, 320)):
            clock[0] = at
            report(done, 400)
    assert capsys.readouterr().err.splitlines() == ["train: 320/400, 40 s left"]
