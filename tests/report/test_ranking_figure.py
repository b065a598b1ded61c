"""The figure of a ranking: every arm's difference with its interval where the table has it, best first."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from test_ranking import ARMS, study_of

from bench.analysis.ranking import rankings
from bench.analysis.study import Study
from bench.report import figures, ranking_figure
from bench.report.ranking_figure import LOOKS, arm_names, draw_rankings
from bench.report.ranking_statement import ranking
from bench.report.style import colours


def drawn(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    monkeypatch.setattr(ranking_figure, "save", lambda figure, out, name: found.update({name: figure}) or [])
    draw_rankings(study, tmp_path, "a_")
    return found


def test_differences_and_intervals_are_those_of_the_ranking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of()
    shown = drawn(study, tmp_path, monkeypatch)
    assert list(shown) == ["a_ranking", "a_ranking_2"]
    for found, figure in zip(rankings(study), shown.values(), strict=True):
        assert [axis.get_title() for axis in figure.axes] == [
            "coverage ↑", "KID ↓", "excess risk ↓", "rate of FID ↓",
        ]  # fmt: skip
        for axis, quantity in zip(figure.axes, found.quantities, strict=True):
            lines = axis.get_lines()[1:]  # the first is 0
            for place, arm in enumerate(found.arms):
                bar, point = lines[2 * place : 2 * place + 2]
                difference = arm.differences[quantity].difference
                assert list(bar.get_xdata()) == [difference.low, difference.high]
                assert [*point.get_xdata(), *point.get_ydata()] == [difference.mean, place]
                assert (point.get_color(), point.get_marker()) == LOOKS[arm.is_better(quantity)][:2]
        bottom, top = figure.axes[0].get_ylim()
        assert bottom > top, "the first arm, which is the best, is at the top"


def test_labels_are_beside_their_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of()
    figure = drawn(study, tmp_path, monkeypatch)["a_ranking_2"]
    labels = [" ".join(label.get_text().split()) for label in figure.axes[0].get_yticklabels()]
    assert labels == ["accumulate", "remedy neon", "ratio 0.90", "selection random", "selection reward"]


def test_arms_of_one_rule_are_told_apart_by_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    worse = {**ARMS["oracle"][2]["vetting"], "true_positive_rate": 0.5}
    monkeypatch.setitem(ARMS, "half", (*ARMS["oracle"][:2], {"vetting": worse}))
    (found,) = (r for r in rankings(study_of("ratio 0", "blend", "oracle", "half", "fresh")))
    assert sorted(arm_names(found)) == ["fresh (r 0.75)", "vetting oracle (TPR 0.5)", "vetting oracle (TPR 0.9)"]


def test_arms_that_share_the_ratio_of_their_baseline_have_colours_of_their_own() -> None:
    study = study_of("ratio 0", "replace", "neon", "random", "blend", "oracle")
    found = {condition.label.split(" (")[0]: colour for condition, colour in colours(study).items()}
    assert len(set(found.values())) == len(found) == 6
    plain = colours(study_of("ratio 0", "replace", "blend"))
    assert {c.label: colour for c, colour in plain.items()}.items() <= found.items(), "a ratio keeps its colour"


def test_one_seed_has_points_without_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(study_of("replace", "neon", seeds=1), tmp_path, monkeypatch)["a_ranking"]
    assert [len(axis.get_lines()) for axis in figure.axes] == [2] * len(figure.axes)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["better", "worse", "not established"], "a point without a bar has no interval that could hold 0"


def test_each_table_has_its_figure_and_a_study_without_rules_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARMS, "chosen", (1.0, ARMS["blend"][1], ARMS["random"][2]))
    study = study_of("ratio 0", "replace", "neon", "blend", "chosen")
    paths = figures.draw(study, [study], tmp_path, "s_").ranking
    assert len(paths) == 6 and [path.stem for path in paths if path.suffix == ".svg"] == [
        f"s_{one.figure}" for one in ranking(study)
    ]
    assert draw_rankings(study_of("replace", "blend", "ratio 0", "fresh"), tmp_path) == []
