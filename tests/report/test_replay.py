"""Replay: a finished ledger becomes the W&B run that it would have been, once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fabricate
import pytest

from bench import replay, tracking


@pytest.fixture(autouse=True)
def nobodys_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))


def runs(sweep: Path) -> list[list[dict[str, Any]]]:
    found = []
    for directory in sorted(sweep.glob("*/wandb/offline-run-*")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        found.append([json.loads(line) for line in done.stdout.splitlines()])
    return found


def test_every_chain_is_sent_once_with_scores_and_pictures(tmp_path: Path) -> None:
    sweep = fabricate.sweep(tmp_path, ratios=(0.5,), seeds=(0, 1), num_generations=2)
    assert replay.main([str(sweep), "--project", "p"]) == 0
    before = runs(sweep)
    assert len(before) == 2
    for seed, run in enumerate(before):
        about = next(r["run"] for r in run if r["type"] == "run")
        row = fabricate.row(0.5, 1, seed)
        assert about["run_id"] == tracking.run_id("made-up", row.chain)
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


def test_what_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main([str(tmp_path / "nowhere")]) == 2
    assert "no such file" in capsys.readouterr().err
