"""Tracking: what W&B is told is read back from the run on disk; no failure of W&B reaches the run."""

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

from bench import tracking
from bench.config import TrackingConfig
from bench.ledger import Row
from bench.tracking import NullTracker, Tracker, WandbTracker

PROBES = np.arange(4 * 3 * 16 * 16, dtype=np.uint8).reshape(4, 3, 16, 16)
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
    """No key, no settings, and nothing of the person who runs the tests."""
    for name in [n for n in os.environ if n.startswith("WANDB_")] + ["NETRC"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home"))
    monkeypatch.setattr(tracking, "_unreachable", set())
    (tmp_path / "home").mkdir()


def begin(directory: Path) -> Tracker:
    row = make_row()
    return tracking.start(
        TrackingConfig("wandb"), chain_id=row.chain, sweep=row.sweep, config=CONFIG, directory=directory
    )


def records(directory: Path) -> list[list[dict[str, Any]]]:
    """Per offline run below `directory`, in the order they were made, the records that W&B's own reader finds."""
    found = []
    for run in sorted(directory.glob("wandb/offline-run-*"), key=lambda run: run.stat().st_mtime):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        found.append([json.loads(line) for line in done.stdout.splitlines()])
    return found


def history(run: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record["history"]["item"] for record in run if record["type"] == "history"]


def test_no_tracker_touches_nothing(tmp_path: Path) -> None:
    settings = TrackingConfig("none")
    tracker = tracking.start(settings, chain_id="c", sweep="s", config={}, directory=tmp_path / "chain")
    tracker.log_generation(make_row(), PROBES)
    tracker.finish("finished")
    assert isinstance(tracker, NullTracker)
    assert not (tmp_path / "chain").exists()


def test_an_offline_run_reads_back_with_scores_pictures_and_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="bench"):
        tracker = begin(tmp_path)
    said = [r.message for r in caplog.records if r.name.startswith("bench")]
    assert said == ["W&B: offline (no API key; send it later with `wandb sync`)"]
    for generation in range(2):
        tracker.log_generation(make_row(generation), PROBES)
    tracker.finish("finished")

    (run,) = records(tmp_path)
    about = next(record["run"] for record in run if record["type"] == "run")
    assert about["display_name"] == make_row().chain
    assert about["run_group"] == "quick"
    assert about["run_id"] == tracking.run_id("quick", make_row().chain)
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
    assert history(second)[0]["_step"] == 1  # goes on counting where the first part ended
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
    origins = [json.loads(a["metadata"])["made_from"] for a in artifacts]
    assert origins == [None, "real-pool-aa11", "checkpoint-bb22", "samples-cc33"]


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
    assert tracking.run_id("a", "c") == tracking.run_id("a", "c")
    assert len({tracking.run_id("a", "c"), tracking.run_id("b", "c"), tracking.run_id("a", "d")}) == 3


def test_mode_follows_the_environment_and_then_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert tracking._mode()[0] == "offline"
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("WANDB_BASE_URL", "https://api.wandb.ai")
    wandb.teardown()  # it reads the environment once
    netrc.write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert tracking._mode()[0] == "online"
    netrc.write_text(f"machine example.org\n  login user\n  password {KEY}\n")
    assert tracking._mode()[0] == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    assert tracking._mode()[0] == "offline"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert tracking._mode()[0] == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert tracking._mode()[0] == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert isinstance(begin(tmp_path / "chain"), NullTracker)
    monkeypatch.delenv("WANDB_API_KEY")
    netrc.unlink()
    monkeypatch.setenv("WANDB_MODE", "online")
    mode, why = tracking._mode()
    assert mode == "offline"  # online without a key would ask for one
    assert "no API key" in why


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


def test_what_wandb_raises_is_said_once_and_goes_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = with_run(tmp_path, FailingRun(), monkeypatch)
    with caplog.at_level(logging.WARNING, logger="bench"):
        tracker.log_generation(make_row(0), PROBES)
        tracker.log_generation(make_row(1), PROBES)
        tracker.finish("finished")
    assert [r.message for r in caplog.records] == ["W&B failed and is left alone from here on: ConnectionError: gone"]
    assert not (tmp_path / tracking.LOGGED_FILE).exists()  # so that the next try sends them


def test_a_last_upload_that_does_not_end_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    over = threading.Event()

    class HangingRun:
        def finish(self, *args: Any) -> None:
            over.wait(60)

    monkeypatch.setattr(tracking, "FINISH_SECONDS", 0.2)
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
from bench import tracking
tracking.INIT_SECONDS = 3.0
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


def test_an_unreachable_server_is_said_once_and_the_run_is_written_offline(tmp_path: Path) -> None:
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
    got = tracking.scalars(make_row(scores=scores))
    assert got["efficientnet_lite0/fid"] == 12.5
    assert got["efficientnet_lite0/precision_k3"] == 0.5
    assert got["floor/efficientnet_lite0/fid"] == 2.0
    assert got["samples_vs_training_set/efficientnet_lite0/fid"] == 3.0
