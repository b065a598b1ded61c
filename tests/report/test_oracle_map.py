"""The oracle's map: conditions of known verdicts stand in the cells of their own rates, with their own numbers."""

import csv
import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import fabricate
import pytest
import vetted
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from bench import ledger
from bench.analysis.oracle_map import effective_ratio, oracle_map
from bench.analysis.study import Study, studies
from bench.analysis.verdicts import summary
from bench.report import oracle_map as shown
from bench.report.build import write

VERDICTS: dict[tuple[float, vetted.Rates], str] = {
    (0.5, (0.0, 0.0)): "bounded",
    (0.5, (0.0, 0.25)): "diverging",
    (0.5, (0.75, 0.0)): "stable",
    (0.5, None): "bounded",
    (0.75, (0.0, 0.0)): "diverging",
    (0.75, (0.75, 0.0)): "bounded",
    (0.75, (0.75, 0.25)): "diverging",
}
WITH_REFERENCE: dict[tuple[float, vetted.Rates], str] = {**VERDICTS, (0.0, None): "stable"}


def study_of(tmp_path: Path, verdicts: Any = VERDICTS, **changes: Any) -> Study:
    (study,) = studies(ledger.read_runs([vetted.sweep(tmp_path, verdicts, **changes)]))
    return study


def drawn(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    figures: list[Figure] = []
    monkeypatch.setattr(shown, "save", lambda figure, out, name: figures.append(figure) or [])
    shown.draw_map(study, tmp_path, "map")
    return figures[0]


def cells_of(axis: Any) -> dict[tuple[str, str], list[str]]:
    """Return (TPR, FPR) as the axes name them -> the lines of the cell."""
    columns = dict(zip(axis.get_xticks(), (label.get_text() for label in axis.get_xticklabels()), strict=True))
    rows = dict(zip(axis.get_yticks(), (label.get_text() for label in axis.get_yticklabels()), strict=True))
    return {
        (rows[text.get_position()[1]], columns[text.get_position()[0]]): text.get_text().split("\n")
        for text in axis.texts
    }


def test_every_condition_is_the_point_of_its_rates(tmp_path: Path) -> None:
    half, most = oracle_map(study_of(tmp_path))
    assert (half.title, most.title) == ("synthetic ratio 0.50", "synthetic ratio 0.75")
    for panel, ratio in ((half, 0.5), (most, 0.75)):
        known = {rates: word for (r, rates), word in VERDICTS.items() if r == ratio and rates}
        assert {rates: point.badge for rates, point in panel.points.items()} == known
        for (tpr, fpr), point in panel.points.items():
            kept = ratio * (1 - tpr), (1 - ratio) * (1 - fpr)
            assert point.drawn == ratio and point.expected == pytest.approx(kept[0] / sum(kept))
            assert point.trained_on == pytest.approx(point.expected, abs=0.001)
            assert (point.change, point.against) == (pytest.approx(vetted.CHANGES[point.badge]), "generation 0")
            assert point.num_seeds == 3 and point.generation == 8
    assert half.unvetted and (half.unvetted.badge, half.unvetted.trained_on) == ("bounded", 0.5)
    assert most.unvetted is None


def test_with_ratio_0_a_change_is_against_the_same_seeds_there(tmp_path: Path) -> None:
    half, _ = oracle_map(study_of(tmp_path, WITH_REFERENCE))
    point = half.points[0.0, 0.25]
    assert (point.badge, point.against) == ("diverging", "ratio 0")
    assert point.change == pytest.approx(260 / 101 - 1)


def test_the_ratio_that_is_left_follows_bayes_rule() -> None:
    assert effective_ratio(0.5, 0.5, 0.1) == pytest.approx(5 / 14)
    assert effective_ratio(0.9, 0.0, 0.0) == pytest.approx(0.9)
    assert effective_ratio(1.0, 0.5, 0.3) == 1.0 and effective_ratio(0.0, 0.5, 0.3) == 0.0
    assert effective_ratio(0.5, 1.0, 1.0) is None


def test_conditions_with_refill_have_a_panel_of_their_own(tmp_path: Path) -> None:
    vetted.sweep(tmp_path / "a", VERDICTS)
    vetted.sweep(tmp_path / "b", {(0.5, (0.75, 0.0)): "diverging"}, refill=True)
    (study,) = studies(ledger.read_runs([tmp_path / "a" / "vetted", tmp_path / "b" / "vetted"]))
    panels = {panel.title: panel for panel in oracle_map(study)}
    assert panels["synthetic ratio 0.50"].points[0.75, 0.0].badge == "stable"
    refilled = panels["synthetic ratio 0.50, refilled"]
    assert [point.badge for point in refilled.points.values()] == ["diverging"]
    assert refilled.unvetted == panels["synthetic ratio 0.50"].unvetted is not None


def test_the_figure_has_each_cell_where_its_axes_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(tmp_path)
    figure = drawn(study, tmp_path, monkeypatch)
    for axis, panel in zip(figure.axes, oracle_map(study), strict=True):
        assert axis.get_title(loc="left") == panel.title
        assert axis.get_xlabel() == "false-positive rate" and axis.get_ylabel() == "true-positive rate"
        expected = {
            (f"{tpr:g}", f"{fpr:g}"): [
                point.badge,
                f"{100 * vetted.CHANGES[point.badge]:+.0f} %",
                f"r {effective_ratio(point.drawn, tpr, fpr) or 0:.2f}",
            ]
            for (tpr, fpr), point in panel.points.items()
        }
        if panel.unvetted:
            expected["0", "no vetting"] = ["bounded", "+97 %", "r 0.50"]
        assert cells_of(axis) == expected
        filled = [patch for patch in axis.patches if patch.get_fill()]
        assert len(filled) == len(expected) and len(axis.patches) - len(filled) == 1, "the pair that was not run"
        for patch in filled:
            (word,) = (t.get_text().split("\n")[0] for t in axis.texts if patch.get_bbox().contains(*t.get_position()))
            assert to_hex(patch.get_facecolor()) == shown.COLOURS[word]
    assert "dashed: not run" in figure.texts[-1].get_text()


def test_shades_tell_verdicts_apart_without_colour() -> None:
    weights = (0.2126, 0.7152, 0.0722)
    grey = {word: sum(w * v**2.2 for w, v in zip(weights, to_rgb(c), strict=True)) for word, c in shown.COLOURS.items()}
    ranked = [grey[word] for word in ("stable", "bounded", "rising", "diverging")]
    assert all(light / dark > 1.4 for light, dark in pairwise(ranked))


def test_narrow_cells_have_a_letter_and_a_summary_counts_what_it_cannot_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {(0.5, (0.5, step / 20)): "stable" if step < 10 else "diverging" for step in range(20)}
    study = study_of(tmp_path, many)
    figure = drawn(study, tmp_path, monkeypatch)
    assert list(cells_of(figure.axes[0]).values()) == [["S"]] * 10 + [["D"]] * 10
    assert figure.get_figwidth() <= shown.PAGE + 0.5
    assert summary(study).startswith("20 conditions, ") and "Diverging: 10. Stable: 10." in summary(study)


def test_the_report_shows_map_and_table(tmp_path: Path) -> None:
    few: dict[tuple[float, vetted.Rates], str] = {(0.75, (0.75, 0.0)): "bounded", (0.0, None): "stable"}
    write([vetted.sweep(tmp_path, few)], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert 'data-file="oracle_map.svg"' in page and "How good must a detector be?" in page
    table = (tmp_path / "report" / "tables.md").read_text()
    assert "| synthetic ratio 0.75 | 0.75 | 0 | 0.750 | 0.429 | 0.429 | bounded | +95 % | 3 |" in table
    assert "0.429 & 0.429 & bounded" in (tmp_path / "report" / "tables.tex").read_text()
    rows = csv.DictReader(io.StringIO((tmp_path / "report" / "statements.csv").read_text()))
    found = {row["quantity"]: float(row["value"]) for row in rows if row["statement"] == "oracle's map"}
    assert (found["true_positive_rate"], found["false_positive_rate"]) == (0.75, 0.0)
    assert found["expected_ratio"] == pytest.approx(3 / 7) and found["change_of_fid"] == pytest.approx(197 / 101 - 1)


def test_without_an_oracle_there_is_no_map(tmp_path: Path) -> None:
    (study,) = studies(ledger.read_runs([fabricate.sweep(tmp_path, pictures=False)]))
    assert shown.draw_map(study, tmp_path, "map") == [] and list(shown.state_map(study)) == []
