"""Overview figures: the last generation against the ratio, ratio × generation, and precision against recall."""

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
from bench.report.style import COLUMN, FLOOR, INK, colours, condition_id, legend, line_style, note, save, styled


def final_scores(study: Study, out: Path, name: str) -> list[Path]:
    """Draw the last generation that every chain has, against the synthetic ratio.

    Every seed is a dot, means are a line with 95 % intervals, and the critical ratio is marked with its interval.
    Nothing is drawn for a single condition, or where a ratio does not tell the conditions apart.
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
        note(figure, measures[0], "bars: 95 % interval of the mean over seeds")
        return save(figure, out, name)


def _final_panel(axis: Axes, study: Study, measure: Measure, generation: int) -> None:
    """Draw one score of one generation against the ratio.

    Args:
        axis: where to draw.
        study: the chains to draw.
        measure: the score to draw.
        generation: the generation to draw.
    """
    palette = colours(study)
    means = []
    for condition in study.conditions:
        assert condition.ratio is not None  # as `by_ratio` has it
        values = list(study.values(condition, generation, measure).values())
        axis.plot([condition.ratio] * len(values), values, ".", color=palette[condition], markersize=4, zorder=3)
        if (value := cell(values)) is not None:
            means.append((condition.ratio, value))
            if is_greyed(study, condition, generation, measure):
                axis.plot([condition.ratio], [value.mean], "o", color=FLOOR, markersize=4, zorder=4)
    axis.plot([r for r, _ in means], [v.mean for _, v in means], color=INK, linewidth=0.9, zorder=2)
    for ratio, value in means:
        if value.half_width is not None:
            axis.errorbar(ratio, value.mean, value.half_width, color=INK, linewidth=0.8, capsize=2, zorder=2)
    floor = study.floor(measure)
    if floor is not None:
        axis.axhline(floor, color=FLOOR, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axis.set_ylabel(measure.name)
    axis.set_ylim(bottom=min(0, axis.get_ylim()[0]) if measure.metric in ("kid", "fid_infinity") else 0)


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
    """Draw FID, condition × generation, as shades and numbers: where collapse begins, and how fast it goes."""
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
        height = 0.28 * len(means) + 0.75
        figure, axis = plt.subplots(figsize=(COLUMN, height))
        image = axis.imshow(means, cmap="cividis_r", aspect="auto", origin="lower")
        axis.grid(False)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        axis.set_xticks(range(len(study.generations)), [str(g) for g in study.generations])
        axis.set_yticks(range(len(study.conditions)), [c.label for c in study.conditions])
        axis.set_xlabel("generation")
        if study.by_ratio:
            axis.set_ylabel(study.axis)
        for (i, j), value in np.ndenumerate(means):
            if np.isfinite(value):
                dark = (value - np.nanmin(means)) > 0.55 * np.ptp(means[np.isfinite(means)])
                axis.text(j, i, f"{value:.{places}f}", ha="center", va="center", size=6.5, color="w" if dark else INK)
        bar = figure.colorbar(image, ax=axis, pad=0.02, aspect=12)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        bar.set_label(measure.name)
        figure.tight_layout()
        note(figure, measure)
        return save(figure, out, name)


def trajectories(study: Study, out: Path, name: str) -> list[Path]:
    """Draw recall against precision, one path per condition over its generations: which of the two is lost first."""
    precision, recall = study.primary("precision"), study.primary("recall")
    if precision is None or recall is None:
        return []
    with styled():
        figure, axis = plt.subplots(figsize=(COLUMN, 2.6))
        axis.grid(True, axis="both")
        for condition in study.conditions:
            path = _path(study, condition, precision, recall)
            if not len(path):
                continue
            style = line_style(study, condition) | {"gid": condition_id(study, condition, "path")}
            axis.plot(path[:, 0], path[:, 1], markersize=3.5, zorder=3, **style)
            last = f" {study.generations[len(path) - 1]}"
            end = axis.text(
                path[-1, 0], path[-1, 1], last, size=6, va="center", zorder=4, gid=condition_id(study, condition, "end")
            )
            end.set_path_effects([effects.withStroke(linewidth=1.5, foreground="white")])
        floors = study.floor(precision), study.floor(recall)
        if None not in floors:
            axis.plot(*floors, "+", color=FLOOR, markersize=8, label="real images")  # type: ignore[arg-type]
        if (least := least_precision(study, recall)) is not None:
            axis.axvspan(0, least, color=FLOOR, alpha=0.1, linewidth=0, zorder=0, label="recall says nothing")
        axis.set_xlabel(precision.name)
        axis.set_ylabel(recall.name)
        axis.set_xlim(left=0, right=min(1.02, axis.get_xlim()[1]))
        axis.set_ylim(bottom=0, top=min(1.02, axis.get_ylim()[1]))
        axis.xaxis.set_major_locator(MaxNLocator(6))
        figure.tight_layout()
        legend(figure, study, axis.get_legend_handles_labels())
        note(figure, precision)
        return save(figure, out, name)


def _path(study: Study, condition: Condition, precision: Measure, recall: Measure) -> np.ndarray:
    """Return mean precision and recall of each generation that has both, float (G, 2).

    Args:
        study: the chains to read.
        condition: the condition to read.
        precision: which precision.
        recall: which recall.
    """
    points = []
    for generation in study.generations:
        both = [cell(study.values(condition, generation, m).values()) for m in (precision, recall)]
        if both[0] and both[1]:
            points.append((both[0].mean, both[1].mean))
    return np.array(points).reshape(-1, 2)
