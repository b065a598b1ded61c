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
    ["-m", "bench.results", "cite", "quick"],
    ["-c", "from bench.machine.pipes import exit_with\nexit_with(lambda: print('x' * 10**6) or 1)"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[1:3]).partition("\n")[0])
def test_a_reader_that_leaves_at_once_is_no_error(command, tmp_path):
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], stdout=write, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("status", [0, 1, 2])
def test_a_reader_that_stays_gets_all_and_the_status(status):
    code = f"from bench.machine.pipes import exit_with\nexit_with(lambda: print('x' * 10**6) or {status})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, len(done.stdout), done.stderr) == (status, 10**6 + 1, "")
