"""Tables: bold only where it is earned, LaTeX that compiles, CSV that carries everything."""

import csv
import dataclasses
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import fabricate
import pytest

from bench import ledger, report
from bench.analysis import score_tables
from bench.analysis.cells import best
from bench.analysis.setting import check_unmixed
from bench.analysis.study import Study, studies
from bench.errors import LedgerError
from bench.report import style, tables


def study_of(tmp_path: Path, **kwargs: object) -> Study:
    sweep = fabricate.sweep(tmp_path, pictures=False, **kwargs)  # type: ignore[arg-type]
    (study,) = studies(ledger.read_runs([sweep]))
    return study


def test_bold_needs_a_significant_paired_difference_to_every_other() -> None:
    clear = {"a": {0: 10.0, 1: 12.0, 2: 14.0}, "b": {0: 11.0, 1: 13.1, 2: 15.2}}  # pairs differ by 1.0 … 1.2
    assert best(clear, "down") == "a"
    assert best(clear, "up") == "b"
    assert best(clear, "none") is None  # it only describes
    near = {**clear, "c": {0: 10.5, 1: 11.0, 2: 14.6}}  # a is not surely better than c
    assert best(near, "down") is None
    assert best({"a": {0: 1.0}, "b": {0: 9.0}}, "down") is None  # a single seed decides nothing
    assert best({"a": {0: 1.0, 1: 1.1}, "b": {2: 9.0, 3: 9.1}}, "down") is None  # no common seed
    assert best({"a": {0: 1.0, 1: 1.1}}, "down") is None  # nothing to be better than
    same = {"a": {0: 1.0, 1: 2.0}, "b": {0: 1.0, 1: 2.0}}
    assert best(same, "up") is None


def test_the_best_cell_is_bold_and_only_that(tmp_path: Path) -> None:
    study = study_of(tmp_path, ratios=(0.0, 1.0))
    fid = score_tables.tables(study, ["fid"])[0]
    assert [line.is_best[0] for line in fid.lines] == [False, False]  # generation 0 is shared: no winner
    assert [line.is_best[3] for line in fid.lines] == [True, False]
    text = tables.markdown(study)
    row = next(line for line in text.splitlines() if line.startswith("| 0.00"))
    assert row.count("**") == 2 * sum(fid.lines[0].is_best)
    assert "bold: better than every other" in text


def test_csv_has_every_score_in_full_and_the_floor(tmp_path: Path) -> None:
    study = study_of(tmp_path, seeds=(0, 4))
    rows = list(csv.DictReader(io.StringIO(tables.to_csv([study]))))
    assert len(rows) == 7 * 3 * 4 + 5 + 1  # scores × conditions × generations, floors, a control
    result = next(r for r in rows if (r["condition"], r["generation"], r["metric"]) == ("1.00", "3", "recall"))
    assert result["seeds"] == "0 4"
    expected = [fabricate.row(1.0, 3, s).scores[2]["value"] for s in (0, 4)]
    assert [float(v) for v in result["values"].split()] == expected
    assert json.loads(result["parameters"]) == {"k": 3}
    assert float(result["mean"]) == pytest.approx(sum(expected) / 2)
    floor = next(r for r in rows if r["condition"].startswith("floor") and r["metric"] == "fid")
    assert (floor["generation"], float(floor["mean"])) == ("", 21.0)


def test_a_caption_names_what_the_numbers_depend_on(tmp_path: Path) -> None:
    study = study_of(tmp_path, protocol={"name": "tiny", "version": 3})
    text = tables.latex([study])
    caption = next(line for line in text.splitlines() if "caption" in line and "recall" in line)
    for words in ("tiny version 3", r"efficientnet\_lite0", "N = 1024, k = 3", f"setting {study.hash}", r"$\uparrow$"):
        assert words in caption
    assert text.startswith(r"% Needs \usepackage{booktabs,xcolor}")


def test_a_single_seed_is_noted_and_has_no_interval(tmp_path: Path) -> None:
    text = tables.markdown(study_of(tmp_path, seeds=(0,)))
    assert "±" not in text
    assert "single seed" in text


def test_chains_of_different_length_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(0.0,), seeds=(0,), pictures=False)
    text = tables.markdown(study_of(tmp_path, ratios=(1.0,), seeds=(0,), num_generations=2))
    line = next(line for line in text.splitlines() if line.startswith("| 1.00"))
    assert line.count("–") == 2
    assert "ends at generation 1 of 3" in text


def test_special_signs_are_escaped() -> None:
    assert tables.escape(r"50% of a_b & c\d {λ}") == r"50\% of a\_b \& c\textbackslash{}d \{$\lambda$\}"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_compiles(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    odd = dataclasses.replace(study, title=r"50% & _odd_ #1 {λ} \ ~ ^ ± …")
    (tmp_path / "tables.tex").write_text(tables.latex([study, odd], everything=True))
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs}"
    body = rf"\documentclass{{article}}{packages}\begin{{document}}\input{{tables}}\end{{document}}"
    (tmp_path / "paper.tex").write_text(body)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").exists()


def test_protocols_and_feature_spaces_are_not_mixed_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "FORMATS", ())
    fabricate.sweep(tmp_path, seeds=(0,), pictures=False, sweep="one", protocol={"name": "p", "version": 1})
    fabricate.sweep(tmp_path, seeds=(0,), pictures=False, sweep="two", protocol={"name": "p", "version": 2})
    with pytest.raises(LedgerError, match=r"mix protocols: p version 1; p version 2\. Give --mixed"):
        report.write([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    marked = report.write([tmp_path / "one", tmp_path / "two"], tmp_path / "out", mixed=True)
    assert "p version 1" in marked.text
    assert "p version 2" in marked.text
    assert marked.text.count("## ") == 2  # side by side, never averaged

    fabricate.sweep(tmp_path / "b", seeds=(0,), pictures=False, space="inception_v3")
    fabricate.sweep(tmp_path / "b", seeds=(1,), pictures=False)
    with pytest.raises(LedgerError, match="mix feature spaces: efficientnet_lite0; inception_v3"):
        check_unmixed(ledger.read_runs([tmp_path / "b"]))


def test_a_deviation_from_a_protocol_is_marked(tmp_path: Path) -> None:
    protocol = {"name": "p", "version": 1, "deviations": {"num_generations": [6, 4]}}
    study = study_of(tmp_path, seeds=(0,), protocol=protocol)
    assert study.protocol == "p version 1 (deviating)"


def study_with(values: dict[str, dict[float, list[float]]]) -> Study:
    """metric -> ratio -> the score of generation 0 by seed."""
    chains = []
    for ratio in next(iter(values.values())):
        for seed in range(len(next(iter(values.values()))[ratio])):
            row = fabricate.row(ratio, 0, seed)
            scores = [fabricate.score(metric, at[ratio][seed]) for metric, at in values.items()]
            row = dataclasses.replace(row, scores=scores)
            chains.append(ledger.Chain(row.chain, Path(), [row]))
    (study,) = studies(chains)
    return study


def test_bold_follows_the_arrow_in_every_form() -> None:
    """The same numbers, once where lower is better and once where higher is."""
    numbers = {0.0: [0.1, 0.12, 0.13], 0.5: [0.4, 0.41, 0.45], 1.0: [0.7, 0.73, 0.74]}
    study = study_with({"fid": numbers, "precision": numbers, "recall": {r: [0.5, 0.6, 0.7] for r in numbers}})
    winners = {"fid": "0.00", "precision": "1.00", "recall": None}
    markdown = tables.markdown(study).split("\n\n**")[1:]
    latex = tables.latex([study]).split(r"\begin{table}")[1:]
    for (metric, winner), plain, typeset in zip(winners.items(), markdown, latex, strict=True):
        (table,) = score_tables.tables(study, [metric])
        assert [line.condition.label for line in table.lines if line.is_best[0]] == [winner] * (winner is not None)
        bold = [line.split("|")[1].strip() for line in plain.splitlines() if line.startswith("|") and "**" in line]
        assert bold == [winner] * (winner is not None)
        bold = [line.split("&")[0].strip() for line in typeset.splitlines() if "mathbf" in line]
        assert bold == [winner] * (winner is not None)
        assert ("bold: better" in plain) == ("bold: better" in typeset) == (winner is not None)
    result = {
        (r["metric"], r["condition"])
        for r in csv.DictReader(io.StringIO(tables.to_csv([study])))
        if r["is_best"] == "1"
    }
    assert result == {("fid", "0.00"), ("precision", "1.00")}


def test_the_leader_is_the_best_mean_and_every_pair_must_be_sure() -> None:
    """With one extreme seed the leader by mean is not the leader by median."""
    skewed = {"a": {0: 1.0, 1: 1.0, 2: 9.0}, "b": {0: 2.0, 1: 2.0, 2: 2.0}}
    assert best(skewed, "down") is None and best(skewed, "up") is None
    base = {0: 10.0, 1: 20.0, 2: 30.0, 3: 41.0}
    pairs = {"a": base, "b": {s: v + 1 + 0.1 * s for s, v in base.items()}, "c": {s: v + 5 for s, v in base.items()}}
    for order in (["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]):
        values = {name: pairs[name] for name in order}
        assert best(values, "down") == "a"
        assert best(values, "up") == "c"
    # significant against c only, whichever of the two comes first
    near = {**pairs, "b": {0: 10.1, 1: 19.9, 2: 30.2, 3: 41.0}}
    assert best(near, "down") is None and best({name: near[name] for name in "cba"}, "down") is None
    assert best(near, "up") == "c"


@pytest.mark.parametrize(("largest", "shown"), [(9.994, "9.99"), (10.0, "10.0"), (99.94, "99.9"), (100.0, "100")])
def test_a_table_shows_about_three_figures_of_its_largest_number(largest: float, shown: str) -> None:
    study = study_with({"fid": {0.0: [largest], 1.0: [0.5]}})
    (table,) = score_tables.tables(study)
    assert f" {shown} |" in tables.markdown(study)
    assert tables.text(table.lines[0].cells[0], table.places) == shown
    row = fabricate.row(0.0, 0, 0)
    row = dataclasses.replace(row, scores=[fabricate.score("fid", 0.5), fabricate.score("fid", largest, "real_train")])
    (floored,) = studies([ledger.Chain(row.chain, Path(), [row])])
    assert f"floor: real images | {shown} |" in tables.markdown(floored)


def test_the_legend_explains_the_signs_that_are_there_and_no_others() -> None:
    several = score_tables.tables(study_with({"fid": {0.0: [1.0, 2.0]}}))[0].legend()
    single = score_tables.tables(study_with({"fid": {0.0: [1.0]}}))[0].legend()
    both = score_tables.tables(study_with({"fid": {0.0: [1.0, 2.0], 1.0: [1.0]}}))[0].legend()
    assert ["±" in " ".join(words) for words in (several, single, both)] == [True, False, True]
    assert ["single seed" in " ".join(words) for words in (several, single, both)] == [False, True, True]


def test_tables_of_fid_print_n_per_feature(tmp_path):
    def with_dimension(row, dimension=1280):
        scores = [{**s, "dimension": dimension} if s["metric"] == "fid" else s for s in row.scores]
        return dataclasses.replace(row, scores=scores)

    (plain,) = studies([ledger.Chain("a", Path(), [fabricate.row(0.5, 0, 0)])])
    (study,) = studies([ledger.Chain("a", Path(), [with_dimension(fabricate.row(0.5, 0, 0))])])
    assert "N/d" not in tables.markdown(plain)
    (of_fid,) = [line for line in tables.markdown(study).splitlines() if "N/d" in line]
    assert of_fid.startswith("**FID") and "N = 1024 · N/d = 0.8 · " in of_fid
    (of_points,) = studies([ledger.Chain("a", Path(), [with_dimension(fabricate.row(0.5, 0, 0), 2)])])
    assert "N/d = 510 · " in tables.markdown(of_points)


def test_a_booktabs_table_has_its_rules_around_the_groups_that_have_rows():
    made = tables.booktabs("a & b", "lr", [[["head", "n"]], [["x", "1"], ["y", "2"]], []], size=tables.SMALL)
    body = [line.strip() for line in made.splitlines()]
    rows = [r"\toprule", r"head & n \\", r"\midrule", r"x & 1 \\", r"y & 2 \\", r"\bottomrule"]
    assert body[body.index(r"\toprule") : body.index(r"\bottomrule") + 1] == rows
    assert r"\caption{a \& b}" in body and r"\begin{tabular}{lr}" in body and r"\small" in body


def test_a_table_of_many_generations_shows_some_and_the_csv_file_has_all() -> None:
    rows = [fabricate.row(1.0, g, 0) for g in range(41)]
    (study,) = studies([ledger.Chain(rows[0].chain, Path(), rows)])
    text = tables.markdown(study)
    head = next(line for line in text.splitlines() if line.startswith(("| mixing", "| synthetic")))
    assert re.findall(r"gen (\d+)", head) == [str(g) for g in range(0, 41, 4)]
    line = next(line for line in text.splitlines() if line.startswith("| 1.00 |"))
    fid = [next(s["value"] for s in row.scores if s["metric"] == "fid") for row in rows]
    assert [float(cell) for cell in line.split("|")[2:-2]] == pytest.approx(fid[::4], abs=1)
    assert "11 of 41 generations: tables.csv has all" in text
    assert r"gen.\ 36 & gen.\ 40" in tables.latex([study]) and r"gen.\ 37" not in tables.latex([study])
    assert tables.to_csv([study]).count(",fid,down,") >= 41
