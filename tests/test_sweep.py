"""What a sweep knows of its chains before the first one runs: their configurations, and whether all are finished."""

import itertools
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from shrunk import TINY, composed

from bench import finished, ledger, sweep
from bench.config import Config, from_hydra
from bench.console import Console
from bench.errors import BenchError, ConfigError, DataError, StoreError, TrainingError
from bench.loop import run_chain
from bench.sweep import Combinations, check_values, with_value

COMMON = [*TINY, "num_generations=2", "metrics.scores=[frechet]"]

SWEEPS = [
    ["seed=range(3)"],
    ["mixing=blend,window", "mixing.synthetic_ratio=0,0.25,[0.1,0.2,0.3]", "num_generations=4"],
    ["experiment=quick,none", "name=a", "generator.unet.channels=[32,64],[16,32]"],
    ["+mixing.parameters.x=1,2", "mixing=custom", "mixing.function='a:b','c:d'"],
    ["seed=1", "protocol=none,collapse_v1_flowers", "metrics.scores=[frechet],[kernel,frechet]"],
    ["num_samples=null,${metrics.num_images}", "metrics.k=choice(2,3)"],
]


@pytest.mark.parametrize("overrides", SWEEPS, ids=lambda overrides: overrides[0])
def test_combinations_are_what_hydra_composes(overrides: list[str]) -> None:
    combinations = Combinations(overrides)
    lines = list(itertools.product(*combinations.choices))
    assert len(lines) > 1
    for line, tree in zip(lines, combinations.all(), strict=True):
        assert from_hydra(tree) == composed(*line), line


def test_each_value_once_is_as_many_as_there_are_values():
    combinations = Combinations(["seed=0,1,2", "mixing=blend,window", "num_generations=2,3"])
    seen = [from_hydra(tree) for tree in combinations.each_value_once()]
    assert len(seen) == 1 + 2 + 1 + 1
    assert [c.seed for c in seen] == [0, 1, 2, 0, 0]
    assert [c.mixing.policy for c in seen].count("window") == 1


def test_plain_values_are_told_from_the_rest():
    tree = Combinations(["seed=0"])._tree(["seed=0"])
    assert from_hydra(with_value(tree, "seed=5")).seed == 5
    assert tree.seed == 0
    for other in ("mixing=replace", "seed=text", "+seed=1", "nothing=1", "~seed", "data={kind: birds}"):
        assert with_value(tree, other) is None, other


def test_wrong_values_are_all_named():
    errors = check_values(Combinations(["mixing.synthetic_ratio=0.5,7,8", "seed=0,-1"]))
    assert {(e.key, e.value) for e in errors if isinstance(e, ConfigError)} == {
        ("mixing.synthetic_ratio", 7.0),
        ("mixing.synthetic_ratio", 8.0),
        ("seed", -1),
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("data.resolution=15", "data.resolution"),  # what a generator says
        ("mixing=custom mixing.function=no_such_module:policy", "mixing.function"),  # what a policy says
        ("protocol=collapse_v1_flowers metrics.k=2", "metrics.k"),  # what a protocol says
    ],
)
def test_all_that_can_be_known_of_a_value_is_asked_before_the_first_chain(wrong: str, said: str):
    assert check_values(Combinations([*TINY, "seed=0,1"])) == []
    base = ["seed=0"] if "protocol" in wrong else [*TINY, "seed=0,1"]
    errors = check_values(Combinations([*base, *wrong.split()]))
    assert errors and all(said in str(error) for error in errors), errors


class Job:
    """The Hydra job that runs. multirun: in a sweep."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sweep, self.job = SimpleNamespace(dir=str(folder)), SimpleNamespace(num=0)
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
def test_a_single_run_ends_with_a_status_that_says_whose_mistake_it_was(
    job: Job, tmp_path: Path, error: Exception, status: int, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as ended:
        raise_and_report(error)
    assert ended.value.code == status
    assert str(error) in caplog.text and type(error).__name__ in caplog.text
    assert ("raise_and_report" in caplog.text) is not isinstance(error, BenchError)  # a traceback where we are at fault
    assert not (tmp_path / "sweep").exists()


def raise_and_report(error: Exception) -> str:
    try:
        raise error
    except Exception as caught:
        return sweep.failed(caught)


def test_failed_chains_of_a_sweep_are_told_in_their_order_at_its_end(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = SimpleNamespace(hydra=job)
    sweep.Failures().on_multirun_end(config)  # none has failed: no status of its own
    assert capsys.readouterr().err == ""
    job.mode = RunMode.MULTIRUN
    for number, error in ((10, DataError("the last")), (9, ZeroDivisionError("second")), (2, StoreError("first"))):
        job.job.num, job.overrides.task = number, ["mixing=blend", f"seed={number}"]
        assert raise_and_report(error) == "failed"
    with pytest.raises(SystemExit) as ended:
        sweep.Failures().on_multirun_end(config)
    assert ended.value.code == sweep.FAILED == 1
    said = capsys.readouterr().err
    assert "3 chain(s)" in said and "The same command again" in said
    parts = said.split("\n- ")[1:]
    assert [part.splitlines()[0] for part in parts] == [f"mixing=blend seed={number}" for number in (2, 9, 10)]
    for part, word in zip(parts, ("StoreError: first", "ZeroDivisionError: ", "DataError: the last"), strict=True):
        assert word in part
    assert ["Traceback" in part for part in parts] == [False, True, False]


@pytest.mark.parametrize("over", [True, False])
def test_a_sweep_starts_with_none_failed_and_ends_at_once_where_all_is_there(
    job: Job, tmp_path: Path, over: bool, monkeypatch: pytest.MonkeyPatch
):
    left = tmp_path / "sweep" / "failed" / "0.txt"
    left.parent.mkdir(parents=True)
    left.write_text("of the last time")
    asked: list[tuple[int, int]] = []

    def all_read(configs: object) -> bool:
        asked.extend((config.seed, config.num_generations) for config in configs)  # type: ignore[attr-defined]
        return over

    monkeypatch.setattr(finished, "all_read", all_read)
    job.overrides.task = [*TINY, "seed=3,4", "num_generations=2,5"]
    if over:
        with pytest.raises(SystemExit) as ended:
            sweep.Failures().on_multirun_start(SimpleNamespace(hydra=job))
        assert ended.value.code == 0
    else:
        sweep.Failures().on_multirun_start(SimpleNamespace(hydra=job))
    assert asked == [(3, 2), (3, 5), (4, 2), (4, 5)] and not left.exists()


def test_wrong_values_end_a_sweep_before_anything_is_touched(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    left = tmp_path / "sweep" / "failed" / "0.txt"
    left.parent.mkdir(parents=True)
    left.write_text("of the last time")
    job.overrides.task = [*TINY, "seed=0,-1,-2"]
    with pytest.raises(SystemExit) as ended:
        sweep.Failures().on_multirun_start(SimpleNamespace(hydra=job))
    assert ended.value.code == sweep.WRONG_CONFIG == 2
    assert capsys.readouterr().err.count("error: seed=-") == 2 and left.exists()


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> list[Config]:
    """Two chains that have run to their end."""
    out = tmp_path_factory.mktemp("over")
    configs = [composed(*COMMON, f"output_dir={out}/outputs", f"mixing.synthetic_ratio={ratio}") for ratio in (0, 1)]
    for config in configs:
        run_chain(config, Console(quiet=True))
    return configs


def test_a_finished_sweep_is_read_and_says_so(over: list[Config], capfd: pytest.CaptureFixture[str]):
    before = snapshot(over[0])
    assert finished.all_read(over)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(" · ")[1].split(":")[0] for line in lines] == ["generation 0", "generation 1"] * 2
    assert all(line.endswith("from the store") for line in lines)
    assert snapshot(over[0]) == before


def test_what_is_not_finished_is_left_to_the_runs(over: list[Config], capfd: pytest.CaptureFixture[str]):
    def altered(*more: str) -> Config:
        return composed(*COMMON, f"output_dir={over[0].output_dir}", "mixing.synthetic_ratio=1", *more)

    assert finished.all_read([over[0], altered()])
    assert capfd.readouterr().err
    for more in ("num_generations=3", "seed=1", "name=other", "tracking=wandb", f"store_dir={over[0].output_dir}/new"):
        before = snapshot(over[0])
        assert not finished.all_read([over[0], altered(more)]), more
        assert capfd.readouterr().err == "" and snapshot(over[0]) == before, more


def test_one_of_several_processes_reads_nothing_by_itself(over: list[Config], monkeypatch: pytest.MonkeyPatch):
    assert finished.all_read(over)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert not finished.all_read(over)


def test_a_chain_that_has_left_its_protocol_is_left_to_the_run(over: list[Config], monkeypatch: pytest.MonkeyPatch):
    def departs(config: Config) -> None:
        raise ConfigError("seed", config.seed, "the protocol has another")

    monkeypatch.setattr(finished.protocols, "check", departs)
    assert not finished.all_read(over)


def test_all_chains_are_told_or_none(over: list[Config], capfd: pytest.CaptureFixture[str]):
    short = composed(*COMMON, f"output_dir={over[0].output_dir}", "mixing.synthetic_ratio=1", "num_generations=1")
    assert finished.all_read([short, over[0]])  # the ledger may be longer than what is asked for
    assert len(capfd.readouterr().err.splitlines()) == 3
    ledger_of(over[1]).rename(ledger_of(over[1]).with_suffix(".away"))
    try:
        assert not finished.all_read(over)
    finally:
        ledger_of(over[1]).with_suffix(".away").rename(ledger_of(over[1]))
    assert capfd.readouterr().err == ""


def test_a_lost_result_is_noticed_and_made_again(over: list[Config], tmp_path: Path):
    row = ledger.read(ledger_of(over[0]))[1]
    lost = Path(row.store_dir) / row.artifacts["score"]
    shutil.move(lost, tmp_path / "lost")
    assert not finished.all_read(over)
    run_chain(over[0], Console(quiet=True))
    assert lost.exists() and finished.all_read(over)


def test_another_result_than_the_ledgers_is_left_to_the_run(over: list[Config], monkeypatch: pytest.MonkeyPatch):
    """As after an update of the code: the store may have the new result, from another chain, and the ledger the old."""
    rows = ledger.read(ledger_of(over[0]))
    rows[1].artifacts["train"] = rows[0].artifacts["train"]
    monkeypatch.setattr(finished, "recorded", lambda config: rows)
    before = snapshot(over[0])
    assert not finished.all_read([over[0]])
    assert snapshot(over[0]) == before


def test_the_command_again_launches_nothing(over: list[Config]):
    command = [sys.executable, "-m", "bench", "-m", *COMMON, f"output_dir={over[0].output_dir}"]
    again = subprocess.run([*command, "mixing.synthetic_ratio=0,1"], capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("from the store") == 4
    launched = Path(over[0].output_dir) / over[0].name / ".hydra" / "multirun.yaml"  # Hydra's sweeper leaves it behind
    assert not launched.exists()
    longer = subprocess.run(
        [*command, "mixing.synthetic_ratio=0", "num_generations=3"], capture_output=True, text=True, timeout=300
    )
    assert longer.returncode == 0 and launched.exists(), longer.stderr
    assert longer.stderr.count("from the store") == 2


def ledger_of(config: Config) -> Path:
    return Path(config.output_dir) / config.name / finished.chain_id(config) / ledger.FILENAME


def snapshot(config: Config) -> dict[str, bytes]:
    """Every file that the chains have written, the store's lock and scratch folders included."""
    out = Path(config.output_dir)
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
