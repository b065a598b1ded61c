"""The report as a whole: its files, its text, and its errors."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import fabricate
import numpy as np
import pytest
from html_tree import parse
from PIL import Image

from bench import ledger, report
from bench.analysis import cells
from bench.errors import LedgerError
from bench.report import __main__ as command
from bench.report import style


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures in tests need not be fit for print; where all formats matter, a test sets them."""
    monkeypatch.setitem(style.SETTINGS, "savefig.dpi", 80)
    monkeypatch.setattr(style, "FORMATS", ("png",))


def test_the_interval_is_students() -> None:
    got = cells.cell([1.0, 2.0, 3.0])
    assert got is not None and got.half_width is not None
    assert (got.mean, got.n) == (2.0, 3)
    assert got.half_width == pytest.approx(4.302652729911275 / 3**0.5)  # t(0.975, 2) from a printed table
    single = cells.cell([5.0])
    assert single is not None and single.half_width is None
    assert cells.cell([]) is None


def test_digits_follow_the_largest_value() -> None:
    assert [cells.digits([v]) for v in (0.71, 12.5, 431.0)] == [2, 1, 0]


def test_a_sweep_gives_tables_figures_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FORMATS", ("png", "svg", "pdf"))
    sweep = fabricate.sweep(tmp_path, seeds=(0, 1))
    made = report.write([sweep], tmp_path / "out")
    names = {path.name for path in made.paths}
    pictures = (
        "scores",
        "scores_more",
        "final",
        "phase",
        "trajectories",
        "profile",
        "survival",
        "samples",
        "scores_species",
        "training_sets",
    )
    pictures += ("training_sets", "scores_efficientnet_lite0_real_train_1024_1024")
    expected = {f"{name}.{kind}" for name in pictures for kind in ("png", "svg", "pdf")}
    assert names == expected | {f"tables.{kind}" for kind in ("md", "csv", "tex")} | {
        "statements.csv",
        *("report.html", "card.json", "card.md", "citations.bib"),
    }
    assert all(path.stat().st_size > 500 for path in made.paths)
    assert (tmp_path / "out" / "tables.md").read_text() == made.text
    assert 250 < Image.open(tmp_path / "out" / "scores.png").width < 300  # one column at the 80 dpi of tests

    fid = [fabricate.row(1.0, 3, s).scores[0]["value"] for s in (0, 1)]
    cell = f"{np.mean(fid):.0f} ± {12.7062 * np.std(fid, ddof=1) / 2**0.5:.0f}"
    line = next(line for line in made.text.splitlines() if line.startswith("| 1.00"))
    assert [c.strip() for c in line.split("|")][-3:-1] == [cell, "2"]
    assert "**FID ↓** · efficientnet_lite0 · against heldout · N = 1024" in made.text
    assert "k = 3" in made.text
    assert "| floor: real images | 21 |" in made.text


def test_the_picture_strip_shows_the_stored_pixels(tmp_path: Path) -> None:
    """Every cell is its own colour; the strip must have each where it belongs."""
    sweep = fabricate.sweep(tmp_path, ratios=(0.0, 1.0), seeds=(0,), num_generations=2)
    colours = {}
    for file in sweep.glob("*/ledger.jsonl"):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            digest = row["artifacts"]["probes"].split("/")[1]
            colour = np.array(
                [255 * row["generation"], 255 * row["config"]["mixing"]["synthetic_ratio"], 128], np.uint8
            )
            if row["generation"] == 0:
                colour[1] = 0  # both chains share generation 0
            path = tmp_path / "store" / "sample" / digest[:2] / digest / "probes.npy"
            np.save(path, np.broadcast_to(colour[:, None, None], (4, 3, 16, 16)))
            colours[row["config"]["mixing"]["synthetic_ratio"], row["generation"]] = tuple(int(c) for c in colour)
    report.write([sweep], tmp_path / "out")
    pixels = np.asarray(Image.open(tmp_path / "out" / "samples.png").convert("RGB")).astype(int)
    centres = {}
    for key, colour in colours.items():
        ys, xs = np.nonzero((np.abs(pixels - np.array(colour)) < 3).all(-1))
        assert len(ys) > 1000, key
        centres[key] = (ys.mean(), xs.mean())
    assert centres[0.0, 1][0] < centres[1.0, 1][0]  # rows by rising ratio
    assert centres[0.0, 0][1] < centres[0.0, 1][1]  # columns by generation


def test_equal_ledgers_give_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FORMATS", ("svg", "pdf"))
    sweep = fabricate.sweep(tmp_path, ratios=(0.0,), seeds=(0,), num_generations=1)
    first, second = (report.write([sweep], tmp_path / out) for out in ("a", "b"))
    for one, other in zip(first.paths, second.paths, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_missing_samples_give_a_partial_report_that_names_them(tmp_path: Path) -> None:
    sweep = fabricate.sweep(tmp_path, ratios=(0.0, 1.0), seeds=(0,), pictures=False)
    made = report.write([sweep], tmp_path / "out")
    assert not any("samples" in path.name for path in made.paths)
    assert "are not in its store" in made.text
    assert "… and" in made.text  # eight missing pictures are not eight lines


def test_pictures_of_another_form_are_left_out_and_named_by_their_path(tmp_path: Path) -> None:
    sweep = fabricate.sweep(tmp_path, ratios=(0.0,), seeds=(0,), num_generations=1)
    path = next(tmp_path.glob("store/**/probes.npy"))
    np.save(path, np.zeros((4, 16, 16)))
    text = report.write([sweep], tmp_path / "out").text
    assert "probes.npy: items have dtype float64 and shape (4, 16, 16)" in text


@pytest.mark.parametrize("items", [np.linspace(0, 1, 32).reshape(16, 2), np.arange(64, dtype=np.int32).reshape(16, 4)])
def test_samples_that_are_no_images_are_shown_as_their_kind_draws_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, items: np.ndarray
) -> None:
    monkeypatch.setattr(style, "FORMATS", ("png", "svg"))
    sweep = fabricate.sweep(tmp_path, ratios=(0.0,), seeds=(0,), num_generations=2)
    for path in [*tmp_path.glob("store/**/probes.npy"), *tmp_path.glob("store/real/**/items.npy")]:
        np.save(path, items)
    made = report.write([sweep], tmp_path / "out")
    assert "samples.png" in {path.name for path in made.paths}
    page = parse((tmp_path / "out" / "report.html").read_text())
    samples = page.one("section", "samples")
    assert "not in their store" not in samples.text
    assert len(samples.all("div", "planes")) == (items.dtype == np.float64)
    assert ("4 5 6 7" in samples.text) == (items.dtype == np.int32)  # the second sequence
    drawn = np.asarray(Image.open(tmp_path / "out" / "samples.png").convert("L"))
    assert drawn.min() < 60  # dots or text


def test_a_study_without_main_scores_is_reported_with_those_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "FORMATS", ("svg",))
    for ratio in (0.0, 1.0):
        for generation in range(3):
            row = fabricate.row(ratio, generation, 0)
            row = dataclasses.replace(row, scores=[fabricate.score("total_variation", 0.1 * generation)])
            ledger.append(tmp_path / "made-up" / row.chain / ledger.FILENAME, row)
    made = report.write([tmp_path / "made-up"], tmp_path / "out")
    assert "**total variation ↑**" in made.text and "**1.00** not judged: no FID" in made.text
    files = {path.name for path in made.paths if path.suffix == ".svg"}
    assert files == {"scores_more.svg", "training_sets.svg"}
    page = parse((tmp_path / "out" / "report.html").read_text())
    assert {figure.attributes["data-file"] for figure in page.all("figure")} == files
    assert len(page.one("div", "panel").all("table")) == 1


def test_two_studies_have_files_of_their_own_with_short_names(tmp_path: Path) -> None:
    for name in ("x", "y"):
        path = f"/a/very/long/{'way/' * 30}{'to-the-file-' * 5}{name}.npz"
        data = {"name": "npz", "path": path, "resolution": 16}
        made = {"sweep": "s", "ratios": (1.0,), "num_generations": 1, "pictures": False}
        fabricate.sweep(tmp_path, seeds=(ord(name),), data=data, real=name * 32, **made)
    names = [path.name for path in report.write([tmp_path], tmp_path / "out").paths]
    assert len(set(names)) == len(names)
    prefixes = {name.removesuffix("_card.json") for name in names if name.endswith("_card.json")}
    assert len(prefixes) == 2
    assert all(len(prefix) <= 60 and "way" not in prefix for prefix in prefixes)


def test_an_empty_directory_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LedgerError, match="holds no ledger"):
        report.write([tmp_path / "empty"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_tables_and_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = fabricate.sweep(tmp_path, seeds=(0,), num_generations=2, pictures=False)
    chain = next(sweep.iterdir())
    assert command.main([str(sweep)]) == 0
    captured = capsys.readouterr()
    assert "**FID ↓**" in captured.out
    assert str(sweep / "report" / "scores.png") in captured.err
    assert command.default_out(chain) == command.default_out(chain / "ledger.jsonl") == sweep / "report"


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path / "nowhere")]) == 2
    assert "no such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/nowhere/below", "/proc"])
def test_a_place_that_cannot_be_written_to_is_refused(
    tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = fabricate.sweep(tmp_path, ratios=(0.0,), seeds=(0,), num_generations=1, pictures=False)
    (tmp_path / "file").write_text("kept")
    assert command.main([str(sweep), "--out", str(tmp_path / out)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and f"out='{tmp_path / out}': must be a directory" in captured.err
    assert (tmp_path / "file").read_text() == "kept"


def test_the_report_needs_no_torch() -> None:
    code = "import sys, bench.report.__main__, bench.report.build; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_report_of_several_studies_has_each_ones_own_words_files_and_pictures(tmp_path: Path) -> None:
    """One sweep collapses and keeps its pictures; of the other, which is stable, they are gone."""
    for name, ratio, pictures in (("falls", 1.0, True), ("holds", 0.0, False)):
        data = {"name": "procedural", "kind": name, "resolution": 16}
        fabricate.sweep(tmp_path / name, ratios=(ratio,), seeds=(0, 1, 2, 3), sweep=name, data=data, pictures=pictures)
    made = report.write([tmp_path / "falls", tmp_path / "holds"], tmp_path / "out")
    falls, holds = made.text.split("\n## ")
    assert "falls" in falls.splitlines()[0] and "**1.00** diverging: FID" in falls and "not in its store" not in falls
    assert "holds" in holds.splitlines()[0] and "**0.00** stable: FID" in holds
    gone = [line for line in holds.splitlines() if line.startswith("> ") and ("store" in line or "more" in line)]
    assert [("generation" in line) for line in gone] == [True] * 4  # of the one chain that the strip would show
    cards = [json.loads(path.read_text()) for path in made.paths if path.name.endswith("_card.json")]
    assert [body["conditions"][0]["label"] for body in cards] == ["1.00", "0.00"]
    for path in made.paths:
        if path.name.endswith("_samples.png"):
            assert "falls" in path.name
    assert sum(path.name.endswith("_samples.png") for path in made.paths) == 1
    assert len({path.name for path in made.paths if path.name.endswith("_scores.png")}) == 2
