"""SIGTERM and Ctrl-C on the command line: what was trained is kept, the exit status and a line say so, and the same
command goes on."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ranks
from shrunk import TINY

from bench import ledger
from bench.__main__ import main
from bench.machine.interrupt import EXIT_STATUS

LONG = ["num_generations=1", "generator.training.num_steps=240", "generator.training.checkpoint_every=30"]


def command(overrides: list[str], *more: str) -> list[str]:
    return [sys.executable, "-m", "bench", *more, *overrides, *LONG]


def stop_in_training(
    number: signal.Signals, overrides: list[str], store: Path, *more: str, processes: int = 1
) -> tuple[int, str]:
    """Starts a run, sends it a signal after its first checkpoint, and returns its exit status and stderr."""
    line = command(overrides, *more)
    if processes > 1:
        line[1:1] = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=_hear_ctrl_c)
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
    assert 30 < step < 240

    assert subprocess.run(command(tiny, *more), capture_output=True).returncode == 0
    runs = [path for path in (tmp_path / "outputs").iterdir() if path.name != "store"]
    resumed = {chain.rows[0].seed: chain.rows[0].train["resumed_from_step"] for chain in ledger.read_runs(runs)}
    assert resumed == ({0: step, 1: 0} if mode == "sweep" else {0: step})


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["run", "sweep"])
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


SHARED = "generator.training.num_micro_batches=2"


def train_endlessly(folder: Path) -> None:
    """Run in the processes of torch's launcher."""
    overrides = [*TINY, *LONG, SHARED, "generator.training.num_steps=1000000", f"output_dir={folder}"]
    sys.argv[1:] = overrides
    main()


@pytest.mark.slow
def test_processes_that_share_a_batch_stop_in_the_step_in_which_one_hears_of_it(tmp_path: Path) -> None:
    processes = ranks.start(train_endlessly, 2, tmp_path)
    while not list(tmp_path.glob("store/work/train/*/step-*.safetensors")) and processes[1].is_alive():
        time.sleep(0.005)
    processes[1].terminate()
    ranks.ended(processes, [EXIT_STATUS] * 2)
    steps = [int(path.stem.removeprefix("step-")) for path in tmp_path.glob("store/work/train/*/step-*.safetensors")]
    assert max(steps) % 100 and max(steps) % 30, "the last step is not saved, or the processes looked too seldom"
    assert not list(tmp_path.glob("store/locks/*/*.lock")), "the processes were killed before they had cleaned up"


@pytest.mark.slow
def test_sigterm_to_torchs_launcher_saves_and_one_process_goes_on(tiny: list[str], tmp_path: Path) -> None:
    store = tmp_path / "outputs" / "store"
    status, said = stop_in_training(signal.SIGTERM, [*tiny, SHARED], store, processes=2)
    assert status == 1 and "SignalException" in said, "torchrun itself does not pass on the status of its processes"
    assert said.count("saving a checkpoint") == 2 and "Signals.SIGKILL" not in said
    (step,) = {
        int(found) for found in re.findall(r"step-(\d+)", " ".join(map(str, store.rglob("step-*")))) if int(found) % 30
    }

    assert subprocess.run(command([*tiny, SHARED]), capture_output=True).returncode == 0
    (chain,) = ledger.read_runs([tmp_path / "outputs" / "quick"])
    assert chain.rows[0].train["resumed_from_step"] == step
