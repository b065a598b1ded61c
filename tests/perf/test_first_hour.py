"""`make gpu` measures what it says, goes on after an error, and tells what is not as promised: tried on the CPU."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.perf import first_hour

TRIAL: dict[str, Any] = {
    "weights": "a",
    "samples": {"64": "x", "512": "x"},
    "mean_loss": 0.5,
    "deterministic": True,
    "runtime": {"cuda_graphs": "small networks"},
}
TRIED = ("plain", "graphs", "small", "small graphs", "deterministic", "deterministic again")


def test_without_a_device_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert first_hour.main([]) == 2
    assert "there is no CUDA device here: run this where `nvidia-smi` lists one" in capsys.readouterr().err


def test_a_short_form_on_the_cpu_writes_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ("plain", "deterministic", "deterministic again")
    monkeypatch.setattr(first_hour, "TRIALS", {name: first_hour.TRIALS[name] for name in kept})
    monkeypatch.setattr(first_hour, "apart", lambda work, *arguments: work(*arguments))
    monkeypatch.setattr(first_hour, "command", lambda *arguments: {"status": 0, "output": " ".join(arguments)})
    path = tmp_path / "report.json"
    assert first_hour.main(["--device", "cpu", "--short", "--out", str(path)]) == 0
    report = json.loads(path.read_text())
    assert list(report) == ["machine", *kept, "smoke"]
    assert report["machine"]["device"] == "cpu" and report["plain"]["step_s"] > 0
    assert report["plain"]["weights"] == report["deterministic"]["weights"], "on the CPU all are one"
    assert "generator.training.num_steps=6" in report["smoke"]["output"]
    printed = capsys.readouterr().out
    assert "as promised: two deterministic trainings are one" in printed and f"please send {path}" in printed


@pytest.mark.parametrize(
    ("name", "change", "broken"),
    [
        ("deterministic again", {"weights": "b"}, "two deterministic trainings are one"),
        ("deterministic", {"samples": {"64": "x", "512": "y"}}, "deterministic: blocks of 64 and of 512"),
        ("graphs", {"mean_loss": 0.6}, "graphs: the loss is that of the plain training"),
        ("graphs", {"error": "Traceback"}, "graphs ran"),
        ("small graphs", {"mean_loss": 0.6}, "small graphs: the loss is that of the plain training"),
        ("small graphs", {"runtime": {"cuda_graphs": False}}, "small graphs: their values were right"),
        ("smoke", {"status": 1}, "smoke ran"),
    ],
)
def test_each_promise_can_be_broken(name: str, change: dict[str, Any], broken: str) -> None:
    report = {trial: dict(TRIAL) for trial in TRIED}
    report["smoke"] = {"status": 0}
    assert all(line.startswith("as promised") for line in first_hour.verdict(report))
    report[name] |= change
    wrong = [line for line in first_hour.verdict(report) if line.startswith("NOT as promised")]
    assert any(broken in line for line in wrong)


def test_an_error_in_one_section_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> dict[str, Any]:
        raise RuntimeError("out of memory")

    sections: tuple[tuple[str, Callable[..., Any]], ...] = (
        ("machine", lambda device: {"device": device}),
        ("apart", broken),
        ("smoke", lambda device, short: {"status": 0}),
    )
    for name, work in sections:
        monkeypatch.setattr(first_hour, name, work)
    report = first_hour.run("cpu", True, tmp_path / "report.json")
    assert "out of memory" in report["plain"]["error"] and report["smoke"]["status"] == 0
    assert "NOT as promised: plain ran" in first_hour.verdict(report)
