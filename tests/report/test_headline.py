"""FID never alone, recall greyed where it says nothing, and the floor with its interval over re-splits."""

import csv
import dataclasses
import io
from pathlib import Path

import fabricate
import pytest

from bench import ledger
from bench.analysis import off_manifold, score_tables, verdicts
from bench.analysis.measures import MAIN_METRICS
from bench.analysis.study import Study, studies
from bench.report import tables
from bench.report.page_scores import _table

FLOOR = "floor: real images"


def study_of(tmp_path: Path, precision: float = 0.4) -> Study:
    """Return one chain of two generations: precision .8, then `precision`; recall .6. The floor's precision is .93."""
    for generation, value in enumerate((0.8, precision)):
        made = fabricate.row(1.0, generation, 0)
        scores = [
            *(fabricate.score(m, v) for m, v in (("coverage", 0.3), ("recall", 0.6), ("precision", value))),
            {**fabricate.score("kid", 0.012), "direction": "down", "parameters": {"subset_size": 250}},
            {**fabricate.score("fid", 120.0), "dimension": 2048},
            {**fabricate.score("fid", 51.0, "real_train"), "resplit_low": 48.2, "resplit_high": 54.1},
            fabricate.score("precision", 0.93, "real_train"),
        ]
        ledger.append(tmp_path / "chain" / "ledger.jsonl", dataclasses.replace(made, scores=scores))
    (study,) = studies(ledger.read_runs([tmp_path / "chain"]))
    return study


def table_of(study: Study, metric: str) -> score_tables.Table:
    return score_tables.tables(study, [metric])[0]


def test_the_headline_has_fid_with_kid_and_coverage_before_recall(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    shown = [table.measure.metric for table in score_tables.main_tables(study)]
    absent = ("fid_infinity", "excess_risk", "perplexity")
    assert shown == [metric for metric in MAIN_METRICS if metric not in absent]
    assert shown == ["fid", "kid", "coverage", "precision", "recall"]
    words = verdicts.verdict(study, study.conditions[0]).words
    assert words.startswith("FID 120 → 120; KID 0.012 → 0.012; coverage 0.30 → 0.30; precision")


def test_a_missing_fid_infinity_is_explained_by_n_per_feature(tmp_path: Path) -> None:
    why = "no FID∞: it needs N/d of at least 1.5"
    study = study_of(tmp_path)
    assert why in table_of(study, "fid").facts() and why not in table_of(study, "kid").facts()
    assert f"N/d = 0.5 · {why}" in tables.markdown(study)


@pytest.mark.parametrize(("precision", "greyed"), [(0.46, True), (0.47, False)])  # half of .93 is .465
def test_recall_is_greyed_below_half_the_floors_precision(tmp_path: Path, precision: float, greyed: bool) -> None:
    study = study_of(tmp_path, precision)
    recall = table_of(study, "recall")
    assert recall.lines[0].is_greyed == [False, greyed]
    assert table_of(study, "coverage").lines[0].is_greyed == [False, False]
    shown = "(0.60)" if greyed else "0.60"
    assert f"| 1.00 | 0.60 | {shown} |" in tables.markdown(study)
    assert (r"\textcolor{gray}{($0.60$)}" in tables.latex([study])) == greyed
    rows = [r for r in csv.DictReader(io.StringIO(tables.to_csv([study]))) if r["metric"] == "recall"]
    assert [r["is_greyed"] for r in rows] == ["0", str(int(greyed))]
    page = str(_table(recall))
    assert (">(0.60)</td>" in page and 'class="greyed"' in page) == greyed
    footnote = "recall says nothing where precision is below 0.47, 50% of the floor's"
    assert (footnote in " ".join(recall.legend())) == greyed
    assert (f"recall 0.60 → {shown}") in verdicts.verdict(study, study.conditions[0]).words


def test_without_a_floor_half_of_one_is_the_rule_and_without_precision_there_is_none(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    recall = study.measures("recall")[0]
    assert off_manifold.least_precision(study, recall) == pytest.approx(0.465)
    bare = dataclasses.replace(study)
    object.__setattr__(bare, "scores", dataclasses.replace(study.scores, baselines={}))
    assert off_manifold.least_precision(bare, recall) == 0.5
    no_precision = [m for m in study.measures() if m.metric != "precision"]
    object.__setattr__(bare, "scores", dataclasses.replace(study.scores, measures=no_precision))
    assert off_manifold.least_precision(bare, recall) is None
    assert not off_manifold.is_greyed(bare, study.conditions[0], 1, recall)


def test_the_floor_is_shown_with_its_interval_over_resplits(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    fid = table_of(study, "fid")
    assert fid.baseline(FLOOR) == "51 (48 to 54)"
    assert "| floor: real images | 51 (48 to 54) |" in tables.markdown(study)
    assert "floor: real images & $51$ ($48$ to $54$) &" in tables.latex([study])
    assert ">51 (48 to 54)</td>" in str(_table(fid))
    assert any("other splits of the same real items" in line for line in fid.legend())
    rows = [r for r in csv.DictReader(io.StringIO(tables.to_csv([study]))) if r["condition"] == FLOOR]
    assert [(r["metric"], r["low_95"], r["high_95"]) for r in rows] == [("fid", "48.2", "54.1"), ("precision", "", "")]
    assert table_of(study, "precision").baseline(FLOOR) == "0.93"  # of a ledger without the interval


def test_a_refused_score_is_explained_once(tmp_path: Path) -> None:
    refused = {"class_survival": "too few samples: rose", "tail_survival": "too few samples: rose"}
    entry = {**fabricate.score("class_divergence", 0.2), "parameters": {"attribute": "species"}, "refused": refused}
    for generation in (0, 1):
        row = dataclasses.replace(fabricate.row(1.0, generation, 0), scores=[entry, {**entry, "subject": "real_train"}])
        ledger.append(tmp_path / "chain" / "ledger.jsonl", row)
    (study,) = studies(ledger.read_runs([tmp_path / "chain"]))
    said = [note for note in study.notes if "rose" in note]
    assert said == ["class survival, tail survival by species: not computed, because too few samples: rose"]
    assert f"> {said[0]}" in tables.markdown(study)
