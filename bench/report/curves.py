"""Figures of score curves: every score against the generation."""

import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bench.analysis.cells import cell
from bench.analysis.measures import MAIN_METRICS, Measure
from bench.analysis.off_manifold import is_greyed
from bench.analysis.study import Study
from bench.report.style import (
    COLUMN,
    FLOOR,
    PAGE,
    band_of_seeds,
    colours,
    condition_id,
    legend,
    line_style,
    note,
    save,
    styled,
)

MOST_MARKERS = 20
"""A longer line has a marker only at every second, third, … generation, so that the line stays visible."""
MOST_BANDS = 8
"""Largest number of conditions with bands; the bands of more would hide one another."""
MARKS = {
    "band": "bands: 95 % interval of the mean over seeds (Student's t), ± of the tables",
    "no band": f"no bands: of more than {MOST_BANDS} conditions they would hide one another; the tables have their ±",
    "cut": "bands that are wider than the scores of all seeds end at the edge of the panel",
    "floor band": "grey band: 95 % of other splits of the same real items",
    "grey": "grey dots: recall says nothing, precision is too low",
}
"""Mark of a figure -> its description in the caption."""


@dataclass(frozen=True)
class Curves:
    """One figure: the measures that its panels show, and the files that it was written to."""

    measures: list[Measure]
    paths: list[Path]


def curves(study: Study, out: Path, name: str) -> list[Curves]:
    """Draw every score against the generation: the mean, the band of its 95 % interval, and the floor.

    A panel covers the range of the scores of all seeds; a wider band, such as that of two seeds, is cut at its edge.
    The main scores share one figure of a column's width, the others share one of a page's width, and the scores of each
    labelled attribute have one more figure. There is one set of figures per feature space, reference and N.

    Returns:
        The figures, in the order of the ledger: main scores against held-out images are first if they are first there.
    """
    return [Curves(measures, _figure(study, measures, out, file)) for measures, file in _figures(study, name)]


def main_curves(study: Study, out: Path, name: str) -> Curves:
    """Draw only the first figure of `curves`."""
    measures, file = _figures(study, name)[0]
    return Curves(measures, _figure(study, measures, out, file))


def _figures(study: Study, name: str) -> list[tuple[list[Measure], str]]:
    """Return the measures of each figure, and the name of its files."""
    figures: list[tuple[list[Measure], str]] = []
    groups: dict[tuple, list[Measure]] = {}
    for m in study.measures():
        groups.setdefault((m.feature_space, m.reference, m.num_subject, m.num_reference), []).append(m)
    for i, (key, measures) in enumerate(groups.items()):
        suffix = "" if i == 0 else "_" + "_".join(map(str, key))
        main = sorted((m for m in measures if m.metric in MAIN_METRICS), key=lambda m: MAIN_METRICS.index(m.metric))
        others = [m for m in measures if m.metric not in MAIN_METRICS and m.attribute is None]
        figures += [(main, name + suffix)] if main else []
        figures += [(others, f"{name}_more{suffix}")] if others else []
        for attribute in dict.fromkeys(m.attribute for m in measures if m.attribute is not None):
            chosen = [m for m in measures if m.attribute == attribute]
            figures.append((chosen, f"{name}_{attribute}{suffix}"))
    return figures


def _figure(study: Study, measures: list[Measure], out: Path, name: str) -> list[Path]:
    """Draw one panel per measure: main scores in one column, others in two."""
    num_columns = 1 if measures[0].metric in MAIN_METRICS else min(2, len(measures))
    num_rows = math.ceil(len(measures) / num_columns)
    width = COLUMN if num_columns == 1 else PAGE
    with styled():
        figure, axes = plt.subplots(
            num_rows, num_columns, figsize=(width, 0.55 + 1.35 * num_rows), sharex=True, squeeze=False
        )
        marks: set[str] = set()
        for panel, (axis, measure) in enumerate(zip(axes.flat, measures, strict=False)):
            marks |= _panel(axis, study, measure, panel)
        for axis in axes.flat[len(measures) :]:
            axis.set_visible(False)
        for axis in axes.flat[max(0, len(measures) - num_columns) : len(measures)]:
            axis.set_xlabel("generation")
            axis.tick_params(labelbottom=True)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.tight_layout(h_pad=0.6, w_pad=1.2)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if "band" in marks:
            handles, labels = [*handles, band_of_seeds()], [*labels, band_of_seeds().get_label()]
        legend(figure, study, (handles, labels), per_row=3 if num_columns == 1 else 8)
        note(figure, measures, "\n".join(words for mark, words in MARKS.items() if mark in marks))
        return save(figure, out, name)


def _panel(axis: Axes, study: Study, measure: Measure, panel: int) -> set[str]:
    """Draw one score and return the keys of `MARKS` that its panel has.

    Args:
        axis: The panel to draw on.
        study: The study to draw.
        measure: The score to draw.
        panel: The number of the panel within its figure, for the ids of its parts.
    """
    palette = colours(study)
    every: list[float] = []
    ends: list[float] = []
    marks: set[str] = set()
    for condition in study.conditions:
        values_at = {g: list(study.values(condition, g, measure).values()) for g in study.generations}
        points = [(g, values) for g, values in values_at.items() if values]
        if not points:
            continue
        x = [g for g, _ in points]
        every += [value for _, values in points for value in values]
        means = [sum(values) / len(values) for _, values in points]
        name, style = condition_id(study, condition, f"line-{panel}"), line_style(study, condition)
        axis.plot(x, means, gid=name, zorder=3, markevery=math.ceil(len(x) / MOST_MARKERS), **style)
        greyed = [(g, m) for g, m in zip(x, means, strict=True) if is_greyed(study, condition, g, measure)]
        if greyed:
            marks.add("grey")
            gid = condition_id(study, condition, f"grey-{panel}")
            axis.plot(*zip(*greyed, strict=True), "o", color=FLOOR, markersize=4, zorder=4, gid=gid, clip_on=False)
        several = any(len(values) > 1 for _, values in points)
        if several and len(study.conditions) > MOST_BANDS:
            marks.add("no band")
        elif several:
            marks.add("band")
            cells = [c for _, values in points if (c := cell(values)) is not None]
            # A generation with one seed has no band, rather than one of width zero.
            low, high = (
                [math.nan if c.half_width is None else c.mean + s * c.half_width for c in cells] for s in (-1, 1)
            )
            ends += [end for end in (*low, *high) if not math.isnan(end)]
            band = axis.fill_between(x, low, high, color=palette[condition], alpha=0.18, linewidth=0, zorder=2)
            band.set_gid(condition_id(study, condition, f"band-{panel}"))
    floor, interval = study.floor(measure), study.floor_interval(measure)
    if interval is not None:
        marks.add("floor band")
        axis.axhspan(*interval, color=FLOOR, alpha=0.2, linewidth=0, zorder=0)
    if floor is not None:
        every.append(floor)
        axis.axhline(
            floor, color=FLOOR, linewidth=0.9, linestyle=(0, (4, 3)), label=f"real {study.kind.items}", zorder=1
        )
    axis.set_ylabel(measure.name)
    least, most = min(every, default=0.0), max(every, default=1.0)
    space = 0.05 * (most - least) or 0.05 * abs(most) or 1.0
    axis.set_ylim(least - space, most + space)
    # The axis begins at zero, unless that would flatten the curves.
    if least >= 0 and (least <= most / 2 or measure.metric in MAIN_METRICS):
        axis.set_ylim(0, axis.get_ylim()[1] if most > 0 else 1)
    if measure.direction == "up" and most <= 1:
        axis.set_ylim(top=min(1.05, axis.get_ylim()[1]))
    axis.margins(x=0.04)
    lowest, highest = axis.get_ylim()
    return marks | ({"cut"} if ends and not lowest <= min(ends) <= max(ends) <= highest else set())
