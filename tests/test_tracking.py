"""Tracking: logged values are read back from the W&B run on disk; no failure of W&B ends a chain."""

import json
import logging
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from PIL import Image
from test_ledger import make_row

from bench import recording
from bench.analysis import shown
from bench.config import TrackingConfig
from bench.ledger import Row
from bench.machine.interrupt import Interrupted
from bench.tracking import logged_values, trackers, wandb_mode, wandb_tracker
from bench.tracking.trackers import NullTracker, Tracker
from bench.tracking.wandb_tracker import WandbTracker

PROBES = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16)).astype(np.uint8)  # no two alike
KEY = "5ec4e7" * 6 + "abcd"
CONFIG = {
    "mixing": {"policy": "blend", "synthetic_ratio": 0.5},
    "data": {"name": "procedural", "kind": "birds"},
    "generator": {"name": "ddpm"},
    "metrics": {"feature_space": "efficientnet_lite0"},
    "protocol": {"name": "tiny", "version": 2},
}


@pytest.fixture(autouse=True)
def nobodys_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all keys and settings of the person who runs the tests."""
    for name in [n for n in os.environ if n.startswith("WANDB_")] + ["NETRC"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home"))
    monkeypatch.setattr(wandb_tracker, "_unreachable", set())
    (tmp_path / "home").mkdir()


def begin(directory: Path) -> Tracker:
    row = make_row()
    return trackers.start(
        TrackingConfig("wandb"), chain_id=row.chain, sweep=row.sweep, config=CONFIG, directory=directory
    )


def records(directory: Path) -> list[list[dict[str, Any]]]:
    """Return the records of each offline run below `directory`, by age, as W&B's own reader reads them."""
    runs = []
    for run in sorted(directory.glob("wandb/offline-run-*"), key=lambda run: run.stat().st_mtime):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        runs.append([json.loads(line) for line in done.stdout.splitlines()])
    return runs


def history(run: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record["history"]["item"] for record in run if record["type"] == "history"]


def test_no_tracker_touches_nothing(tmp_path: Path) -> None:
    settings = TrackingConfig("none")
    tracker = trackers.start(settings, chain_id="c", sweep="s", config={}, directory=tmp_path / "chain")
    tracker.log_generation(make_row(), PROBES)
    tracker.finish("finished")
    assert isinstance(tracker, NullTracker)
    assert not (tmp_path / "chain").exists()


def test_an_offline_run_reads_back_with_scores_pictures_and_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="bench"):
        tracker = begin(tmp_path)
    messages = [r.message for r in caplog.records if r.name.startswith("bench")]
    assert messages == ["W&B: offline (no API key; send it later with `wandb sync`)"]
    for generation in range(2):
        tracker.log_generation(make_row(generation), PROBES)
    tracker.finish("finished")

    (run,) = records(tmp_path)
    about = next(record["run"] for record in run if record["type"] == "run")
    assert about["display_name"] == make_row().chain
    assert about["run_group"] == "quick"
    assert about["run_id"] == wandb_tracker.run_id("quick", make_row().chain)
    assert set(about["tags"]) == {"blend", "birds", "ddpm", "efficientnet_lite0", "tiny v2"}
    assert about["config"]["update"]["mixing"] == CONFIG["mixing"]
    metrics = [record["metric"] for record in run if record["type"] == "metric"]
    assert any(m.get("glob_name") == "*" and m["step_metric"] == "generation" for m in metrics)

    lines = history(run)
    assert [line["generation"] for line in lines] == [0, 1]
    assert [line["efficientnet_lite0/fid"] for line in lines] == [12.5, 13.5]
    assert lines[0]["composition/synthetic_ratio"] == 0.5
    assert lines[0]["train/seconds"] == 1.5
    assert lines[0]["probes._type"] == "image-file"
    pictures = sorted(tmp_path.glob("wandb/offline-run-*/files/media/images/probes_*.png"))
    assert len(pictures) == 2
    pixels = np.asarray(Image.open(pictures[0]))
    np.testing.assert_array_equal(pixels[:64:4, :64:4].transpose(2, 0, 1), PROBES[0])
    assert run[-1]["exit"].get("exit_code", 0) == 0


def test_a_resumed_chain_goes_on_in_the_same_run_and_sends_nothing_twice(tmp_path: Path) -> None:
    tracker = begin(tmp_path)
    tracker.log_generation(make_row(0), PROBES)
    tracker.finish("interrupted")
    tracker = begin(tmp_path)
    for generation in (0, 1):
        tracker.log_generation(make_row(generation), PROBES)
    tracker.finish("finished")

    first, second = records(tmp_path)
    ids = [next(r["run"]["run_id"] for r in run if r["type"] == "run") for run in (first, second)]
    assert ids[0] == ids[1]
    assert [line["generation"] for line in history(first)] == [0]
    assert [line["generation"] for line in history(second)] == [1]
    assert history(second)[0]["_step"] == 2 * wandb_tracker.STEPS  # continues the count of the first part
    assert first[-1]["exit"]["exit_code"] == 1
    before = set(tmp_path.rglob("*"))
    tracker = begin(tmp_path)  # everything is sent: no third, empty run
    tracker.log_generation(make_row(0), PROBES)
    tracker.finish("finished")
    assert set(tmp_path.rglob("*")) == before


def test_lineage_leads_from_real_images_to_scores(tmp_path: Path) -> None:
    stages = {"real": "real/aa/aa11", "train": "train/bb/bb22", "sample": "sample/cc/cc33", "score": "score/dd/dd44"}
    tracker = begin(tmp_path)
    tracker.log_generation(make_row(0, artifacts=stages, store_dir=str(tmp_path / "store")), PROBES)
    tracker.finish("finished")
    (run,) = records(tmp_path)
    artifacts = [record["artifact"] for record in run if record["type"] == "artifact"]
    assert [(a["type"], a["name"]) for a in artifacts] == [
        ("real-pool", "real-pool-aa11"),
        ("checkpoint", "checkpoint-bb22"),
        ("samples", "samples-cc33"),
        ("scores", "scores-dd44"),
    ]
    about = [json.loads(a["metadata"]) for a in artifacts]
    assert [a["made_from"] for a in about] == [None, "real-pool-aa11", "checkpoint-bb22", "samples-cc33"]
    assert [a["store_key"] for a in about] == list(stages.values())
    assert {a["store_dir"] for a in about} == {str(tmp_path / "store")}
    assert all("generation-0" in a["aliases"] for a in artifacts)


def test_what_a_newcomer_trains_on_is_made_from_what_it_takes_for_real() -> None:
    stages = {"real": "real/aa/aa11", "join": "join/bb/bb22", "train": "train/cc/cc33"}
    made = [
        (artifact.name, artifact.metadata["made_from"])
        for artifact in logged_values.lineage(make_row(0, artifacts=stages))
    ]
    assert made[1:] == [("believed-pool-bb22", "real-pool-aa11"), ("checkpoint-cc33", "believed-pool-bb22")]


def test_without_artifacts_scores_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: WandbTracker, row: Row) -> None:
        raise OSError("no room")

    monkeypatch.setattr(WandbTracker, "_log_lineage", refuse)
    tracker = begin(tmp_path)
    for generation in (0, 1):
        tracker.log_generation(make_row(generation), PROBES)
    tracker.finish("finished")
    (run,) = records(tmp_path)
    assert [line["generation"] for line in history(run)] == [0, 1]
    assert caplog.text.count("takes no artifacts") == 1


def test_run_ids_follow_from_sweep_and_chain() -> None:
    # The same in any version of this code, so that a chain resumed after an update continues its own run.
    assert wandb_tracker.run_id("quick", "blend-r0.50-seed0-3fa2b1c9") == "5f52f9563d4ea6ef"
    assert wandb_tracker.run_id("a", "c") == wandb_tracker.run_id("a", "c")
    assert len({wandb_tracker.run_id("a", "c"), wandb_tracker.run_id("b", "c"), wandb_tracker.run_id("a", "d")}) == 3


def test_mode_follows_the_environment_and_then_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert wandb_mode.choose()[0] == "offline"
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("WANDB_BASE_URL", "https://api.wandb.ai")
    wandb.teardown()  # it reads the environment once
    netrc.write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert wandb_mode.choose()[0] == "online"
    netrc.write_text(f"machine example.org\n  login user\n  password {KEY}\n")
    assert wandb_mode.choose()[0] == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    assert wandb_mode.choose()[0] == "offline"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert wandb_mode.choose()[0] == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_mode.choose()[0] == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert isinstance(begin(tmp_path / "chain"), NullTracker)
    monkeypatch.delenv("WANDB_API_KEY")
    netrc.unlink()
    monkeypatch.setenv("WANDB_MODE", "online")
    mode, why = wandb_mode.choose()
    assert mode == "offline"  # online without a key would ask for one
    assert "no API key" in why


@pytest.mark.parametrize(
    ("wish", "mode"), [("DISABLED", "disabled"), ("dryrun", "offline"), ("Offline", "offline"), ("", "online")]
)
def test_wandbs_own_words_for_the_mode_are_understood(wish: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_mode, "has_credentials", lambda: True)
    monkeypatch.setenv("WANDB_MODE", wish)
    assert wandb_mode.choose()[0] == mode
    assert wandb_mode.is_online() is (mode == "online")


# --------------------------------------------------------------------------------------------- a fake W&B


class Run:
    """A fake W&B run. logged: (step, values) of each finished step; ended: exit codes."""

    def __init__(self, about: dict[str, Any]) -> None:
        self.about, self.logged, self.ended = about, list[tuple[int, dict[str, Any]]](), list[int]()

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        pass

    def log(self, values: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        assert step is not None
        assert commit, "with a step, W&B keeps back what is not committed: lost if the run is killed"
        self.logged.append((step, values))

    def log_artifact(self, artifact: Any, aliases: list[str]) -> None:
        pass

    def finish(self, exit_code: int | None = None) -> None:
        self.ended.append(exit_code or 0)


class Wandb:
    """A fake of the package: the runs that were started. unreachable: whether the server is down."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.unreachable, self.asked = False, 0

    def init(self, **about: Any) -> Run:
        self.asked += about["mode"] == "online"
        if self.unreachable and about["mode"] == "online":
            raise ConnectionError("no server")
        self.runs.append(Run(about))
        return self.runs[-1]

    def generations(self) -> list[list[int]]:
        return [[values["generation"] for _, values in run.logged if "generation" in values] for run in self.runs]


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    fake = Wandb()
    monkeypatch.setattr(wandb, "init", fake.init)
    monkeypatch.setattr(wandb, "teardown", lambda **how: None)
    monkeypatch.setattr(wandb_mode, "choose", lambda: ("online", ""))
    return fake


def go(directory: Path, *generations: int, project: str = "p", entity: str | None = None, chain: str = "c") -> None:
    settings = TrackingConfig("wandb", project, entity)
    with trackers.mirror(settings, chain, "s", CONFIG, directory) as tracker:
        for generation in generations:
            tracker.log_generation(make_row(generation), PROBES)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_run_is_opened_under_the_chains_names(
    tmp_path: Path, spy: Wandb, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(wandb_mode, "choose", lambda: (mode, ""))
    go(tmp_path / "chain", 0, project="of mine", entity="team", chain="blend-seed0")
    (run,) = spy.runs
    assert run.about["id"] == wandb_tracker.run_id("s", "blend-seed0")
    assert (run.about["name"], run.about["group"]) == ("blend-seed0", "s")
    assert (run.about["project"], run.about["entity"]) == ("of mine", "team")
    assert run.about["config"] == CONFIG and "blend" in run.about["tags"]
    assert run.about["dir"] == str(tmp_path / "chain") and run.about["mode"] == mode
    assert run.about["resume"] == ("allow" if mode == "online" else None)  # offline, W&B cannot know what there was


def test_every_generation_is_a_step_of_its_own(tmp_path: Path, spy: Wandb) -> None:
    go(tmp_path, 0, 1, 5)
    (run,) = spy.runs
    assert [(step, values["generation"], values["efficientnet_lite0/fid"]) for step, values in run.logged] == [
        (1000, 0, 12.5),
        (2000, 1, 13.5),
        (6000, 5, 17.5),
    ]
    assert all("probes" in values for _, values in run.logged)
    assert run.ended == [0]


def test_lineage_starts_with_the_first_stage_of_the_row(
    tmp_path: Path, spy: Wandb, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logged: list[Any] = []
    monkeypatch.setattr(Run, "log_artifact", lambda self, artifact, aliases: logged.append(artifact))
    with trackers.mirror(TrackingConfig("wandb"), "c", "s", CONFIG, tmp_path) as tracker:
        tracker.log_generation(make_row(0, artifacts={"train": "train/bb/bb22", "score": "score/dd/dd44"}), PROBES)
    assert [(a.name, a.metadata["made_from"]) for a in logged] == [
        ("checkpoint-bb22", None),
        ("scores-dd44", "checkpoint-bb22"),
    ]
    assert "takes no artifacts" not in caplog.text


def test_a_generation_without_probes_is_logged_without(tmp_path: Path, spy: Wandb) -> None:
    with trackers.mirror(TrackingConfig("wandb"), "c", "s", CONFIG, tmp_path) as tracker:
        tracker.log_generation(make_row(0), None)
    assert "probes" not in spy.runs[0].logged[0][1] and spy.runs[0].logged[0][1]["wall_seconds"] == 2.25


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, Interrupted, SystemExit])
def test_whatever_ends_a_chain_ends_its_run_as_failed(tmp_path: Path, spy: Wandb, kind: type[BaseException]) -> None:
    with (
        pytest.raises(kind, match="that was it"),
        trackers.mirror(TrackingConfig("wandb"), "c", "s", CONFIG, tmp_path) as tracker,
    ):
        tracker.log_generation(make_row(0), PROBES)
        raise kind("that was it")
    assert [run.ended for run in spy.runs] == [[1]]


def test_a_resumed_chain_sends_only_new_generations(tmp_path: Path, spy: Wandb) -> None:
    go(tmp_path, 0, 1)
    go(tmp_path, 0, 1, 2)
    go(tmp_path, 0, 1, 2)
    assert spy.generations() == [[0, 1], [2]]
    assert spy.runs[0].about["id"] == spy.runs[1].about["id"]
    assert [run.ended for run in spy.runs] == [[0], [0]]


def test_each_target_gets_every_generation_once(tmp_path: Path, spy: Wandb, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another project, another team, online and offline: each has generations of its own."""

    def round_(*generations: int) -> None:
        for mode in ("online", "offline"):
            monkeypatch.setattr(wandb_mode, "choose", lambda mode=mode: (mode, ""))
            for project, entity in (("p", None), ("q", None), ("p", "team")):
                go(tmp_path, *generations, project=project, entity=entity)

    round_(0)
    round_(0)
    assert spy.generations() == [[0]] * 6
    round_(0, 1)
    assert spy.generations() == [[0]] * 6 + [[1]] * 6


def test_generations_written_offline_without_a_server_do_not_count_as_sent(
    tmp_path: Path, spy: Wandb, caplog: pytest.LogCaptureFixture
) -> None:
    go(tmp_path, 0)
    spy.unreachable = True
    go(tmp_path, 0, 1)
    assert spy.runs[-1].about["mode"] == "offline" and spy.generations() == [[0], [1]]
    assert "cannot be reached" in caplog.text
    go(tmp_path / "another chain", 0)
    assert spy.asked == 2, "the same server was tried again in vain"
    go(tmp_path / "another chain", 0, project="elsewhere")
    assert spy.asked == 3
    spy.unreachable = False
    wandb_tracker._unreachable.clear()  # the next process
    go(tmp_path, 0, 1)
    assert spy.runs[-1].about["mode"] == "online" and spy.generations()[-1] == [1]


def test_losses_are_sent_while_a_generation_trains_and_once(tmp_path: Path, spy: Wandb) -> None:
    for _ in range(2):  # the second time everything is sent
        with trackers.mirror(TrackingConfig("wandb"), "c", "s", CONFIG, tmp_path) as tracker:
            for generation in (0, 1):
                for done in (100, 200, 250):
                    tracker.log_loss(generation, done, 250, 1 / (generation + done))
                    assert len(spy.runs) == 1
                tracker.log_generation(make_row(generation), None)
    (run,) = spy.runs
    steps = [step for step, _ in run.logged]
    assert steps == sorted(set(steps)) and len(steps) == 8  # W&B drops a step that goes back
    curve = [(v["training/generation"], v["training/loss"]) for _, v in run.logged if "training/loss" in v]
    assert curve == [(g + done / 250, 1 / (g + done)) for g in (0, 1) for done in (100, 200, 250)]
    assert ["generation" in values for _, values in run.logged] == [False, False, False, True] * 2


def test_a_training_from_the_store_has_its_stored_curve(tmp_path: Path, spy: Wandb) -> None:
    model = tmp_path / "store" / "train" / "bb" / "bb22" / "model"
    model.mkdir(parents=True)
    (model / "losses.json").write_text(json.dumps([{"step": 100, "mean_loss": 0.5}, {"step": 150, "mean_loss": 0.25}]))
    row = make_row(1, artifacts={"model": "train/bb/bb22/model"}, store_dir=str(tmp_path / "store"))
    with trackers.mirror(TrackingConfig("wandb"), "c", "s", CONFIG, tmp_path) as tracker:
        tracker.log_generation(row, None)
    (run,) = spy.runs
    curve = [(v["training/generation"], v["training/loss"]) for _, v in run.logged[:-1]]
    assert curve == [(1 + 100 / 150, 0.5), (2.0, 0.25)] and run.logged[-1][1]["generation"] == 1


def test_generations_written_offline_are_not_written_there_again(tmp_path: Path, spy: Wandb) -> None:
    """The server is down for the second time, which is known only after the run is opened."""
    spy.unreachable = True
    go(tmp_path, 0)
    wandb_tracker._unreachable.clear()  # the next process
    go(tmp_path, 0, 1)
    assert spy.generations() == [[0], [1]]


def test_a_step_that_was_not_taken_is_sent_again(tmp_path: Path, spy: Wandb, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Run.log

    def fails_at_1(self: Run, values: dict[str, Any], step: int, commit: bool) -> None:
        if step == 2000:
            raise ConnectionError
        log(self, values, step, commit)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", fails_at_1)
        go(tmp_path, 0, 1, 2)
    go(tmp_path, 0, 1, 2)
    assert spy.generations() == [[0], [1, 2]]


@pytest.mark.parametrize("content", ["{half", "[1]", ""])
def test_an_unreadable_record_of_sent_generations_stops_nothing(tmp_path: Path, spy: Wandb, content: str) -> None:
    (tmp_path / wandb_tracker.LOGGED_FILE).write_text(content)
    go(tmp_path, 0)
    go(tmp_path, 0)
    assert spy.generations() == [[0]]


def test_tags_name_policy_data_generator_space_and_protocol() -> None:
    assert logged_values.tags(CONFIG) == ["blend", "birds", "ddpm", "efficientnet_lite0", "tiny v2"]
    bare = {**CONFIG, "data": {"name": "cub200"}, "protocol": {"name": None, "version": None}}
    assert logged_values.tags(bare) == ["blend", "cub200", "ddpm", "efficientnet_lite0"]
    assert logged_values.tags({"mixing": {"policy": "x" * 99}, "generator": {"name": "x" * 99}}) == ["x" * 64]


class FailingRun:
    def log(self, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("gone")

    def finish(self, *args: Any) -> None:
        raise ConnectionError("gone")


def with_run(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> WandbTracker:
    monkeypatch.setattr(WandbTracker, "_init", lambda self, mode: setattr(self, "_run", run))
    tracker = begin(tmp_path)
    assert isinstance(tracker, WandbTracker)
    return tracker


def test_an_error_of_wandb_is_logged_once_and_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = with_run(tmp_path, FailingRun(), monkeypatch)
    with caplog.at_level(logging.WARNING, logger="bench"):
        tracker.log_generation(make_row(0), PROBES)
        tracker.log_generation(make_row(1), PROBES)
        tracker.finish("finished")
    assert [r.message for r in caplog.records] == ["W&B failed and is not used any more: ConnectionError: gone"]
    assert not (tmp_path / wandb_tracker.LOGGED_FILE).exists()  # so that the next try sends them


def test_a_last_upload_that_does_not_end_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    over = threading.Event()

    class HangingRun:
        def finish(self, *args: Any) -> None:
            over.wait(60)

    monkeypatch.setattr(wandb_tracker, "FINISH_SECONDS", 0.2)
    tracker = with_run(tmp_path, HangingRun(), monkeypatch)
    started = time.monotonic()
    tracker.finish("finished")
    assert time.monotonic() - started < 10
    assert "not everything was sent" in caplog.text
    over.set()


RUN = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s")
from pathlib import Path
from bench.tracking import wandb_tracker
wandb_tracker.INIT_SECONDS = 3.0
from test_tracking import PROBES, begin
from test_ledger import make_row
for name in ("one", "two"):
    tracker = begin(Path(sys.argv[1]) / name)
    tracker.log_generation(make_row(), PROBES)
    tracker.finish("finished")
print("the run went on")
"""


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent), **extra}


@pytest.mark.slow
def test_an_unreachable_server_is_logged_once_and_the_run_is_written_offline(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        env=environment(WANDB_API_KEY=KEY, WANDB_BASE_URL="http://127.0.0.1:9"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "the run went on" in done.stdout
    assert done.stderr.count("cannot be reached") == 1
    assert KEY not in done.stdout + done.stderr
    for name in ("one", "two"):
        (run,) = records(tmp_path / name)
        assert [line["generation"] for line in history(run)] == [0]
    logs = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".wandb"]
    assert not [path for path in logs if KEY.encode() in path.read_bytes()]


def test_a_person_at_a_terminal_is_asked_nothing(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)],
        env=environment(WANDB_MODE="online"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        close_fds=True,
    )
    os.close(theirs)
    seen = b""
    try:
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not block:
                break
            seen += block
        assert process.wait(timeout=60) == 0, seen
    finally:
        process.kill()
        os.close(ours)
    assert b"the run went on" in seen
    assert b"Enter your choice" not in seen


def test_scalars_hold_every_score_by_its_full_name() -> None:
    row: Row = make_row()
    entry = row.scores[0]
    scores = [
        entry,
        {**entry, "metric": "precision", "parameters": {"k": 3}, "value": 0.5},
        {**entry, "subject": "real_train", "value": 2.0},
        {**entry, "reference": "training_set", "value": 3.0},
    ]
    got = logged_values.scalars(make_row(scores=scores))
    assert got["efficientnet_lite0/fid"] == 12.5
    assert got["efficientnet_lite0/precision_k3"] == 0.5
    assert got["floor/efficientnet_lite0/fid"] == 2.0
    assert got["samples_vs_training_set/efficientnet_lite0/fid"] == 3.0


def test_scalars_hold_the_numbers_of_every_stage_under_its_name() -> None:
    facts = {name: {"seconds": n, "note": "text", "done": True} for n, name in enumerate(("train", "sample", "score"))}
    got = logged_values.scalars(make_row(3, scores=[], wall_seconds=9.5, **facts))
    assert got == {
        "generation": 3,
        "composition/num_real": 32,
        "composition/num_synthetic": 32,
        "composition/synthetic_ratio": 0.5,
        "train/seconds": 0,
        "sample/seconds": 1,
        "score/seconds": 2,
        "wall_seconds": 9.5,
    }


def test_points_are_a_picture_with_their_axes_and_text_is_text(tmp_path: Path) -> None:
    """As the loop does, a generation is recorded and then tracked; a replay of the ledger sends the same."""
    rng = np.random.default_rng(0)
    items = {
        "points": [rng.normal(size=(30, 2)), rng.normal(size=(30, 2))],
        "tokens": [np.array([[3, 4], [5, 6]], np.int32), np.array([[7, 8], [9, 9]], np.int32)],
    }
    for kind, probes in items.items():
        tracker = begin(tmp_path / kind)
        for generation in range(2):
            recording.record(tmp_path / kind, make_row(generation), probes[generation])
            tracker.log_generation(make_row(generation), probes[generation])
        tracker.finish("finished")
    (pictures,), (texts,) = records(tmp_path / "points"), records(tmp_path / "tokens")
    captions = [line["probes.caption"] for line in history(pictures)]
    assert [caption[:12] for caption in captions] == ["generation 0", "generation 1"]
    assert all(" · axes: -" in caption for caption in captions)
    assert [line["probes._type"] for line in history(texts)] == ["html-file", "html-file"]
    first, second = (path.read_text() for path in sorted((tmp_path / "tokens").rglob("media/html/probes_*.html")))
    assert "<h4>generation 0</h4>" in first and "<li>3 4</li><li>5 6</li>" in first
    assert "<li>7 8</li><li>9 9</li>" in second
    (tmp_path / "tokens" / "probes" / "generation_0001.txt").write_text(
        shown.to_file(["<script>alert(1)</script>", "a\nb"], "")
    )
    (tmp_path / "tokens" / wandb_tracker.LOGGED_FILE).unlink()
    again = begin(tmp_path / "tokens")
    again.log_generation(make_row(1), items["tokens"][1])
    again.finish("finished")
    sent = [path.read_text() for path in (tmp_path / "tokens").rglob("media/html/probes_*.html")]
    assert any("<li>&lt;script&gt;alert(1)&lt;/script&gt;</li><li>a\nb</li>" in text for text in sent)
