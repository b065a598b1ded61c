"""Sweeps that are stopped or lose a process: real processes, real signals."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench import launcher, ledger
from bench.machine.interrupt import EXIT_STATUS

ENDLESS = ["num_generations=1", "generator.training.num_steps=1000000", "generator.training.checkpoint_every=5"]
QUICK = ["num_generations=1", "metrics.scores=[frechet]", "metrics.num_resplits=0"]
SIDE_BY_SIDE = ["hydra/launcher=processes", "hydra.launcher.n_jobs=2"]


def start(overrides: list[str], *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bench", "-m", *overrides, *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def training(store: Path) -> dict[Path, int]:
    """Return the locks of all trainings that have saved a checkpoint, with the process that holds each."""
    saved = {path.parent.name.split(".")[0] for path in store.glob("work/train/*/step-*.safetensors")}
    pids = {}
    for lock in store.glob("locks/train/*.lock"):
        found = re.search(r"pid=(\d+)", lock.read_text())
        if found and lock.stem in saved:
            pids[lock] = int(found.group(1))
    return pids


def wait_for_trainings(sweep: "subprocess.Popen[str]", store: Path, count: int) -> list[int]:
    while sweep.poll() is None and len(training(store)) < count:
        time.sleep(0.01)
    assert sweep.returncode is None, sweep.communicate()
    return list(training(store).values())


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}/status").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("to", ["sweep", "all", "kill"])
def test_sigterm_to_a_sweep_reaches_its_chains_and_it_waits_for_them(tiny: list[str], tmp_path: Path, to: str) -> None:
    store = tmp_path / "outputs" / "store"
    sweep = start(tiny, *ENDLESS, *SIDE_BY_SIDE, "seed=0,1,2")
    pids = wait_for_trainings(sweep, store, 2)
    assert sweep.pid not in pids
    if to == "all":
        os.killpg(sweep.pid, signal.SIGTERM)  # a cluster tells every process, and the sweep tells its chains once more
    else:
        os.kill(sweep.pid, signal.SIGKILL if to == "kill" else signal.SIGTERM)
    _, said = sweep.communicate(timeout=120)
    if to == "kill":
        assert sweep.returncode == -signal.SIGKILL and "The process of the sweep is gone" in said
    else:
        assert sweep.returncode == EXIT_STATUS, said
    assert not any(is_there(pid) for pid in pids), "chains train on unseen"
    assert said.count("saving a checkpoint") >= 2 and "Traceback" not in said, said
    steps = [int(path.stem.removeprefix("step-")) for path in store.glob("work/train/*/step-*.safetensors")]
    assert any(step % 5 for step in steps), "no chain has saved its last step"
    assert len(list(store.glob("work/train/*.json"))) == 2, "the third chain was started"


@pytest.mark.slow
def test_a_chain_whose_process_is_killed_is_named_and_the_others_go_on(tiny: list[str], tmp_path: Path) -> None:
    store = tmp_path / "outputs" / "store"
    sweep = start(tiny, *ENDLESS[:1], *SIDE_BY_SIDE, "generator.training.num_steps=1000000,4", ENDLESS[2])
    (pid,) = wait_for_trainings(sweep, store, 1)
    os.kill(pid, signal.SIGKILL)
    _, said = sweep.communicate(timeout=120)
    assert sweep.returncode == 1 and "Traceback" not in said, said
    assert "1 chain(s) of this sweep failed" in said
    assert re.search(r"generator.training.num_steps=1000000.*\n.*killed by SIGKILL", said), said
    assert len(ledger.read_runs([tmp_path / "outputs" / "quick"])) == 1


def test_sigterm_before_the_first_chain_has_the_status_of_one_that_resumes(tiny: list[str], tmp_path: Path) -> None:
    sweep = start(tiny, *ENDLESS, "seed=0,1")
    status = Path(f"/proc/{sweep.pid}/status")
    while not int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16) >> (signal.SIGTERM - 1) & 1:
        time.sleep(0.001)
    sweep.terminate()
    _, said = sweep.communicate(timeout=60)
    assert sweep.returncode == EXIT_STATUS, said
    assert not (tmp_path / "outputs" / "store").exists() and "Traceback" not in said


@pytest.mark.slow
def test_a_job_of_submitit_goes_on_after_the_signal_that_it_is_put_back_for(tiny: list[str], tmp_path: Path) -> None:
    """Check with SIGUSR2, which `hydra/launcher=slurm` has Slurm send before it cuts a job off."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra submitit is not installed")
    sweep = start(tiny, ENDLESS[0], "generator.training.num_steps=400", ENDLESS[2], "hydra/launcher=slurm_local")
    (pid,) = wait_for_trainings(sweep, tmp_path / "outputs" / "store", 1)
    os.kill(pid, signal.SIGUSR2)
    _, said = sweep.communicate(timeout=500)
    assert sweep.returncode == 0, said
    (chain,) = ledger.read_runs([tmp_path / "outputs" / "quick"])
    assert 5 <= chain.rows[0].train["resumed_from_step"] < 400


def saved_after_sigterm(pid: int, store: Path) -> list[int]:
    """Send SIGTERM to the process of a chain; return the steps that it has saved when it has ended."""
    os.kill(pid, signal.SIGTERM)
    while is_there(pid):
        time.sleep(0.01)
    return [int(path.stem.removeprefix("step-")) for path in store.glob("work/train/*/step-*.safetensors")]


@pytest.mark.slow
def test_a_job_of_submitit_saves_its_last_step_at_sigterm(tiny: list[str], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra submitit is not installed")
    store = tmp_path / "outputs" / "store"
    sweep = start(tiny, *ENDLESS, "hydra/launcher=slurm_local")
    (pid,) = wait_for_trainings(sweep, store, 1)
    assert any(step % 5 for step in saved_after_sigterm(pid, store)), "the last step is not saved"
    _, said = sweep.communicate(timeout=300)
    assert sweep.returncode == 1, said


@pytest.mark.slow
def test_a_task_of_ray_saves_its_last_step_at_sigterm_and_ray_goes_on(tiny: list[str], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="the extra ray is not installed")
    store = tmp_path / "outputs" / "store"
    sweep = start(tiny, *ENDLESS, "hydra/launcher=ray_cluster", "hydra.launcher.ray.init.num_cpus=2")
    (pid,) = wait_for_trainings(sweep, store, 1)
    assert any(step % 5 for step in saved_after_sigterm(pid, store)), "the last step is not saved"
    while sweep.poll() is None and list(training(store).values()) in ([], [pid]):
        time.sleep(0.1)
    (other,) = training(store).values()
    assert sweep.returncode is None and is_there(other)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.communicate(timeout=60)
    while is_there(other):  # Ray ends its workers when the process that started them is gone
        time.sleep(0.1)


@pytest.mark.slow
def test_chains_take_the_cuda_devices_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7")  # there is no driver, so that the chains run on the CPU
    points = ["experiment=gaussian_mixture", "num_generations=1", "data.num_train=40", "data.num_heldout=40"]
    points += ["metrics.num_images=40", "num_probes=2", f"output_dir={tmp_path}", "runtime.device=auto,cpu"]
    sweep = start(points, SIDE_BY_SIDE[0], "hydra.launcher.n_jobs=3", "seed=0,1,2")
    _, said = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, said
    assert "3 chains at a time share 2 CUDA device(s)" in said
    devices = dict(re.findall(r"chain (\d) of the sweep: CUDA device (\S+)", said))
    assert devices == {"0": "5", "1": "GPU-7", "2": "5"}, "chains 3 to 5 run on the CPU"


@pytest.mark.parametrize(
    ("visible", "devices"), [("5,7", ["5", "7"]), ("", []), ("-1", []), ("0,-1,2", ["0"]), (None, ["0", "1", "2", "3"])]
)
def test_devices_are_those_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, devices: list[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert launcher.cuda_devices() == devices


PAUSE = """
import pathlib, time
from hydra.experimental.callback import Callback
class Pause(Callback):
    def on_job_end(self, config, job_return, **given):
        pathlib.Path(config.output_dir, "between").touch()
        time.sleep(60)
"""


@pytest.mark.slow
def test_sigterm_between_two_chains_has_the_status_of_one_that_resumes(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pause.py").write_text(PAUSE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    sweep = start(tiny, *QUICK, "seed=0,1", "+hydra.callbacks.pause._target_=pause.Pause")
    while sweep.poll() is None and not (tmp_path / "outputs" / "between").exists():
        time.sleep(0.01)
    sweep.terminate()
    _, said = sweep.communicate(timeout=30)
    assert sweep.returncode == EXIT_STATUS and "Traceback" not in said, said
    assert [chain.rows[0].seed for chain in ledger.read_runs([tmp_path / "outputs" / "quick"])] == [0]


@pytest.mark.parametrize(
    ("limits", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None)]
)
def test_a_container_has_as_many_cores_as_its_quota(tmp_path: Path, limits: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(limits + "\n")
    assert launcher.num_cores(tmp_path / "cpu.max") == (cores or len(os.sched_getaffinity(0)))
