"""Figures as a reader meets them: what each says of itself, its colours, its labels, and what is cut."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fabricate
import numpy as np
import pytest
from html_tree import parse
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench import ledger, report
from bench.analysis.conditions import Condition
from bench.analysis.study import Study, studies
from bench.report import figures, overview, style
from bench.report.curves import MOST_BANDS, curves
from bench.report.losses import losses
from bench.report.markup import THEMED, inline_svg
from bench.report.profile_figure import collapse_profile
from bench.report.survival import survival
from bench.report.training_sets import training_sets
from bench.results import shelf

LONG = "my_long_module.with_a_very_long_path:my_custom_policy_with_a_long_name_that_goes_on"


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(style.SETTINGS, "savefig.dpi", 80)
    monkeypatch.setattr(style, "FORMATS", ("svg",))


DRAW = {
    "scores": curves,
    "final": overview.final_scores,
    "phase": overview.phase_diagram,
    "trajectories": overview.trajectories,
    "profile": lambda study, *where: collapse_profile(study, [study], *where),
    "survival": survival,
    "training_sets": training_sets,
    "losses": losses,
}


def drawn(study: Study, out: Path, *names: str) -> dict[str, Figure]:
    """Name -> figure of a study: of these, or without names of all."""
    made: dict[str, Figure] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, path, **_: made.update({Path(path).stem: self}))
        patch.setattr(style, "FORMATS", ("svg",))
        for name in names:
            DRAW[name](study, out, name)
        if not names:
            figures.draw(study, [study], out)
    return made


@pytest.fixture(scope="module")
def of_two_seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    """All figures of a sweep of three ratios, two seeds and three generations."""
    directory = tmp_path_factory.mktemp("two")
    return drawn(study_of(directory, seeds=(0, 1), num_generations=3), directory)


def study_of(tmp_path: Path, **kwargs: Any) -> Study:
    (study,) = studies(ledger.read_runs([fabricate.sweep(tmp_path, **kwargs)]))
    return study


def policies(tmp_path: Path, seeds: tuple[int, ...] = (0, 1)) -> Study:
    """Ratios beside a policy without one, and a function of one's own with a long name."""
    sweep = fabricate.sweep(tmp_path, ratios=(0.0, 0.5), seeds=seeds, num_generations=3, pictures=False)
    for policy, mixing in (("accumulate", {}), ("custom", {"function": LONG, "parameters": {"keep": 5}})):
        for seed in seeds:
            for generation in range(3):
                row = fabricate.row(1.0, generation, seed, policy=policy)
                config = {**row.config, "mixing": {"policy": policy, **mixing}}
                row = dataclasses.replace(row, config=config)
                ledger.append(sweep / row.chain / ledger.FILENAME, row)
    (study,) = studies(ledger.read_runs([sweep]))
    return study


def caption(figure: Figure) -> str:
    (text,) = figure.texts
    return text.get_text()


def test_every_figure_of_scores_says_feature_space_n_and_k(of_two_seeds: dict[str, Figure]) -> None:
    made = of_two_seeds
    of_k = {"scores", "final", "trajectories", "profile", "scores_more"}
    without = {"phase", "survival", "scores_species", "scores_efficientnet_lite0_real_train_1024_1024"}
    for name in of_k | without:
        words = caption(made[name])
        assert "efficientnet_lite0 · against" in words and "N = 1024" in words, name
        assert ("k = 3" in words) == (name in of_k), name
    assert "daisy (512)" in [label.get_text() for label in made["survival"].axes[0].get_yticklabels()]
    assert made["survival"].axes[-1].get_ylabel().split() == ["images", "found", "/", "expected"]
    assert set(made) - of_k - without == {"samples", "training_sets"}
    assert all(caption(made[name]) for name in ("samples", "training_sets"))


def test_bands_are_named_where_there_are_any_and_only_there(tmp_path: Path, of_two_seeds: dict[str, Figure]) -> None:
    study = study_of(tmp_path / "one", seeds=(0,), num_generations=2, pictures=False)
    one = drawn(study, tmp_path, "scores", "final")
    for made, shown in ((of_two_seeds, True), (one, False)):
        labels = [text.get_text() for text in made["scores"].legends[0].get_texts()]
        assert ("95 % interval over seeds" in labels) == shown
        assert ("bands: 95 % interval of the mean over seeds" in caption(made["scores"])) == shown
        assert bool(made["scores"].axes[0].collections) == shown
        assert ("bars: 95 % interval" in caption(made["final"])) == shown
    assert "end at the edge of the panel" in caption(of_two_seeds["scores"])  # two seeds: Student's t is 12.7


def test_many_conditions_have_no_bands_and_the_caption_says_so(tmp_path: Path) -> None:
    ratios = tuple(i / 10 for i in range(MOST_BANDS + 1))
    for shown in (ratios[:-1], ratios):
        directory = tmp_path / str(len(shown))
        (study,) = studies(ledger.read_runs([fabricate.sweep(directory, shown, (0, 1), 3, pictures=False)]))
        figure = drawn(study, directory, "scores")["scores"]
        has_bands = len(shown) <= MOST_BANDS
        assert bool(figure.axes[0].collections) == has_bands
        assert ("no bands: of more than 8 conditions" in caption(figure)) != has_bands


def test_a_generation_of_one_seed_has_no_band_of_no_width(tmp_path: Path) -> None:
    sweep = fabricate.sweep(tmp_path, ratios=(0.0,), seeds=(0, 1), num_generations=4, pictures=False)
    short = next(sweep.glob("*seed1*/ledger.jsonl"))
    short.write_text("".join(short.read_text().splitlines(keepends=True)[:3]))
    (study,) = studies(ledger.read_runs([sweep]))
    (band,) = drawn(study, tmp_path, "scores")["scores"].axes[0].collections
    assert {x for x, _ in band.get_paths()[0].vertices} == {0.0, 1.0, 2.0}


def luminance(colour: str) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def test_a_ratio_has_one_colour_in_every_study_beside_policies_and_on_both_grounds(tmp_path: Path) -> None:
    alone = study_of(tmp_path / "a", ratios=(0.0, 0.1, 0.5, 1.0), seeds=(0,), num_generations=2, pictures=False)
    beside = policies(tmp_path / "b", seeds=(0,))
    by_ratio = {c.ratio: to_hex(colour) for c, colour in style.colours(alone).items()}
    others = {c.label: to_hex(colour) for c, colour in style.colours(beside).items() if c.ratio is None}
    for condition, colour in style.colours(beside).items():
        if condition.ratio is not None:
            assert to_hex(colour) == by_ratio[condition.ratio]
    assert len({*by_ratio.values(), *others.values()}) == len(by_ratio) + len(others)
    dark = luminance("#1b1f23")
    for colour in (*by_ratio.values(), *others.values()):
        assert min(1.05 / (luminance(colour) + 0.05), (luminance(colour) + 0.05) / (dark + 0.05)) >= 3
        assert colour not in THEMED
    (tmp_path / "out").mkdir()
    (drawing,) = curves(alone, tmp_path / "out", "scores")[0].paths
    svg = parse(inline_svg(drawing, "", "curves"))
    for i, colour in enumerate(by_ratio.values()):
        parts = [node for node in svg.walk() if node.attributes.get("data-condition") == str(i)]
        assert any(colour in (node.attributes.get("style") or "") for part in parts for node in part.walk())
    css = (Path(style.__file__).parent / "page.css").read_text()
    assert "invert(" not in css and "hue-rotate" not in css


def texts(figure: Figure) -> Iterator[Text]:
    """The titles and the labels of conditions that are shown."""
    for axis in figure.axes:
        if axis.get_visible():
            yield from (axis.title, *(text for text in axis.get_yticklabels() if text.get_text()[:1].isalpha()))


def test_numbers_of_the_phase_diagram_stay_in_narrow_cells() -> None:
    """Sixteen conditions with long names: the cells are narrower than a FID of four digits in its usual size."""
    (study,) = studies(entry.chain for entry in shelf.measured(shelf.read(shelf.shipped()), "remedies_mini_v1"))
    (axis, _) = drawn(study, Path(), "phase")["phase"].axes
    boxes = [number.get_window_extent() for number in axis.texts]
    assert "1352" in [number.get_text() for number in axis.texts]
    assert max(box.width for box in boxes) < axis.get_window_extent().width / len(study.generations)


def test_a_long_name_neither_widens_a_figure_nor_runs_into_another(tmp_path: Path) -> None:
    study = policies(tmp_path)
    made = drawn(study, tmp_path, "scores", "phase", "profile", "survival", "training_sets")
    assert len(set(style.names(study).values())) == len(study.conditions)
    for name, figure in made.items():
        figure.canvas.draw()
        width = figure.get_tightbbox().width  # inches
        assert width <= figure.get_figwidth() + 1.3, name
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts(figure) if t.get_text().strip()]
        for i, (one, box) in enumerate(boxes):
            for other, another in boxes[i + 1 :]:
                overlap = box.x0 < another.x1 - 1 and another.x0 < box.x1 - 1
                overlap &= box.y0 < another.y1 - 1 and another.y0 < box.y1 - 1
                assert not overlap, (name, one, other)
    titles = [axis.get_title() for axis in made["survival"].axes if axis.get_title()]
    assert any("my_custom_policy" in title.replace("\n", "") for title in titles)


def test_markers_at_the_edge_of_a_panel_are_whole(of_two_seeds: dict[str, Figure]) -> None:
    for name in ("scores", "final", "trajectories"):
        for axis in of_two_seeds[name].axes:
            marked = [
                line for line in axis.lines if line.get_marker() in (*style.MARKERS, ".") and len(line.get_xdata())
            ]
            assert marked
            assert not any(line.get_clip_on() for line in marked)


@pytest.mark.parametrize("precision", [(0.02, 0.05), (0.3, 0.9)])
def test_trajectories_fill_their_panel(tmp_path: Path, precision: tuple[float, float]) -> None:
    """Also those far from real images, which are then named in words."""
    for generation, value in enumerate(precision):
        row = fabricate.row(1.0, generation, 0)
        values = {"precision": value, "recall": 0.2 + 0.1 * generation}
        scores = [
            {**s, "value": values.get(s["metric"], s["value"])} if s["subject"] == "samples" else s for s in row.scores
        ]
        ledger.append(tmp_path / "s" / row.chain / ledger.FILENAME, dataclasses.replace(row, scores=scores))
    (study,) = studies(ledger.read_runs([tmp_path / "s"]))
    figure = drawn(study, tmp_path, "trajectories")["trajectories"]
    axis = figure.axes[0]
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    assert (precision[1] - precision[0]) / (right - left) > 0.4 and 0.1 / (top - bottom) > 0.4
    outside = "real images lie outside, at precision 0.93 and recall 0.92"
    assert outside in caption(figure).replace("\n", " ")


def test_losses_are_drawn_from_the_store_with_one_line_per_generation(tmp_path: Path) -> None:
    sweep = fabricate.sweep(tmp_path, ratios=(0.0, 1.0), seeds=(0,), num_generations=3, pictures=False)
    for file in sweep.glob("*/ledger.jsonl"):
        rows = ledger.read(file)
        file.unlink()
        for row in rows:
            key = f"train/{row.artifacts['sample'].split('/')[1]}"
            row = dataclasses.replace(row, artifacts={**row.artifacts, "model": f"{key}/model"})
            ledger.append(file, row)
            if row.policy == "blend" and not (row.generation == 2 and row.seed == 1):
                model = tmp_path / "store" / "train" / key[6:8] / key[6:] / "model"
                model.mkdir(parents=True, exist_ok=True)
                curve = [{"step": s, "mean_loss": 1 / (s + row.generation)} for s in (100, 200, 250)]
                (model / "losses.json").write_text(json.dumps(curve))
    (study,) = studies(ledger.read_runs([sweep]))
    panels = drawn(study, tmp_path, "losses")["losses"].axes
    assert [axis.get_title() for axis in panels] == ["ratio 0.00", "ratio 1.00"]
    for axis in panels:
        assert [list(line.get_xdata()) for line in axis.lines] == [[100, 200, 250]] * 3
        assert [line.get_ydata()[-1] for line in axis.lines] == [1 / 250, 1 / 251, 1 / 252]
        assert len({to_hex(line.get_color()) for line in axis.lines}) == 3
    one = fabricate.row(1.0, 0, 0)
    key = f"train/{one.artifacts['sample'].split('/')[1]}"
    one = dataclasses.replace(
        one,
        artifacts={**one.artifacts, "model": f"{key}/model"},
        store_dir=str(tmp_path / "store"),
        scores=one.scores[:1],
    )
    ledger.append(tmp_path / "one" / one.chain / ledger.FILENAME, one)
    report.write([tmp_path / "one"], tmp_path / "out")
    page = parse((tmp_path / "out" / "report.html").read_text())
    assert [f.attributes["data-file"] for f in page.one("section", "training").all("figure")] == [
        "training_sets.svg",
        "losses.svg",
    ]
    next(tmp_path.glob("store/train/*/*/model/losses.json")).write_text("{")  # damaged: left out
    assert len(drawn(study, tmp_path, "losses")["losses"].axes) == 2


def test_without_stored_losses_there_is_no_such_figure(of_two_seeds: dict[str, Figure]) -> None:
    assert "scores" in of_two_seeds and "losses" not in of_two_seeds


def test_functions_of_one_name_keep_the_names_of_their_modules() -> None:
    def shown(*functions: str) -> list[str]:
        conditions = [Condition("custom", f"custom {name} (keep 5)", None, json.dumps([name])) for name in functions]
        return list(style.names(SimpleNamespace(conditions=conditions)).values())  # type: ignore[arg-type]

    assert shown("mine.rules:best", "mine.rules:worst") == ["custom best (keep 5)", "custom worst (keep 5)"]
    assert shown("a:best", "b:best") == ["custom a:best (keep 5)", "custom b:best (keep 5)"]


def test_long_names_leave_out_the_options_that_all_conditions_with_a_rule_share() -> None:
    def shown(*labels: str) -> list[str]:
        conditions = [Condition("blend", label, 0.5, json.dumps([label])) for label in labels]
        return list(style.names(SimpleNamespace(conditions=conditions)).values())  # type: ignore[arg-type]

    detector, marks = "0.50 + vetting detector", "0.50 + vetting watermark (num calibration 99) + watermark"
    assert shown(
        f"{detector} (FPR 0.05, num calibration 98)",
        f"{detector} (FPR 0.05, num calibration 98, refit True)",
        f"{marks} initial_noise",
        f"{marks} pixel_pattern (strength 8)",
    ) == [
        detector,
        f"{detector} (refit True)",
        "0.50 + vetting watermark + watermark initial_noise",
        "0.50 + vetting watermark + watermark pixel_pattern",
    ]
    strengths = [f"{marks} pixel_pattern (strength {level})" for level in (4, 8)]
    assert shown(*strengths) == [name.replace(" (num calibration 99)", "") for name in strengths]
    few = ["0.50 + vetting oracle (TPR 0.5, FPR 0.1)", "0.50 + vetting oracle (TPR 0.9, FPR 0.1)"]
    assert shown(*few) == few, "names that are short enough keep all"


def test_a_survival_map_needs_counts_and_no_score_of_that_name(tmp_path: Path) -> None:
    """Of few images class survival itself is refused, and its counts are recorded all the same."""
    row = fabricate.row(1.0, 0, 0)
    entry = {**fabricate.survival(0.1, "dinov2"), "metric": "class_divergence", "num_subject": 64}
    entry["refused"] = {"class_survival": "a dead class could not be told"}
    row = dataclasses.replace(row, scores=[*row.scores[:1], entry])
    (study,) = studies([ledger.Chain(row.chain, tmp_path, [row])])
    words = caption(drawn(study, tmp_path, "survival")["survival"])
    assert "classes by species · dinov2 · against heldout · N = 64" in words
    assert "not sure: a dead class could not be told" in words


@pytest.mark.parametrize("text", ["real only (r 0.25)", "0.75 + vetting oracle (TPR 0.5)", "a.module:function_of_mine"])
def test_a_label_is_broken_into_lines_but_no_number_is(text):
    lines = style.wrapped(text, 1.1).split("\n")
    assert len(lines) > 1 and "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(number in " ".join(lines) for number in re.findall(r"\d\.\d+", text))
