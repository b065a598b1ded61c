"""Overview figures: the last generation against the ratio, ratio × generation, and precision against recall."""

import math
from collections.abc import Iterator
from pathlib import Path

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bench.analysis.cells import cell, digits
from bench.analysis.collapse import CriticalRatio
from bench.analysis.conditions import Condition
from bench.analysis.measures import MAIN_METRICS, Measure
from bench.analysis.off_manifold import is_greyed, least_precision
from bench.analysis.study import Study
from bench.analysis.verdicts import critical
from bench.report.style import (
    COLUMN,
    FLOOR,
    INK,
    ON_DARK,
    ON_PALE,
    colours,
    condition_id,
    legend,
    line_style,
    names,
    note,
    save,
    styled,
    wrapped,
)

MOST_NUMBERS = 12
"""Largest number of generations for which the cells of the phase diagram contain numbers."""
LARGEST_NUMBER = 6.5
"""Largest font size of these numbers, points. In narrow cells they are smaller, so that none reaches the next cell."""
DIGIT_WIDTH = 0.64
"""Width of a digit relative to the font size, in DejaVu Sans."""
NEAR = 0.5
"""The panel of paths includes real images if the paths still fill at least this share of its sides."""


def final_scores(study: Study, out: Path, name: str) -> list[Path]:
    """Draw the scores of the last generation that every chain has, against the synthetic ratio.

    Every seed is a dot, means are a line with 95 % intervals, and the critical ratio is marked with its interval.
    Nothing is drawn for a single condition, if the ratio does not distinguish the conditions, or if the last common
    generation is 0.
    """
    generation = study.last_common
    if not study.by_ratio or len(study.conditions) < 2 or generation < 1:
        return []
    measures = [m for metric in MAIN_METRICS if (m := study.primary(metric)) is not None]
    if not measures:
        return []
    with styled():
        figure, axes = plt.subplots(
            len(measures), 1, figsize=(COLUMN, 0.5 + 1.3 * len(measures)), sharex=True, squeeze=False
        )
        for axis, measure in zip(axes[:, 0], measures, strict=True):
            _final_panel(axis, study, measure, generation)
        threshold = critical(study)
        if threshold is not None and threshold.ratio is not None:
            _mark_critical(list(axes[:, 0]), threshold, threshold.ratio)
        axes[-1, 0].set_xlabel(f"{study.axis} (generation {generation})")
        figure.tight_layout(h_pad=0.6)
        note(figure, measures, "\n".join(_marks_of_final(study, measures, generation, threshold)))
        return save(figure, out, name)


def _marks_of_final(
    study: Study, measures: list[Measure], generation: int, threshold: CriticalRatio | None
) -> Iterator[str]:
    """Yield the caption's lines on the marks that the figure of the last generation has."""
    every = [(c, m, study.values(c, generation, m)) for c in study.conditions for m in measures]
    yield "dots: seeds · line: their mean"
    if any(len(values) > 1 for _, _, values in every):
        yield "bars: 95 % interval of the mean over seeds (Student's t), ± of the tables"
    if any(study.floor(m) is not None for m in measures):
        yield f"dashed: real {study.kind.items}"
    if threshold is not None and threshold.ratio is not None and None not in (threshold.low, threshold.high):
        yield "grey band: 95 % interval of the critical ratio"
    if any(is_greyed(study, c, generation, m) for c, m, _ in every):
        yield "grey dots: recall says nothing, precision is too low"


def _final_panel(axis: Axes, study: Study, measure: Measure, generation: int) -> None:
    """Draw one score of one generation against the ratio.

    Args:
        axis: The panel to draw on.
        study: The study to draw.
        measure: The score to draw.
        generation: The generation to draw.
    """
    palette = colours(study)
    means = []
    lowest = 0.0
    for condition in study.conditions:
        assert condition.ratio is not None  # `study.by_ratio` ensures it
        values = list(study.values(condition, generation, measure).values())
        where = [condition.ratio] * len(values)
        axis.plot(where, values, ".", color=palette[condition], markersize=5, zorder=3, clip_on=False)
        if (value := cell(values)) is not None:
            means.append((condition.ratio, value))
            if is_greyed(study, condition, generation, measure):
                axis.plot([condition.ratio], [value.mean], "o", color=FLOOR, markersize=4, zorder=4, clip_on=False)
    axis.plot([r for r, _ in means], [v.mean for _, v in means], color=INK, linewidth=0.9, zorder=2, clip_on=False)
    for ratio, value in means:
        if value.half_width is not None:
            axis.errorbar(ratio, value.mean, value.half_width, color=INK, linewidth=0.8, capsize=2, zorder=2)
            lowest = min(lowest, value.mean - value.half_width)
    floor = study.floor(measure)
    if floor is not None:
        axis.axhline(floor, color=FLOOR, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axis.set_ylabel(measure.name)
    axis.set_ylim(bottom=min(0, axis.get_ylim()[0]) if lowest < 0 or measure.metric in ("kid", "fid_infinity") else 0)


def _mark_critical(axes: list[Axes], threshold: CriticalRatio, ratio: float) -> None:
    for axis in axes:
        if threshold.low is not None and threshold.high is not None:
            axis.axvspan(threshold.low, threshold.high, color=FLOOR, alpha=0.12, linewidth=0, zorder=0)
        axis.axvline(ratio, color=FLOOR, linewidth=0.9, zorder=1)
    axes[0].annotate(
        f"critical ratio {ratio:.2f}",
        (ratio, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        size=6.5,
        color=FLOOR,
    )


def phase_diagram(study: Study, out: Path, name: str) -> list[Path]:
    """Draw FID by condition × generation as shades and numbers: at which ratio collapse begins, and how fast it is.

    Nothing is drawn without FID, or for a single condition or generation.
    """
    measure = study.primary("fid")
    if measure is None or len(study.conditions) < 2 or len(study.generations) < 2:
        return []
    means = np.full((len(study.conditions), len(study.generations)), np.nan)
    for i, condition in enumerate(study.conditions):
        for j, generation in enumerate(study.generations):
            value = cell(study.values(condition, generation, measure).values())
            means[i, j] = value.mean if value else np.nan
    places = digits(means[np.isfinite(means)].tolist())
    with styled():
        labels = [wrapped(name, 1.4) for name in names(study).values()]
        height = 0.14 * sum(1 + max(1, label.count("\n") + 1) for label in labels) + 0.75
        figure, axis = plt.subplots(figsize=(COLUMN, height))
        image = axis.imshow(means, cmap="cividis_r", aspect="auto", origin="lower")
        axis.grid(False)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        many = len(study.generations) > MOST_NUMBERS
        each = range(0, len(study.generations), math.ceil(len(study.generations) / MOST_NUMBERS))
        axis.set_xticks(each, [str(study.generations[j]) for j in each])
        axis.set_yticks(range(len(study.conditions)), labels)
        axis.set_xlabel("generation")
        if study.by_ratio:
            axis.set_ylabel(study.axis)
        numbers = []
        for (i, j), value in np.ndenumerate(means):
            if np.isfinite(value) and not many:
                dark = (value - np.nanmin(means)) > 0.55 * np.ptp(means[np.isfinite(means)])
                ink = ON_DARK if dark else ON_PALE
                numbers.append(axis.text(j, i, f"{value:.{places}f}", ha="center", va="center", color=ink))
        bar = figure.colorbar(image, ax=axis, pad=0.02, aspect=12)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        bar.set_label(measure.name)
        figure.tight_layout()
        cell_width = axis.get_window_extent().width * 72 / figure.dpi / means.shape[1]  # in points, like font sizes
        longest = max((len(number.get_text()) for number in numbers), default=1)
        for number in numbers:
            number.set_fontsize(min(LARGEST_NUMBER, cell_width / (longest + 1) / DIGIT_WIDTH))
        several = any(len(by_seed) > 1 for by_seed in study.chains.values())
        note(figure, [measure], "mean over seeds" if several else "one seed")
        return save(figure, out, name)


def trajectories(study: Study, out: Path, name: str) -> list[Path]:
    """Draw recall against precision, one path per condition over its generations, to show which is lost first."""
    precision, recall = study.primary("precision"), study.primary("recall")
    if precision is None or recall is None:
        return []
    with styled():
        figure, axis = plt.subplots(figsize=(COLUMN, 2.6))
        axis.grid(True, axis="both")
        points = []
        for condition in study.conditions:
            path = _path(study, condition, precision, recall)
            if not len(path):
                continue
            points += path.tolist()
            style = line_style(study, condition) | {"gid": condition_id(study, condition, "path")}
            axis.plot(path[:, 0], path[:, 1], markersize=3.5, zorder=3, **style)
            _mark_last(axis, study, condition, path[-1], (precision, recall))
        if not points:
            plt.close(figure)
            return []
        marks = ["number: the last generation · bars: its 95 % intervals over seeds, ± of the tables"]
        if all(len(by_seed) == 1 for by_seed in study.chains.values()):
            marks = ["number: the last generation"]
        floors = [floor for m in (precision, recall) if (floor := study.floor(m)) is not None]
        real = np.array(floors) if len(floors) == 2 else None
        left, right, low, high = _limits(np.array(points), real)
        if real is not None:
            if left <= real[0] <= right and low <= real[1] <= high:
                axis.plot(
                    real[0], real[1], "+", color=FLOOR, markersize=8, label=f"real {study.kind.items}", clip_on=False
                )
            else:
                marks.append(
                    f"real {study.kind.items} lie outside, at precision {real[0]:.2f} and recall {real[1]:.2f}"
                )
        if (least := least_precision(study, recall)) is not None and left < least:
            axis.axvspan(0, least, color=FLOOR, alpha=0.15, linewidth=0, zorder=0, label="recall says nothing")
        axis.set_xlabel(precision.name)
        axis.set_ylabel(recall.name)
        axis.set(xlim=(left, right), ylim=(low, high))
        axis.xaxis.set_major_locator(MaxNLocator(6))
        figure.tight_layout()
        legend(figure, study, axis.get_legend_handles_labels())
        note(figure, [precision, recall], "\n".join(marks))
        return save(figure, out, name)


def _mark_last(axis: Axes, study: Study, condition: Condition, end: np.ndarray, measures: tuple[Measure, ...]) -> None:
    """Write the number of the last generation at the end of a path, and draw its intervals.

    Args:
        axis: The panel to draw on.
        study: The study to draw.
        condition: The condition of the path.
        end: The path's last precision and recall, float (2,).
        measures: The measures of precision and recall.
    """
    colour = colours(study)[condition]
    last = [g for g in study.generations if all(study.values(condition, g, m) for m in measures)][-1]
    cells = [cell(study.values(condition, last, m).values()) for m in measures]
    halves = [c.half_width for c in cells if c is not None and c.half_width is not None]
    if len(halves) == len(measures):
        bars = axis.errorbar(
            end[0], end[1], yerr=halves[1], xerr=halves[0], fmt="none", ecolor=colour, elinewidth=0.8, zorder=2
        )
        for i, line in enumerate(bars.lines[2]):
            line.set_gid(condition_id(study, condition, f"bar-{i}"))
    text = axis.annotate(
        str(last),
        tuple(end),
        xytext=(4, 4),
        textcoords="offset points",
        size=6.5,
        color=colour,
        zorder=4,
        gid=condition_id(study, condition, "end"),
    )
    text.set_path_effects([effects.withStroke(linewidth=1.5, foreground="white")])


def _limits(points: np.ndarray, real: np.ndarray | None) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of a panel that the paths fill, including real images if they are near.

    Args:
        points: Precision and recall of every generation of every path, float (N, 2).
        real: Precision and recall of real images, float (2,); None if one of them is not known.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    if real is not None:
        wider = np.maximum(high, real), np.minimum(low, real)
        if ((high - low) >= NEAR * (wider[0] - wider[1])).all():
            high, low = wider
    room = np.maximum(0.08 * (high - low), 0.01)
    (left, bottom), (right, top) = np.maximum(low - room, 0), np.minimum(high + room, 1.02)
    return float(left), float(right), float(bottom), float(top)


def _path(study: Study, condition: Condition, precision: Measure, recall: Measure) -> np.ndarray:
    """Return mean precision and recall of each generation that has both, float (G, 2).

    Args:
        study: The study to read.
        condition: The condition to read.
        precision: The measure of precision.
        recall: The measure of recall.
    """
    points = []
    for generation in study.generations:
        both = [cell(study.values(condition, generation, m).values()) for m in (precision, recall)]
        if both[0] and both[1]:
            points.append((both[0].mean, both[1].mean))
    return np.array(points).reshape(-1, 2)
