"""A sweep checks its values before its first chain runs, reports failed chains, and produces no result twice."""

import logging
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from shrunk import TINY, composed

from bench import protocols, sweep
from bench.config import Config
from bench.errors import BenchError, ConfigError, DataError, StoreError, TrainingError
from bench.loop import run_chain
from bench.machine.console import Console
from bench.sweep import check_values, each_value_once

COMMON = [*TINY, "num_generations=2", "metrics.scores=[frechet]"]


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        (["seed=1"], ["seed=1"]),
        (["seed=range(3)"], ["seed=0", "seed=1", "seed=2"]),
        (
            ["mixing=blend,window", "mixing.synthetic_ratio=0,[0.1,0.2]", "num_generations=3"],
            [
                "mixing=blend mixing.synthetic_ratio=0 num_generations=3",
                "mixing=window mixing.synthetic_ratio=0 num_generations=3",
                "mixing=blend mixing.synthetic_ratio=[0.1,0.2] num_generations=3",
            ],
        ),
        (
            ["+mixing.parameters.x=1,2", "mixing=custom", "mixing.function='a:b','c:d'"],
            [
                "+mixing.parameters.x=1 mixing=custom mixing.function='a:b'",
                "+mixing.parameters.x=2 mixing=custom mixing.function='a:b'",
                "+mixing.parameters.x=1 mixing=custom mixing.function='c:d'",
            ],
        ),
        (
            ["num_samples=null,${metrics.num_images}", "metrics.k=choice(2,3)"],
            [
                "num_samples=null metrics.k=2",
                r"num_samples=$\{metrics.num_images\} metrics.k=2",  # the quoting is Hydra's
                "num_samples=null metrics.k=3",
            ],
        ),
    ],
    ids=lambda value: value[0],
)
def test_each_value_stands_once_with_the_others_at_their_first(overrides: list[str], lines: list[str]):
    assert [" ".join(line) for line in each_value_once(overrides)] == lines
    for line in each_value_once(overrides):
        composed(*line)


def test_a_check_composes_as_often_as_there_are_values(monkeypatch: pytest.MonkeyPatch):
    lines: list[Sequence[str]] = []
    compose = protocols.compose_config

    def counted(overrides: Sequence[str]) -> Config:
        lines.append(overrides)
        return compose(overrides)

    monkeypatch.setattr(protocols, "compose_config", counted)
    assert check_values([*TINY, "seed=0,1,2", "mixing=blend,window", "num_generations=2,3"]) == []
    assert len(lines) == 1 + 2 + 1 + 1  # and not the 12 chains


def test_wrong_values_are_all_named():
    errors = check_values(["mixing.synthetic_ratio=0.5,7,8", "seed=0,-1"])
    assert {(e.key, e.value) for e in errors if isinstance(e, ConfigError)} == {
        ("mixing.synthetic_ratio", 7.0),
        ("mixing.synthetic_ratio", 8.0),
        ("seed", -1),
    }


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ("data.resolution=15", "data.resolution"),  # refused by the generator
        ("mixing=custom mixing.function=no_such_module:policy", "mixing.function"),  # refused by the policy
        ("protocol=collapse_v1_flowers metrics.k=2", "metrics.k"),  # refused by the protocol
    ],
)
def test_generator_policy_and_protocol_check_every_value_before_the_first_chain(wrong: str, key: str):
    assert check_values([*TINY, "seed=0,1"]) == []
    base = ["seed=0"] if "protocol" in wrong else [*TINY, "seed=0,1"]
    errors = check_values([*base, *wrong.split()])
    assert errors and all(key in str(error) for error in errors), errors


class Job:
    """A fake of the running Hydra job."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sweep, self.job = SimpleNamespace(dir=str(folder)), SimpleNamespace(num=0)
        self.callbacks = {"failures": SimpleNamespace(folder=str(folder / "failed" / "this one"))}
        self.overrides, self.mode = SimpleNamespace(task=["mixing=blend", "seed=3"]), RunMode.RUN
        monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: self))


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(tmp_path / "sweep", monkeypatch)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("seed", -1, "must be at least 0"), 2),
        (DataError("no pictures"), 2),
        (StoreError("the disk is full"), 1),
        (TrainingError("the loss is no number"), 1),
        (ZeroDivisionError("a mistake of ours"), 1),
    ],
)
def test_the_exit_status_of_a_single_run_distinguishes_kinds_of_errors(
    job: Job, tmp_path: Path, error: Exception, status: int, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as ended:
        raise_and_report(error)
    assert ended.value.code == status
    assert str(error) in caplog.text and type(error).__name__ in caplog.text
    assert ("raise_and_report" in caplog.text) is not isinstance(error, BenchError)  # a traceback for a bug
    assert not (tmp_path / "sweep").exists()


def raise_and_report(error: Exception) -> str:
    try:
        raise error
    except Exception as caught:
        return sweep.report_failure(caught)


def test_failed_chains_of_a_sweep_are_reported_in_their_order_at_its_end(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = SimpleNamespace(hydra=job, output_dir=str(tmp_path), name="sweep")
    failures = sweep.Failures(job.callbacks["failures"].folder)
    failures.on_multirun_end(config)  # none has failed: no status of its own
    assert capsys.readouterr().err == ""
    job.mode = RunMode.MULTIRUN
    for number, error in ((10, DataError("the last")), (9, ZeroDivisionError("second")), (2, StoreError("first"))):
        job.job.num, job.overrides.task = number, ["mixing=blend", f"seed={number}"]
        assert raise_and_report(error) == "failed"
    with pytest.raises(SystemExit) as ended:
        failures.on_multirun_end(config)
    assert ended.value.code == sweep.FAILED == 1
    assert not failures.folder.exists()
    printed = capsys.readouterr().err
    assert "3 chain(s)" in printed and "The same command again" in printed
    parts = printed.split("\n- ")[1:]
    assert [part.splitlines()[0] for part in parts] == [f"mixing=blend seed={number}" for number in (2, 9, 10)]
    for part, word in zip(parts, ("StoreError: first", "ZeroDivisionError: ", "DataError: the last"), strict=True):
        assert word in part
    assert ["Traceback" in part for part in parts] == [False, True, False]


def test_a_sweep_neither_counts_nor_erases_the_failures_of_another(job: Job, tmp_path: Path):
    other = tmp_path / "sweep" / "failed" / "another" / "0.txt"
    other.parent.mkdir(parents=True)
    other.write_text("of a sweep of the same name that runs now")
    job.overrides.task = [*TINY, "seed=3,4", "num_generations=2,5"]
    failures = sweep.Failures(job.callbacks["failures"].folder)
    failures.on_multirun_start(SimpleNamespace(hydra=job))
    failures.on_multirun_end(SimpleNamespace(hydra=job, output_dir=str(tmp_path), name="sweep"))
    assert other.exists()


def test_wrong_values_end_a_sweep_before_anything_is_touched(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    job.overrides.task = [*TINY, "seed=0,-1,-2"]
    with pytest.raises(SystemExit) as ended:
        sweep.Failures(job.callbacks["failures"].folder).on_multirun_start(SimpleNamespace(hydra=job))
    assert ended.value.code == sweep.WRONG_CONFIG == 2
    assert capsys.readouterr().err.count("error: seed=-") == 2 and not (tmp_path / "sweep").exists()


def test_a_launcher_of_processes_is_refused_in_each_of_several_processes(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    job.overrides.task = [*TINY, "seed=0,1"]
    job.runtime = SimpleNamespace(choices={"hydra/launcher": "processes"})
    job.launcher = SimpleNamespace(_target_="hydra_plugins.bench.ChainProcesses")
    with pytest.raises(SystemExit) as ended:
        sweep.Failures(job.callbacks["failures"].folder).on_multirun_start(SimpleNamespace(hydra=job))
    assert ended.value.code == sweep.WRONG_CONFIG
    assert "hydra/launcher='processes': under torchrun must be basic" in capsys.readouterr().err
    job.launcher._target_ = sweep.BASIC_LAUNCHER
    sweep.Failures(job.callbacks["failures"].folder).on_multirun_start(SimpleNamespace(hydra=job))


@pytest.mark.parametrize(("error", "goes_on"), [(TrainingError("no number"), True), (MemoryError(), False)])
def test_an_error_that_others_may_not_have_ends_one_of_several_processes(
    job: Job, monkeypatch: pytest.MonkeyPatch, error: Exception, goes_on: bool
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    job.mode = RunMode.MULTIRUN
    if goes_on:
        assert raise_and_report(error) == "failed"
    else:
        with pytest.raises(SystemExit) as ended:
            raise_and_report(error)
        assert ended.value.code == sweep.FAILED


def test_a_failure_that_cannot_be_noted_is_an_error_that_names_the_chain_and_why_it_failed(tmp_path: Path):
    (tmp_path / "failed").write_text("a file where the folder should be")
    with pytest.raises(
        StoreError, match=r"chain seed=3 failed \(DataError: no pictures\).*failed/one cannot be written"
    ):
        sweep.note_failure(tmp_path / "failed" / "one", 0, "seed=3", "DataError: no pictures\nmore")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "processes"])
def test_a_sweep_that_cannot_list_its_failures_says_so_after_all_chains(tmp_path: Path, launcher: str):
    folder = tmp_path / "outputs" / "quick" / ".hydra"
    folder.mkdir(parents=True)
    (folder / "failed").write_text("a file where the folder should be")
    more = ["name=quick", "data=npz", f"data.path={tmp_path}/nowhere.npz", "seed=0,1", f"hydra/launcher={launcher}"]
    of_any_data = [override for override in COMMON[1:] if not override.startswith("data.num_calibration")]
    command = [sys.executable, "-m", "bench", "-m", *of_any_data, *more, f"output_dir={tmp_path}/outputs"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stderr
    assert "error: chain " in ended.stderr and "cannot list what failed" in ended.stderr
    assert ended.stderr.count("ERROR bench.sweep: DataError: ") == 2, "each chain has run"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([f"name={'x' * 256}", "seed=0,1"], "error: name='xxx"),
        (["seed=0,1", "output_dir=file"], "error: output_dir='file': cannot be written to: Not a directory"),
        (["num_generations=2,inf"], "error: num_generations=inf: must be a whole number and must be at least 1"),
    ],
)
def test_what_no_chain_can_use_ends_a_sweep_before_hydra_makes_a_folder(tmp_path: Path, more: list[str], said: str):
    (tmp_path / "file").write_text("no folder")
    command = [sys.executable, "-m", "bench", "-m", *more]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert ended.returncode == 2 and said in ended.stderr and "Traceback" not in ended.stderr, ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two chains to their end and return their output_dir."""
    out = tmp_path_factory.mktemp("finished") / "outputs"
    for ratio in (0, 1):
        run_chain(composed(*COMMON, f"output_dir={out}", f"mixing.synthetic_ratio={ratio}"), Console(quiet=True))
    return out


def again(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the sweep as a command, in its own process."""
    command = [sys.executable, "-m", "bench", "-m", *COMMON, f"output_dir={out}", "mixing.synthetic_ratio=0,1", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_finished_sweep_reports_every_generation_again_and_produces_nothing(finished: Path):
    note = finished / "quick" / ".hydra" / "failed" / "0.txt"
    note.parent.mkdir(parents=True)
    note.write_text("a chain of another sweep of this name")
    before = snapshot(finished)
    ended = again(finished)
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.endswith("from the store")]
    assert [line.split(" · ")[1].split(":")[0] for line in lines] == ["generation 0", "generation 1"] * 2
    assert lines[0].startswith("blend-r0.00-") and lines[2].startswith("blend-r1.00-")
    assert "failed" not in ended.stderr and note.exists()
    assert snapshot(finished) == before


@pytest.mark.slow
def test_a_longer_sweep_produces_only_missing_results(finished: Path):
    before = snapshot(finished)
    ended = again(finished, "num_generations=3")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("from the store") == 4
    after = snapshot(finished)
    made = Counter(name.split("/")[1] for name in after.keys() - before.keys() if name.endswith("manifest.json"))
    assert made == {"train": 2, "sample": 2, "features": 2, "score": 2}  # generation 2 of each chain
    assert all(after[name].startswith(body) for name, body in before.items())  # only the ledgers grow


@pytest.mark.slow
def test_a_sweep_whose_chain_fails_says_so_although_another_of_its_name_was_started(tmp_path: Path):
    """The second one begins, and ends well, while the first one has failed and is not at its end."""
    command = [sys.executable, "-m", "bench", "-m", *COMMON, f"output_dir={tmp_path}/outputs"]
    bad = ["num_generations=1", "generator.training.gradient_clip=1e30", "generator.training.learning_rate=1e25,1e-3"]
    first = subprocess.Popen([*command, *bad], stderr=subprocess.PIPE, text=True)
    failed = tmp_path / "outputs" / "quick" / ".hydra" / "failed"
    while first.poll() is None and not list(failed.glob("*/0.txt")):
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)
    second = subprocess.run([*command, "seed=0", "num_generations=1"], capture_output=True, text=True, timeout=300)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 0, second.stderr
    _, said = first.communicate(timeout=300)
    assert first.returncode == 1 and "1 chain(s) of this sweep failed" in said and "1e+25" in said, said


def snapshot(out: Path) -> dict[str, bytes]:
    """Return every file that the chains have written, by path; without Hydra's own folder."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and ".hydra" not in path.parts]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}
