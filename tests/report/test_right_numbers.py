"""Every number of a report belongs to the condition, generation, seed, subject, reference and feature space that it is
labelled with: in tables, figures, card, page and sentences."""

import base64
import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distinct
import numpy as np
import pytest
from distinct import LAST_COMMON, LENGTHS, SAMPLES, Score
from html_tree import Node, parse
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from scipy import stats

from bench import report
from bench.analysis import results_card, score_tables, verdicts
from bench.analysis.cells import digits
from bench.analysis.collapse import CriticalRatio
from bench.analysis.measures import Measure
from bench.analysis.study import Study
from bench.report import card, overview, strip, style, tables
from bench.report.curves import curves
from bench.report.survival import survival
from bench.report.training_sets import training_sets

FID, PRECISION, RECALL = Score("fid"), Score("precision", k=3), Score("recall", k=3)
MAIN = [FID, Score("kid", num_subject=512, num_reference=768), Score("coverage", k=3), PRECISION, RECALL]
RATIOS = list(LENGTHS)
GENERATIONS = range(6)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return distinct.sweep(tmp_path_factory.mktemp("distinct"))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Name of the file -> the figure that would have been saved."""
    figures: dict[str, Figure] = {}
    monkeypatch.setattr(style, "FORMATS", ("png",))
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: figures.update({Path(path).stem: self}))
    return figures


def score_of(measure: Measure) -> Score:
    parameters = json.loads(measure.parameters)
    sizes = (measure.num_subject, measure.num_reference)
    return Score(measure.metric, measure.feature_space, measure.reference, *sizes, **parameters)


def measure_of(study: Study, score: Score) -> Measure:
    return next(m for m in study.measures(score.metric) if score_of(m) == score)


def interval(values: dict[int, float]) -> tuple[float, float]:
    """Mean and half the width of Student's 95 % interval."""
    x = list(values.values())
    return float(np.mean(x)), float(stats.t.ppf(0.975, len(x) - 1) * stats.sem(x))


def shown(mean: float, half: float | None, places: int) -> str:
    return f"{mean:.{places}f} ± {half:.{places}f}"


# ---------------------------------------------------------------------------------------------------------- study


def test_a_study_finds_each_value_by_its_full_name(study: Study) -> None:
    assert {score_of(m) for m in study.measures()} == {*SAMPLES, Score("class_survival", attribute="iris")}
    for score in SAMPLES:
        measure = measure_of(study, score)
        assert measure.direction == score.direction and measure.attribute == score.attribute
        for condition in study.conditions:
            for generation in GENERATIONS:
                expected = distinct.values(score, condition.ratio, generation)
                assert study.values(condition, generation, measure) == expected
        assert study.baselines(measure) == pytest.approx(distinct.baselines(score))
        assert study.floor(measure) == pytest.approx(distinct.baselines(score).get("real_train"))


def test_the_primary_score_is_against_heldout_images_else_the_first(study: Study) -> None:
    assert [score_of(study.primary(name)) for name in ("fid", "kid", "coverage", "precision", "recall")] == MAIN
    others = Score("class_accuracy", attribute="species")  # of two, the ledger's first
    assert score_of(study.primary("class_accuracy")) == others
    assert study.primary("vendi") is None


def test_the_last_generation_is_that_of_the_shortest_chain(study: Study) -> None:
    assert [study.last_of(c) for c in study.conditions] == [4, 3, 4]
    assert study.last_common == LAST_COMMON
    assert [study.longest(c).rows[0].seed for c in study.conditions] == [0, 1, 3]
    assert (study.generations, study.seeds) == (list(GENERATIONS), [0, 1, 2, 3, 7])
    lengths = [note for note in study.notes if "ends at generation" in note]
    assert len(lengths) == 5 and sum("generation 3 of 5" in note for note in lengths) == 1


# ------------------------------------------------------------------------------------------------------- tables


def test_each_cell_is_mean_and_students_interval_of_its_seeds(study: Study) -> None:
    every_table = score_tables.tables(study)
    assert len(every_table) == len(SAMPLES) + 1
    ranked = [(t.measure.reference, t.measure.metric) for t in every_table]
    assert [m for r, m in ranked[:7]] == ["fid", "fid", "kid", "coverage", "precision", "recall", "recall"]
    assert ranked[-1] == ("real_train", "fid")
    for table in every_table:
        score = score_of(table.measure)
        if score not in SAMPLES:
            continue
        assert table.name.endswith("↓" if score.direction == "down" else "↑")
        assert [line.condition.ratio for line in table.lines] == RATIOS
        assert [line.num_seeds for line in table.lines] == [3, 3, 3]
        for line in table.lines:
            for generation, cell in zip(table.generations, line.cells, strict=True):
                values = distinct.values(score, line.condition.ratio, generation)
                assert (cell is None) == (not values)
                if cell:
                    assert (cell.mean, cell.half_width, cell.n) == (*map(pytest.approx, interval(values)), len(values))
        names = {"real_train": "floor: real images", "shuffled": "control: shuffled"}
        expected = {names[subject]: v for subject, v in distinct.baselines(score).items()}
        assert table.baselines == pytest.approx(expected)


def test_markdown_and_latex_show_the_main_scores_cell_by_cell(study: Study) -> None:
    markdown = re.split(r"\n\*\*(?=[A-Za-z]+ [↑↓]\*\*)", tables.markdown(study))[1:]
    latex = tables.latex([study]).split(r"\begin{table}")[1:]
    assert len(markdown) == len(latex) == len(MAIN)
    for score, plain, typeset in zip(MAIN, markdown, latex, strict=True):
        places = 0 if score.metric in ("fid", "kid") else 2
        arrow = "↓" if score.direction == "down" else "↑"
        name = score.metric.upper() if score.direction == "down" else score.metric
        assert plain.startswith(f"{name} {arrow}** · {score.space} · against heldout · N = {score.num_subject}")
        typeset_arrow = r"$\downarrow$" if arrow == "↓" else r"$\uparrow$"
        assert (
            f"{name} {typeset_arrow}: {tables.escape(score.space)}, against heldout, N = {score.num_subject}" in typeset
        )
        for ratio in RATIOS:
            cells = [distinct.values(score, ratio, g) for g in GENERATIONS]
            words = [shown(*interval(v), places) if v else "–" for v in cells]
            line = next(line for line in plain.splitlines() if line.startswith(f"| {ratio:.2f} |"))
            assert [word.strip("* ") for word in line.split("|")[2:-1]] == [*words, "3"]
            line = next(line for line in typeset.splitlines() if line.startswith(f"    {ratio:.2f} &"))
            bare = re.sub(r"\\mathbf|[${}\\]", "", line).replace("pm", "±").replace("--", "–").split("&")[1:]
            assert [word.strip() for word in bare] == [*words, "3"]
        floor = distinct.baselines(score).get("real_train")
        if floor is None:
            continue
        assert f"| floor: real images | {floor:.{places}f} |" in plain
        assert f"floor: real images & ${floor:.{places}f}$ &" in typeset


def test_csv_has_each_number_with_its_full_name(study: Study) -> None:
    rows = [r for r in csv.DictReader(io.StringIO(tables.to_csv([study]))) if r["metric"] != "class_survival"]
    seen = set()
    for line in rows:
        parameters = json.loads(line["parameters"])
        sizes = (int(line["num_subject"]), int(line["num_reference"]))
        score = Score(line["metric"], line["feature_space"], line["reference"], *sizes, **parameters)
        assert line["direction"] == score.direction and line["setting"] == study.hash
        if line["generation"] == "":
            subject = {"floor: real images": "real_train", "control: shuffled": "shuffled"}[line["condition"]]
            assert float(line["mean"]) == pytest.approx(distinct.baselines(score)[subject])
            seen.add((score, subject))
            continue
        ratio, generation = float(line["synthetic_ratio"]), int(line["generation"])
        assert line["condition"] == f"{ratio:.2f}" and line["policy"] == "blend"
        values = distinct.values(score, ratio, generation)
        assert line["seeds"].split() == [str(seed) for seed in values]
        assert [float(v) for v in line["values"].split()] == list(values.values())
        assert int(line["num_seeds"]) == len(values)
        assert (float(line["mean"]), float(line["half_width_95"])) == pytest.approx(interval(values))
        seen.add((score, ratio, generation))
    baselines = {(score, subject) for score in SAMPLES for subject in distinct.baselines(score)}
    cells = {(s, r, g) for s in SAMPLES for r in RATIOS for g in GENERATIONS if distinct.seeds_at(r, g)}
    assert seen == baselines | cells and len(rows) == len(seen)


# ------------------------------------------------------------------------------------------------------- figures


def panels(drawn: dict[str, Figure]) -> Iterator[tuple[str, str, Any]]:
    """What is note below the figure, label of the panel, panel."""
    for figure in drawn.values():
        (note,) = [text.get_text() for text in figure.texts]
        for axis in figure.axes:
            if axis.get_visible():
                yield note, axis.get_ylabel(), axis


def test_curves_are_means_bands_are_intervals_and_the_floor_is_the_scores_own(
    study: Study, tmp_path: Path, drawn: dict[str, Figure]
) -> None:
    curves(study, tmp_path, "scores")
    seen = []
    for note, label, axis in panels(drawn):
        if "class survival" in label:
            continue
        name, arrow = label.rsplit(" ", 1)
        (score,) = [
            s
            for s in SAMPLES
            if (s.metric.replace("_", " ").lower() == name.lower())
            and f"{s.space} · against {s.reference} · N = {s.num_subject}" in note
            and (s.attribute is None or f"classes by {s.attribute} ·" in note)
        ]
        seen.append(score)
        assert arrow == ("↓" if score.direction == "down" else "↑")
        lines = {line.get_label(): line for line in axis.lines}
        assert list(lines)[:3] == ["0.00", "0.50", "1.00"]
        bands = {to_rgba(b.get_facecolor()[0][:3]): b for b in axis.collections if isinstance(b, PolyCollection)}
        for ratio in RATIOS:
            line = lines[f"{ratio:.2f}"]
            at = {g: list(v.values()) for g in GENERATIONS if (v := distinct.values(score, ratio, g))}
            assert list(line.get_xdata()) == list(at)
            assert list(line.get_ydata()) == pytest.approx([np.mean(v) for v in at.values()])
            corners = bands[to_rgba(line.get_color()[:3])].get_paths()[0].vertices
            for g, v in at.items():
                edge = corners[corners[:, 0] == g, 1]
                mean, half = interval(dict(enumerate(v)))
                half = 0.0 if len(v) == 1 else half
                assert (edge.min(), edge.max()) == (pytest.approx(mean - half), pytest.approx(mean + half))
        floor = distinct.baselines(score).get("real_train")
        if floor is None:
            assert "real images" not in lines
        else:
            assert list(lines["real images"].get_ydata()) == pytest.approx([floor, floor])
        low, high = axis.get_ylim()
        every = [v for line in axis.lines for v in line.get_ydata()]
        every += [v for ratio in RATIOS for g in GENERATIONS for v in distinct.values(score, ratio, g).values()]
        assert "bands: 95 % interval" in note
        assert low <= min(every) and max(every) <= high
    assert sorted(seen, key=str) == sorted(SAMPLES, key=str)


def test_the_last_generation_against_the_ratio_is_the_last_common_one(
    study: Study, tmp_path: Path, drawn: dict[str, Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    threshold = CriticalRatio(0.3, 0.2, 0.45, always=False)
    monkeypatch.setattr(overview, "critical", lambda of: threshold if of is study else None)
    overview.final_scores(study, tmp_path, "final")
    (figure,) = drawn.values()
    assert len(figure.axes) == len(MAIN)
    assert figure.axes[-1].get_xlabel().endswith(f"(generation {LAST_COMMON})")
    assert f"critical ratio {threshold.ratio:.2f}" in [t.get_text() for t in figure.axes[0].texts]
    for axis, score in zip(figure.axes, MAIN, strict=True):
        assert axis.get_ylabel().endswith("↓" if score.direction == "down" else "↑")
        at = {ratio: distinct.values(score, ratio, LAST_COMMON) for ratio in RATIOS}
        dots = {line.get_xdata()[0]: line for line in axis.lines if line.get_marker() == "."}
        for ratio, values in at.items():
            assert list(dots[ratio].get_xdata()) == [ratio] * 3
            assert list(dots[ratio].get_ydata()) == list(values.values())
        (means,) = [line for line in axis.lines if list(line.get_xdata()) == RATIOS]
        assert list(means.get_ydata()) == pytest.approx([interval(v)[0] for v in at.values()])
        bars = {}
        for container in axis.containers:
            (bar,) = [c for c in container.get_children() if isinstance(c, LineCollection)]
            ((x, low), (_, high)) = bar.get_segments()[0]
            bars[x] = (low, high)
        ends = {r: (interval(v)[0] - interval(v)[1], interval(v)[0] + interval(v)[1]) for r, v in at.items()}
        assert bars == {r: pytest.approx(end) for r, end in ends.items()}
        floor = distinct.baselines(score).get("real_train")
        flat = [list(line.get_ydata()) for line in axis.lines if list(line.get_xdata()) == [0, 1]]
        assert flat == ([] if floor is None else [pytest.approx([floor, floor])])
        upright = [list(line.get_xdata()) for line in axis.lines if list(line.get_ydata()) == [0, 1]]
        assert upright == [[threshold.ratio] * 2]
        (span,) = [p for p in axis.patches if isinstance(p, Rectangle)]
        assert (span.get_x(), span.get_x() + span.get_width()) == pytest.approx((threshold.low, threshold.high))


def test_the_phase_diagram_has_conditions_by_generations(
    study: Study, tmp_path: Path, drawn: dict[str, Figure]
) -> None:
    overview.phase_diagram(study, tmp_path, "phase")
    axis = drawn["phase"].axes[0]
    shades = np.ma.filled(axis.images[0].get_array(), np.nan)
    numbers = {(round(x), round(y)): t.get_text() for t in axis.texts for x, y in [t.get_position()]}
    assert [t.get_text() for t in axis.get_yticklabels()] == ["0.00", "0.50", "1.00"]
    assert [t.get_text() for t in axis.get_xticklabels()] == [str(g) for g in GENERATIONS]
    for i, ratio in enumerate(RATIOS):
        for g in GENERATIONS:
            values = list(distinct.values(FID, ratio, g).values())
            expected = np.mean(values) if values else np.nan
            assert shades[i, g] == pytest.approx(expected, nan_ok=True)
            assert numbers.get((g, i)) == (f"{expected:.0f}" if values else None)
    assert axis.images[0].get_extent()[3] > axis.images[0].get_extent()[2]  # the first condition lies below


def test_trajectories_go_from_precision_to_recall(study: Study, tmp_path: Path, drawn: dict[str, Figure]) -> None:
    overview.trajectories(study, tmp_path, "trajectories")
    (axis,) = drawn["trajectories"].axes
    assert "precision" in axis.get_xlabel() and "recall" in axis.get_ylabel()
    lines = {line.get_label(): line for line in axis.lines}
    for i, ratio in enumerate(RATIOS):
        line = lines[f"{ratio:.2f}"]
        reached = max(LENGTHS[ratio].values())
        for got, score in ((line.get_xdata(), PRECISION), (line.get_ydata(), RECALL)):
            assert list(got) == pytest.approx([interval(distinct.values(score, ratio, g))[0] for g in range(reached)])
        end = axis.texts[i]
        assert end.get_text().strip() == str(reached - 1)
        assert end.xy == (line.get_xdata()[-1], line.get_ydata()[-1])
    floor = lines["real images"]
    assert list(floor.get_xdata()) == pytest.approx([distinct.baselines(PRECISION)["real_train"]])
    assert list(floor.get_ydata()) == pytest.approx([distinct.baselines(RECALL)["real_train"]])


def test_training_sets_are_stacked_by_generation_of_birth(
    study: Study, tmp_path: Path, drawn: dict[str, Figure]
) -> None:
    """Each panel is of the chain that got furthest."""
    training_sets(study, tmp_path, "training_sets")
    panels = [axis for axis in drawn["training_sets"].axes if axis.get_visible()]
    assert [axis.get_title() for axis in panels] == ["ratio 0.00", "ratio 0.50", "ratio 1.00"]
    births = {"real images": -1, **{f"samples of generation {g}": g for g in range(5)}}
    colours: dict[int, tuple] = {}
    for axis, (ratio, furthest) in zip(panels, zip(RATIOS, (0, 1, 3), strict=True), strict=True):
        assert [bars.get_label() for bars in axis.containers] == list(births)
        base = dict.fromkeys(range(LENGTHS[ratio][furthest]), 0.0)
        for bars, birth in zip(axis.containers, births.values(), strict=True):
            numbers = {g: distinct.per_generation(ratio, g, furthest).get(str(birth), 0) for g in base}
            wanted = {g: number for g, number in numbers.items() if number}
            for bar, (g, number) in zip(bars, wanted.items(), strict=True):
                assert bar.get_x() + bar.get_width() / 2 == pytest.approx(g)
                assert (bar.get_y(), bar.get_height()) == (base[g], number)
                base[g] += number
                colours.setdefault(birth, bar.get_facecolor())
    legend = drawn["training_sets"].legends[0]
    assert [text.get_text() for text in legend.get_texts()] == list(births)
    named = dict(zip(births.values(), [patch.get_facecolor() for patch in legend.get_patches()], strict=True))
    assert named == colours and len(set(colours.values())) == len(births)


def test_survival_is_count_over_expected_with_the_rarest_at_the_bottom(
    study: Study, tmp_path: Path, drawn: dict[str, Figure]
) -> None:
    survival(study, tmp_path, "survival")
    panels = [axis for axis in drawn["survival"].axes if axis.images]
    assert [axis.get_title() for axis in panels] == ["ratio 0.00", "ratio 0.50", "ratio 1.00"]
    labels = [t.get_text() for t in panels[0].get_yticklabels()]
    names = ["common", "middling", "rare"]
    of_first = distinct.counts(0.0, 0, 0)
    assert labels == [f"{name} ({of_first[name][1]:.0f})" for name in names]
    for axis, ratio in zip(panels, RATIOS, strict=True):
        table = np.ma.filled(axis.images[0].get_array(), np.nan)
        for j, name in enumerate(names):
            for g in GENERATIONS:
                every = [distinct.counts(ratio, g, seed)[name] for seed in distinct.seeds_at(ratio, g)]
                expected = np.mean([count / number for count, number in every]) if every else np.nan
                assert table[j, g] == pytest.approx(expected, nan_ok=True)
    bottom, top = panels[0].get_ylim()
    assert bottom > top  # the first class, the commonest, lies on top


# --------------------------------------------------------------------------------------------------------- words


def test_verdicts_are_of_their_condition_over_the_generations_that_all_its_seeds_have(study: Study) -> None:
    summaries = tables.verdict_lines(study)
    lasts, bases = (4, 3, 4), (None, 0.0, None)  # one of the seeds at ratio 1 is at ratio 0: too few to pair
    for condition, last, base in zip(study.conditions, lasts, bases, strict=True):
        seeds, late = list(LENGTHS[condition.ratio]), range((last + 2) // 2, last + 1)

        def ratio_to_base(g: int, seed: int, own: float = condition.ratio, base: float | None = base) -> float:
            below = distinct.value(FID, "samples", *((own, 0) if base is None else (base, g)), seed)
            return distinct.value(FID, "samples", own, g, seed) / below

        rise, half = interval({s: float(np.mean([ratio_to_base(g, s) - 1 for g in late])) for s in seeds})
        found = verdicts.growth(study, condition)
        assert found is not None
        assert (found.rise.value, found.rise.low, found.rise.high) == pytest.approx((rise, rise - half, rise + half))
        assert (found.num_seeds, found.num_generations, found.paired) == (3, last + 1, base is not None)
        judged = verdicts.verdict(study, condition)
        assert judged.badge == {0.0: "stable", 0.5: "diverging", 1.0: "diverging"}[condition.ratio]
        assert judged.kind == {"stable": "better", "diverging": "worse"}[judged.badge]
        parts = judged.words.split("; ")
        against = "its own generation 0" if base is None else "ratio 0"
        percent = "{:+.0f} % ({:+.0f} to {:+.0f})".format(*(100 * v for v in (rise, rise - half, rise + half)))
        assert parts[1] == f"{percent} against {against} in generations {late[0]} to {last}"
        for part, score, places in ((parts[0], FID, 0), (parts[-2], PRECISION, 2), (parts[-1], RECALL, 2)):
            start, end = (interval(distinct.values(score, condition.ratio, g))[0] for g in (0, last))
            assert part.endswith(f" {start:.{places}f} → {end:.{places}f}")
        assert f"- **{condition.label}** {judged.badge}: {judged.words}" in summaries
    text = verdicts.summary(study)
    assert text.startswith("3 synthetic ratios, 6 generations, 5 seeds: ddpm on made-up at 16 px.")
    assert "Diverging: 0.50 and 1.00. Stable: 0.00." in text
    threshold = verdicts.critical(study)
    assert threshold is not None and threshold.refused
    assert f"No critical ratio: {threshold.refused}." == verdicts.critical_words(study)
    assert verdicts.critical_words(study) in text and verdicts.critical_words(study) in summaries


# ----------------------------------------------------------------------------------------------------------- card


def test_the_card_has_each_number_with_its_full_name(study: Study) -> None:
    body = json.loads(json.dumps(results_card.card(study)))
    seen = set()

    def score_in(item: dict[str, Any]) -> Score:
        sizes = (item["num_subject"], item["num_reference"])
        return Score(item["metric"], item["feature_space"], item["reference"], *sizes, **item["parameters"])

    for item in body["scores"]:
        score, ratio, generation = score_in(item), float(item["condition"]), item["generation"]
        if score.metric == "class_survival":
            continue
        assert item["direction"] == score.direction
        values = distinct.values(score, ratio, generation)
        assert item["values"] == {str(seed): v for seed, v in values.items()} and item["num_seeds"] == len(values)
        assert (item["mean"], item["half_width_95"]) == pytest.approx(interval(values))
        seen.add((score, ratio, generation))
    assert seen == {(s, r, g) for s in SAMPLES for r in RATIOS for g in GENERATIONS if distinct.seeds_at(r, g)}
    got = {(score_in(item), item["subject"]): item["value"] for item in body["baselines"]}
    assert got == pytest.approx({(s, subject): v for s in SAMPLES for subject, v in distinct.baselines(s).items()})
    assert (body["num_generations"], body["last_common_generation"]) == (6, LAST_COMMON)
    assert body["seeds"] == [0, 1, 2, 3, 7] and body["versions"]["torch"] == ["2.0", "2.1", "2.2", "2.3", "2.7"]
    assert body["hardware"] == [f"cpu, chip {seed}, fp32" for seed in study.seeds]
    assert body["code_revisions"] == [f"{seed:040d}" for seed in study.seeds]
    rows = study.rows
    assert body["images_seen"] == sum(row.train["images_seen"] for row in rows)
    assert body["finished_at"] == "2026-01-06T17:00:00+00:00"
    for condition, ratio in zip(body["conditions"], RATIOS, strict=True):
        assert condition["label"] == f"{ratio:.2f}" and condition["parameters"]["synthetic_ratio"] == ratio
        assert [chain["seed"] for chain in condition["chains"]] == list(LENGTHS[ratio])
        for chain, (seed, length) in zip(condition["chains"], LENGTHS[ratio].items(), strict=True):
            last = distinct.row(ratio, length - 1, seed)
            assert chain["id"] == last.chain
            assert chain["config_hash"] == last.config_hash and chain["command"] == last.environment["command"]


def test_the_card_in_words_is_of_the_last_common_generation(study: Study) -> None:
    body = results_card.card(study)
    text = card.to_markdown(study, body)
    assert f"## Generation {LAST_COMMON}\n" in text and "generations: 0 to 5" in text
    line = next(line for line in text.splitlines() if line.startswith(f"- **FID ↓** ({distinct.A}, against heldout"))
    words = [f"{r:.2f}: {shown(*interval(distinct.values(FID, r, LAST_COMMON)), 0)}" for r in RATIOS]
    floor = distinct.baselines(FID)["real_train"]
    assert f"{'; '.join(words)}; floor: real images: {floor:.0f}; control: shuffled: " in line
    for condition in study.conditions:
        judged = verdicts.verdict(study, condition)
        assert f"- {condition.label}: {judged.badge}. {judged.words}" in text


# ----------------------------------------------------------------------------------------------------------- page


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the sweep, with samples; a real image equals one of them to the pixel."""
    directory = tmp_path_factory.mktemp("written")
    study = distinct.sweep(directory, pictures=True)
    name = study.rows[0].artifacts["real"].split("/")[1]
    real = np.full((3, 3, 16, 16), 255, np.uint8)
    real[1] = distinct.picture(0.5, 2, 1, 3)[:, None, None]
    path = directory / "store" / "real" / name[:2] / name / "train" / "items.npy"
    path.parent.mkdir(parents=True)
    np.save(path, real)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "FORMATS", ("svg",))
        report.write([directory / "made-up"], directory / "out")
    return directory / "out"


@pytest.fixture(scope="module")
def page(written: Path) -> Node:
    return parse((written / "report.html").read_text(encoding="utf-8"))


def words(node: Node, tag: str) -> list[str]:
    return [cell.text for cell in node.all(tag)]


def test_the_page_has_the_verdict_of_each_condition(study: Study, page: Node) -> None:
    assert page.one("p", "eyebrow").text.endswith(f"setting {study.hash} · 9 chains · seeds 0, 1, 2, 3, 7")
    assert page.one("p", "lead").text == verdicts.summary(study)
    for line, condition in zip(page.all("div", "verdict"), study.conditions, strict=True):
        judged = verdicts.verdict(study, condition)
        assert words(line, "span") == [condition.label, judged.badge, judged.words]
        assert line.one("span", judged.kind).text == judged.badge
    assert [item.text for item in page.one("ul", "notes").all("li")] == study.notes


def test_the_page_has_each_number_in_its_own_table_row_and_column(page: Node) -> None:
    seen = []
    for card_of_table in page.one("section", "scores").all("div", "card"):
        name, arrow = card_of_table.one("h3").text.rsplit(" ", 1)
        facts = card_of_table.all("p", "hint")[0].text.split(" · ")
        if name == "class survival":
            continue
        (score,) = [
            s
            for s in SAMPLES
            if (s.metric.replace("_", " ").lower(), s.space, f"against {s.reference}") == (name.lower(), *facts[:2])
            and (s.attribute is None or f"attribute = {s.attribute}" in facts[2])
        ]
        seen.append(score)
        assert arrow == ("↓" if score.direction == "down" else "↑")
        assert facts[2].startswith(f"N = {score.num_subject}") and (score.k is None or facts[2].endswith("k = 3"))
        head, *rows = card_of_table.all("tr")
        assert words(head, "th") == ["synthetic ratio", *(f"gen {g}" for g in GENERATIONS), "seeds"]
        every = {(r, g): v for r in RATIOS for g in GENERATIONS if (v := distinct.values(score, r, g))}
        means = {at: interval(values)[0] for at, values in every.items()}
        places = digits([*means.values(), *distinct.baselines(score).values()])
        low, high = min(means.values()), max(means.values())
        for row, ratio in zip(rows, RATIOS, strict=False):
            assert words(row, "th") == [f"{ratio:.2f}"]
            cells = [shown(*interval(every[ratio, g]), places) if (ratio, g) in every else "–" for g in GENERATIONS]
            assert words(row, "td") == [*cells, "3"]
            for g, cell in zip(GENERATIONS, row.all("td"), strict=False):
                if (ratio, g) in means:
                    above = (means[ratio, g] - low) / (high - low)
                    share = above if score.direction == "down" else 1 - above
                    assert cell.attributes["style"] == f"--share:{share:.0%}"
        names = {"real_train": "floor: real images", "shuffled": "control: shuffled"}
        baselines = {names[subject]: f"{value:.{places}f}" for subject, value in distinct.baselines(score).items()}
        assert {words(row, "th")[0]: words(row, "td")[0] for row in rows[3:]} == baselines
    assert sorted(seen, key=str) == sorted(SAMPLES, key=str)


def test_the_page_shows_the_figures_that_were_written(written: Path, page: Node) -> None:
    shown_files = [figure.attributes["data-file"] for figure in page.all("figure")]
    files = {path.name: path for path in written.glob("*.svg")}
    assert len(shown_files) == len(set(shown_files)) and set(shown_files) == set(files) - {"samples.svg"}
    for figure in page.all("figure"):
        drawn = ET.parse(files[figure.attributes["data-file"] or ""]).getroot()
        assert words(figure, "text") == [node.text for node in drawn.iter("{http://www.w3.org/2000/svg}text")]
        paths = [node.get("d") for node in drawn.iter("{http://www.w3.org/2000/svg}path")]
        assert [node.attributes["d"] for node in figure.all("path")] == paths
        (link,) = figure.one("p", "downloads").all("a")
        offered = base64.b64decode((link.attributes["href"] or "").removeprefix("data:image/svg+xml;base64,"))
        assert offered == files[link.attributes["download"] or ""].read_bytes()
    ids = [node.attributes["id"] for node in page.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    first, *others = page.one("section", "scores").all("div", "panel")
    main = ["scores.svg", "final.svg", "phase.svg", "trajectories.svg"]
    assert [figure.attributes["data-file"] for figure in first.all("figure")] == main
    assert all(len(panel.all("figure")) == 1 for panel in others)
    for panel in (first, *others):  # each panel has the tables of the scores that it draws
        labels = {text for figure in panel.all("figure")[:1] for text in words(figure, "text")}
        assert {table.one("h3").text for table in panel.all("div", "card")} <= labels


def test_parts_of_a_figure_are_marked_with_their_own_condition(study: Study, page: Node) -> None:
    """The page hides a condition by these marks."""
    palette = [to_hex(colour) for colour in style.colours(study).values()]
    seen = 0
    for figure in page.all("figure"):
        for part in (node for node in figure.walk() if "data-condition" in node.attributes):
            drawn = " ".join(node.attributes.get("style") or "" for node in part.walk())
            used = {colour for colour in palette if colour in drawn}
            if used:
                seen += 1
                assert used == {palette[int(part.attributes["data-condition"] or "")]}
    panels = len(SAMPLES) + 1
    assert seen == 3 * (2 * panels + 4)  # a line and a band in every panel; a path, its last number and two bars
    toggles = page.one("div", "toggles").all("button")
    assert [(b.attributes["data-condition"], b.text) for b in toggles] == [("0", "0.00"), ("1", "0.50"), ("2", "1.00")]
    for toggle, colour in zip(toggles, palette, strict=True):
        assert toggle.one("i").attributes["style"] == f"--c:{colour}"


def test_the_page_has_the_facts_of_each_chain(written: Path, page: Node) -> None:
    expected = [(ratio, seed) for ratio, seeds in LENGTHS.items() for seed in seeds]
    for chain, (ratio, seed) in zip(page.all("details", "chain"), expected, strict=True):
        rows = [distinct.row(ratio, g, seed) for g in range(LENGTHS[ratio][seed])]
        facts = dict(zip(words(chain, "dt"), words(chain, "dd"), strict=True))
        assert chain.all("summary")[0].text.startswith(rows[0].chain)
        assert chain.one("div", "command").one("pre").text == rows[-1].environment["command"]
        assert (facts["seed"], facts["configuration hash"]) == (str(seed), rows[-1].config_hash)
        assert facts["generations"] == f"generations 0 to {len(rows) - 1}"
        assert facts["finished"] == rows[-1].finished_at
        assert (facts["sweep"], facts["policy"], facts["device"]) == ("made-up", "blend", "cpu, fp32")
        assert (facts["platform"], facts["code revision"]) == (f"system {seed}", f"{seed:040d}")
        assert facts["ledger"] == f"made-up/{rows[0].chain}/ledger.jsonl"
        assert (facts["store"], facts["versions"]) == ("store", f"torch 2.{seed}")
        assert json.loads(chain.all("pre")[1].text) == rows[-1].config
        seconds = {k: sum(getattr(row, k)["seconds"] for row in rows) for k in ("train", "sample", "score")}
        assert facts["seconds"] == ", ".join(f"{k} {v:.0f}" for k, v in seconds.items())
        assert f"{sum(seconds.values()) / 60:.0f} min" in chain.one("small").text
        assert facts["images seen in training"] == f"{sum(row.train['images_seen'] for row in rows):,}"


def test_the_page_has_the_samples_of_each_condition_seed_and_generation(page: Node) -> None:
    body = json.loads(page.one("script", id="data").text)
    (data,) = body["studies"]
    assert data["generations"][data["start"]] == LAST_COMMON
    expected = [(f"{ratio:.2f}", list(seeds)) for ratio, seeds in LENGTHS.items()]
    assert [(c["label"], c["seeds"]) for c in data["conditions"]] == expected
    assert (data["count"], data["side"]) == (4, 16) and len(page.all("input", "neighbours")) == 1
    for j, (ratio, seeds) in enumerate(LENGTHS.items()):
        for k, (seed, length) in enumerate(seeds.items()):
            for g in GENERATIONS:
                both = data["sheets"][j][k][g]
                assert (both is None) == (g >= length)
                if both:
                    pixels = decoded(body["uris"][both[0]])
                    colours = [distinct.picture(ratio, g, seed, probe) for probe in range(4)]
                    np.testing.assert_array_equal(pixels[8, 8::16], colours)
    near = decoded(body["uris"][data["sheets"][1][1][2][1]])
    np.testing.assert_array_equal(near[8, 8 + 3 * 16], distinct.picture(0.5, 2, 1, 3))


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))


def test_the_strip_shows_the_first_probes_of_the_chain_that_got_furthest(
    tmp_path: Path, drawn: dict[str, Figure]
) -> None:
    study = distinct.sweep(tmp_path, pictures=True)
    _, missing = strip.strip(study, tmp_path, "samples")
    assert missing == []
    axes = np.reshape(drawn["samples"].axes, (3, 6))
    for i, (ratio, furthest) in enumerate(zip(RATIOS, (0, 1, 3), strict=True)):
        assert axes[i, 0].get_ylabel() == f"{ratio:.2f}"
        for g in GENERATIONS:
            if g >= LENGTHS[ratio][furthest]:
                assert not axes[i, g].images
                continue
            block = axes[i, g].images[0].get_array()
            quarter = len(block) // 4
            centres = [block[y, x] for y in (quarter, 3 * quarter) for x in (quarter, 3 * quarter)]
            np.testing.assert_array_equal(centres, [distinct.picture(ratio, g, furthest, p) for p in range(4)])
    assert [axis.get_title() for axis in axes[0]] == [f"generation {g}" for g in GENERATIONS]
