"""A reader of a command's output that leaves early, as `head` does, is no error; the status of a command is kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = (
    ["-m", "bench", "--help"],
    ["-m", "bench", "plan", "experiment=tiny"],
    ["-m", "bench.results", "list"],
    ["-m", "bench.results", "cite", "quick", "--condition", "1.00"],
)
CHECK = """from bench.machine.pipes import exit_with
exit_with(lambda: print("x" * {size}) or {status})"""


def cut_off(command: list[str], folder: Path) -> tuple[int, str]:
    """Return status and stderr of a command whose output nobody reads."""
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}  # what a person's shell has
    done = subprocess.run(
        [sys.executable, *command], stdout=write, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
    )
    os.close(write)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[1:3]))
def test_a_reader_that_leaves_at_once_is_no_error(command, tmp_path):
    assert cut_off(command, tmp_path) == (0, "")


@pytest.mark.parametrize(("size", "status", "ended"), [(10, 0, 0), (10, 1, 1), (10**6, 0, 141), (10**6, 1, 141)])
def test_a_check_that_is_cut_off_before_its_end_has_not_passed(size, status, ended, tmp_path):
    assert cut_off(["-c", CHECK.format(size=size, status=status)], tmp_path) == (ended, "")


@pytest.mark.parametrize("status", [0, 1, 2])
def test_a_reader_that_stays_gets_all_and_the_status(status):
    code = f"from bench.machine.pipes import exit_with\nexit_with(lambda: print('x' * 10**6) or {status})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, len(done.stdout), done.stderr) == (status, 10**6 + 1, "")
