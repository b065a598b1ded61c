"""What a report says of who made an item: the matrices of detectors and marks, and the table of vetting."""

from pathlib import Path
from typing import Any

import configs as c
import numpy as np
import pytest
from echo import Echo, Lines, small

from bench import loop
from bench.analysis.study import studies
from bench.config import MetricsConfig
from bench.ledger import read_runs
from bench.report import detection_figure
from bench.report.build import write
from bench.report.vetting_statement import vetting
from bench.vetting.oracle import Config as OracleConfig
from bench.watermarks.pixel_pattern import Config as PatternConfig


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def chains(seeds: tuple[int, ...] = (0, 1), scores: tuple[str, ...] = ("frechet",), **changes: Any) -> Any:
        Echo(monkeypatch)
        options = {"watermark": {"false_positive_rate": 0.25}} if "watermark" in scores else {}
        chosen = MetricsConfig(feature_space="echo:pixels", num_images=16, scores=[*scores], options=options)
        for seed in seeds:
            loop.run_chain(small(tmp_path, seed=seed, num_generations=3, metrics=chosen, **changes), Lines())
        (study,) = studies(read_runs([tmp_path / "echo"]))
        return study

    return chains


def test_matrices_hold_the_mean_over_seeds_where_there_is_a_score(run, tmp_path):
    mark = c.checked(PatternConfig(strength=60, keys="per_generation"))
    study = run(scores=("frechet", "detection", "watermark"), watermark=mark)
    (condition,) = study.conditions
    detectors = detection_figure._matrix(study, condition, "detector_auroc")
    marks = detection_figure._matrix(study, condition, "mark_rate")
    assert detectors is not None and marks is not None
    assert np.isfinite(detectors).all() and detectors.shape == marks.shape == (3, 3)
    assert np.isnan(marks[np.tril_indices(3, -1)]).all() and (np.diag(marks) == 1).all()
    for chain in study.chains[condition].values():
        for row in chain.rows:
            for score in row.scores:
                if score["metric"] == "mark_rate":
                    assert score["parameters"]["mark_of"] <= row.generation
    values = [
        score["value"]
        for chain in study.chains[condition].values()
        for row in chain.rows
        for score in row.scores
        if (score["metric"], score["parameters"]) == ("detector_auroc", {"trained_on": 0, "tested_on": 2})
    ]
    assert len(values) == 2 and detectors[0, 2] == pytest.approx(np.mean(values))
    write([tmp_path / "echo"], tmp_path / "report")
    assert "Who made it" in (tmp_path / "report" / "report.html").read_text()
    assert (tmp_path / "report" / "detection.png").exists()


def test_without_such_scores_there_is_nothing_to_draw(run, tmp_path):
    study = run(seeds=(0,))
    assert detection_figure.detection(study, tmp_path, "detection") == []
    assert list(vetting(study)) == []
    write([tmp_path / "echo"], tmp_path / "report")
    assert "Who made it" not in (tmp_path / "report" / "report.html").read_text()


def test_the_table_of_vetting_has_the_ratio_before_and_after(run, tmp_path):
    rule = c.checked(OracleConfig(true_positive_rate=0.5, false_positive_rate=0.1))
    study = run(vetting=rule, mixing=c.BlendConfig(synthetic_ratio=0.5))
    (statement,) = vetting(study)
    assert [row[1] for row in statement.rows] == ["1", "2"]
    for row in statement.rows:
        assert row[2:-1] == ["0.500", f"{5 / 14:.3f}", "0.500", "0.100", "–"]
    assert {record["quantity"] for record in statement.records} >= {"synthetic_ratio", "effective_ratio", "auroc"}
    write([tmp_path / "echo"], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "what was dropped of the training sets, truth against verdict" in page
