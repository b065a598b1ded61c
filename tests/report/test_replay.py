"""Replay: a finished ledger becomes the W&B run that tracking would have created, once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import distinct
import fabricate
import pytest

from bench.tracking import replay, trackers, wandb_tracker


@pytest.fixture(autouse=True)
def nobodys_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))


def runs(sweep: Path) -> list[list[dict[str, Any]]]:
    records = []
    for directory in sorted(sweep.glob("*/wandb/offline-run-*")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        records.append([json.loads(line) for line in done.stdout.splitlines()])
    return records


def test_every_chain_is_sent_once_with_scores_and_pictures(tmp_path: Path) -> None:
    sweep = fabricate.sweep(tmp_path, ratios=(0.5,), seeds=(0, 1), num_generations=2)
    assert replay.main([str(sweep), "--project", "p"]) == 0
    before = runs(sweep)
    assert len(before) == 2
    for seed, run in enumerate(before):
        about = next(r["run"] for r in run if r["type"] == "run")
        row = fabricate.row(0.5, 1, seed)
        assert about["run_id"] == wandb_tracker.run_id("made-up", row.chain)
        assert about["project"] == "p"
        history = [r["history"]["item"] for r in run if r["type"] == "history"]
        assert [line["generation"] for line in history] == [0, 1]
        assert history[1]["efficientnet_lite0/fid"] == row.scores[0]["value"]
        assert history[1]["probes._type"] == "image-file"
    assert replay.main([str(sweep), "--project", "p"]) == 0
    assert runs(sweep) == before


def test_a_generation_without_pictures_is_sent_all_the_same(tmp_path: Path) -> None:
    sweep = fabricate.sweep(tmp_path, ratios=(0.5,), seeds=(0,), num_generations=1, pictures=False)
    assert replay.main([str(sweep)]) == 0
    (run,) = runs(sweep)
    (line,) = [r["history"]["item"] for r in run if r["type"] == "history"]
    assert "efficientnet_lite0/fid" in line
    assert not any(key.startswith("probes") for key in line)


def test_paths_that_cannot_be_read_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main([str(tmp_path / "nowhere")]) == 2
    assert "no such file" in capsys.readouterr().err


class Spy:
    """A tracker that only keeps its arguments."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.seen = {**given, "rows": [], "end": None}

    def log_generation(self, row: Any, probes: Any) -> None:
        assert self.seen["end"] is None
        self.seen["rows"].append((row.generation, None if probes is None else probes[0, :, 0, 0].tolist()))

    def finish(self, outcome: str) -> None:
        self.seen["end"] = outcome


def test_each_chain_has_a_run_of_its_own_with_its_own_rows_pictures_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = distinct.sweep(tmp_path, pictures=True)
    spies: list[Spy] = []

    def start(settings: Any, **given: Any) -> Spy:
        spies.append(Spy({"settings": settings, **given}))
        return spies[-1]

    monkeypatch.setattr(trackers, "start", start)
    assert replay.main([str(tmp_path / "made-up"), "--project", "p", "--entity", "e"]) == 0
    expected = {}
    for ratio, seeds in distinct.LENGTHS.items():
        for seed, length in seeds.items():
            pictures = [distinct.picture(ratio, g, seed, 0).tolist() for g in range(length)]
            expected[distinct.row(ratio, 0, seed).chain] = (ratio, seed, list(enumerate(pictures)))
    assert len(spies) == len(expected) == sum(len(seeds) for seeds in study.chains.values())
    for given in (spy.seen for spy in spies):
        ratio, seed, rows = expected.pop(given["chain_id"])
        assert (given["rows"], given["end"], given["sweep"]) == (rows, "finished", "made-up")
        assert (given["config"]["mixing"]["synthetic_ratio"], given["config"]["seed"]) == (ratio, seed)
        assert given["directory"] == tmp_path / "made-up" / given["chain_id"]
        settings = given["settings"]
        assert (settings.tracker, settings.project, settings.entity) == ("wandb", "p", "e")
