"""SIGTERM and Ctrl-C on the command line: what was trained is kept, the exit status and a line say so, and the same
command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import ledger
from bench.machine.interrupt import EXIT_STATUS

LONG = ["num_generations=1", "generator.training.num_steps=400", "generator.training.checkpoint_every=30"]


def command(overrides: list[str], *more: str) -> list[str]:
    return [sys.executable, "-m", "bench", *more, *overrides, *LONG]


def stop_in_training(number: signal.Signals, overrides: list[str], store: Path, *more: str) -> tuple[int, str]:
    """Starts a run, sends it a signal after its first checkpoint, and returns its exit status and stderr."""
    process = subprocess.Popen(
        command(overrides, *more), stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=_hear_ctrl_c
    )
    while process.poll() is None and not list(store.glob("work/train/*/step-*.safetensors")):
        time.sleep(0.005)
    assert process.returncode is None, process.communicate()
    os.killpg(process.pid, number)  # a cluster tells every process of a job
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def _hear_ctrl_c() -> None:
    """A shell that starts the tests in the background has its children ignore it, and so theirs."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("mode", ["run", pytest.param("sweep", marks=pytest.mark.slow)])
def test_sigterm_saves_and_the_same_command_goes_on(tiny: list[str], tmp_path: Path, mode: str) -> None:
    store = tmp_path / "outputs" / "store"
    more = ["-m", "seed=0,1"] if mode == "sweep" else []
    status, said = stop_in_training(signal.SIGTERM, tiny, store, *more)
    assert status == EXIT_STATUS, said
    assert "saving a checkpoint" in said
    assert not list(store.glob("train/*/*")), "and a sweep does not go on to its next chain"
    step = max(int(path.stem.removeprefix("step-")) for path in store.glob("work/train/*/step-*.safetensors"))
    assert 30 < step < 400

    assert subprocess.run(command(tiny, *more), capture_output=True).returncode == 0
    runs = [path for path in (tmp_path / "outputs").iterdir() if path.name != "store"]
    resumed = {chain.rows[0].seed: chain.rows[0].train["resumed_from_step"] for chain in ledger.read_runs(runs)}
    assert resumed == ({0: step, 1: 0} if mode == "sweep" else {0: step})


@pytest.mark.parametrize("mode", ["run", pytest.param("sweep", marks=pytest.mark.slow)])
def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(tiny: list[str], tmp_path: Path, mode: str) -> None:
    more = ["-m", "seed=0,1"] if mode == "sweep" else []
    status, said = stop_in_training(signal.SIGINT, tiny, tmp_path / "outputs" / "store", *more)
    assert status == 130, said
    assert "The same command again resumes" in said
    assert "Traceback" not in said

    assert subprocess.run(command(tiny, *more), capture_output=True).returncode == 0
    runs = [path for path in (tmp_path / "outputs").iterdir() if path.name != "store"]
    resumed = {chain.rows[0].seed: chain.rows[0].train["resumed_from_step"] for chain in ledger.read_runs(runs)}
    assert resumed[0] >= 30
