"""Figures of a study's scores."""

import math
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.analysis.study import MAIN_METRICS, Measure, Study
from bench.report.style import COLUMN, DASHES, FLOOR, MARKERS, PAGE, colours, save, styled
from bench.report.tables import metric_name


def curves(study: Study, out: Path, name: str) -> list[Path]:
    """Every score against generation: the mean over seeds as a line, their range as a band, the floor dashed.

    The main scores are one figure of one column's width, the others one of a page's width, and the scores of each
    labelled attribute one more; all of them per feature space, reference and N. Writes PNG, SVG and PDF and returns the
    paths.
    """
    written = []
    groups: dict[tuple, list[Measure]] = {}
    for m in study.measures():
        groups.setdefault((m.feature_space, m.reference, m.num_subject, m.num_reference), []).append(m)
    for i, (key, measures) in enumerate(groups.items()):
        suffix = "" if i == 0 else "_" + "_".join(map(str, key))
        main = sorted((m for m in measures if m.metric in MAIN_METRICS), key=lambda m: MAIN_METRICS.index(m.metric))
        others = [m for m in measures if m.metric not in MAIN_METRICS and m.attribute is None]
        if main:
            written += _figure(study, main, 1, out, name + suffix)
        if others:
            written += _figure(study, others, 2, out, f"{name}_more{suffix}")
        for attribute in dict.fromkeys(m.attribute for m in measures if m.attribute is not None):
            chosen = [m for m in measures if m.attribute == attribute]
            written += _figure(study, chosen, 2, out, f"{name}_{attribute}{suffix}")
    return written


def _figure(study: Study, measures: list[Measure], num_columns: int, out: Path, name: str) -> list[Path]:
    num_columns = min(num_columns, len(measures))
    num_rows = math.ceil(len(measures) / num_columns)
    width = COLUMN if num_columns == 1 else PAGE
    with styled():
        figure, axes = plt.subplots(
            num_rows, num_columns, figsize=(width, 0.55 + 1.35 * num_rows), sharex=True, squeeze=False
        )
        for axis, measure in zip(axes.flat, measures, strict=False):
            _curves(axis, study, measure)
        for axis in axes.flat[len(measures) :]:
            axis.set_visible(False)
        for axis in axes.flat[max(0, len(measures) - num_columns) : len(measures)]:
            axis.set_xlabel("generation")
            axis.tick_params(labelbottom=True)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.tight_layout(h_pad=0.6, w_pad=1.2)
        legend(figure, study, axes[0, 0].get_legend_handles_labels(), per_row=4 * num_columns)
        note(figure, measures[0])
        return save(figure, out, name)


def legend(figure: Figure, study: Study, entries: tuple[list, list[str]], per_row: int = 4) -> None:
    """Above the figure, with the word that all labels belong to."""
    handles, labels = entries
    figure.legend(
        handles,
        labels,
        title="synthetic ratio" if study.by_ratio else None,
        title_fontsize=7,
        loc="lower center",
        bbox_to_anchor=(0.54, 1.0),
        ncols=min(len(labels), per_row if study.by_ratio else max(2, per_row // 2)),
        handlelength=2.6,
        columnspacing=1.2,
    )


def note(figure: Figure, measure: Measure) -> None:
    """Below the figure: what the scores are of."""
    said = "" if measure.attribute is None else f"classes by {measure.attribute} · "
    said += f"{measure.feature_space} · against {measure.reference} · N = {measure.num_subject}"
    figure.text(0.99, -0.01, said, ha="right", va="top", size=6, color=FLOOR)


def _curves(axis: Axes, study: Study, measure: Measure) -> None:
    palette = colours(study)
    for i, condition in enumerate(study.conditions):
        at = {g: list(study.values(condition, g, measure).values()) for g in study.generations}
        points = [(g, values) for g, values in at.items() if values]
        if not points:
            continue
        x = [g for g, _ in points]
        means = [sum(values) / len(values) for _, values in points]
        colour = palette[condition]
        axis.plot(
            x,
            means,
            color=colour,
            marker=MARKERS[i % len(MARKERS)],
            dashes=DASHES[i % len(DASHES)],
            markeredgecolor="white",
            markeredgewidth=0.5,
            label=condition.label,
            zorder=3,
        )
        if any(len(values) > 1 for _, values in points):
            low, high = ([f(values) for _, values in points] for f in (min, max))
            axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)
    floor = study.floor(measure)
    if floor is not None:
        axis.axhline(floor, color=FLOOR, linewidth=0.9, linestyle=(0, (4, 3)), label="real images", zorder=1)
    axis.set_ylabel(f"{metric_name(measure.metric)} {measure.arrow}")
    least, most = axis.dataLim.ymin, axis.dataLim.ymax
    if 0 <= least <= most / 2 or measure.metric in MAIN_METRICS:  # from zero, unless that would flatten the curves
        axis.set_ylim(0, axis.get_ylim()[1] if most > 0 else 1)
    if measure.direction == "up" and most <= 1:
        axis.set_ylim(top=min(1.05, axis.get_ylim()[1]))
    axis.margins(x=0.04)
