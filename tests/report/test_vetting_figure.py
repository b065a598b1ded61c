"""Figures of vetting by generation: lines through the means of the ledger's rates, and what is left out of them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabricate
import numpy as np
import pytest
from matplotlib.figure import Figure

from bench import ledger
from bench.analysis.study import Study, studies
from bench.report import vetting_figure
from bench.report.build import write
from bench.report.vetting_statement import vetting

RULES: dict[str, dict[str, Any]] = {
    "watermark": {"false_positive_rate": 0.05, "num_calibration": 100, "num_generations": 1},
    "oracle": {"true_positive_rate": 0.5, "false_positive_rate": 0.2},
    "custom": {"function": "mine:keep", "parameters": {}},
}
SEEDS, GENERATIONS = (0, 1, 2), (0, 1, 2, 3)


def rates(generation: int, seed: int) -> dict[str, float]:
    """Known facts, different for each generation and seed, whose mean over seeds is not that of the middle one."""
    off = {0: -0.01, 1: 0.0, 2: 0.04}[seed]
    return {
        "true_positive_rate": 0.9 - 0.2 * generation + off,
        "false_positive_rate": 0.05 + 0.02 * generation + off,
        "auroc": 0.95 - 0.1 * generation + off,
        "effective_ratio": 0.1 * generation + off,
        "seconds": 2.0 * generation + off,
    }


@pytest.fixture
def study(tmp_path: Path) -> Study:
    for rule, options in RULES.items():
        for seed in SEEDS:
            for generation in GENERATIONS:
                made = fabricate.row(0.5, generation, seed)
                facts: dict[str, Any] = {"rule": rule, **rates(generation, seed)}
                facts |= {} if rule == "watermark" else {"auroc": None}
                if generation == 0:
                    facts |= {"true_positive_rate": None, "auroc": None}
                config = {**made.config, "vetting": {"name": rule, "refill": False, **options}}
                row = dataclasses.replace(made, chain=f"{rule}-{seed}", config=config, config_hash=rule, vetting=facts)
                ledger.append(tmp_path / "run" / row.chain / ledger.FILENAME, row)
    (found,) = studies(ledger.read_runs([tmp_path / "run"]))
    return found


def drawn(draw: Callable, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    figures: list[Figure] = []
    monkeypatch.setattr(vetting_figure, "save", lambda figure, out, name: figures.append(figure) or [])
    draw(study, tmp_path, "name")
    return figures[0]


def means(name: str) -> list[float]:
    return [float(np.mean([rates(g, seed)[name] for seed in SEEDS])) for g in GENERATIONS[1:]]


def test_a_rule_with_scores_has_its_errors_and_the_rate_that_was_asked_for(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = drawn(vetting_figure.detector_curves, study, tmp_path, monkeypatch)
    (axis,) = (a for a in figure.axes if a.get_visible())
    assert "watermark" in axis.get_title().replace("\n", " ")
    *lines, asked = axis.get_lines()
    for line, name in zip(lines, ("true_positive_rate", "false_positive_rate", "auroc"), strict=True):
        assert list(line.get_xdata()) == [1, 2, 3]
        assert list(line.get_ydata()) == pytest.approx(means(name))
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.29, 0.74))
    assert list(asked.get_ydata()) == [0.05, 0.05] and asked.get_linestyle() != "-"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["TPR", "FPR", "AUROC", "FPR asked for"]


def test_contamination_is_shown_before_and_after_for_every_rule_but_an_oracle(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = drawn(vetting_figure.contamination, study, tmp_path, monkeypatch)
    axes = [axis for axis in figure.axes if axis.get_visible()]
    titles = [axis.get_title().replace("\n", " ") for axis in axes]
    assert len(titles) == 2 and "mine:keep" not in titles[0] and not any("oracle" in title for title in titles)
    for axis in axes:
        before, after = axis.get_lines()
        assert list(before.get_ydata()) == [0.5, 0.5, 0.5]
        assert list(after.get_ydata()) == pytest.approx(means("effective_ratio"))


def test_the_table_has_the_seconds(study: Study) -> None:
    (statement,) = vetting(study)
    assert statement.head[-1] == "seconds"
    assert [row[-1] for row in statement.rows[:3]] == [f"{value:.1f}" for value in means("seconds")]
    assert {record["quantity"] for record in statement.records} >= {"seconds"}


def test_generation_0_of_a_newcomer_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have trained on samples of an earlier chain, so vetting had something to find."""
    made = fabricate.row(0.5, 0, 0)
    config = {**made.config, "vetting": {"name": "watermark", **RULES["watermark"]}, "join": {"samples_of": "last"}}
    joined = {"condition": "1.00", "generation": 2, "ratio": 0.5}
    row = dataclasses.replace(made, config=config, joined=joined, vetting={"rule": "watermark", **rates(0, 0)})
    ledger.append(tmp_path / "run" / row.chain / ledger.FILENAME, row)
    (study,) = studies(ledger.read_runs([tmp_path / "run"]))
    figure = drawn(vetting_figure.detector_curves, study, tmp_path, monkeypatch)
    assert list(figure.axes[0].get_lines()[0].get_xdata()) == [0]
    assert [statement.rows[0][1] for statement in vetting(study)] == ["0"]


def test_both_are_on_the_page(study: Study, tmp_path: Path) -> None:
    write([tmp_path / "run"], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert 'data-file="detectors.svg"' in page and 'data-file="contamination.svg"' in page
    assert "vetting: errors of the detector by generation" in page


def test_without_vetting_there_is_nothing_to_draw(tmp_path: Path) -> None:
    (plain,) = studies(ledger.read_runs([fabricate.sweep(tmp_path, pictures=False)]))
    assert vetting_figure.detector_curves(plain, tmp_path, "a") == []
    assert vetting_figure.contamination(plain, tmp_path, "b") == []
