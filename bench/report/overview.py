"""Figures of a whole study at once: the last generation against the ratio, ratio × generation, and precision against
recall."""

from pathlib import Path

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from bench.analysis.cells import cell, digits
from bench.analysis.study import MAIN_METRICS, Condition, Measure, Study
from bench.analysis.verdicts import critical
from bench.report.figures import legend, note
from bench.report.style import COLUMN, DASHES, FLOOR, MARKERS, colours, save, styled
from bench.report.tables import metric_name

INK = "#222222"


def final_scores(study: Study, out: Path, name: str) -> list[Path]:
    """The last generation that every chain has, against the synthetic ratio: every seed as a dot, means as a line with
    95 % intervals, the critical ratio with its interval marked. Nothing where the conditions are not told apart by a
    ratio, or are fewer than two."""
    generation = study.last_common
    if not study.by_ratio or len(study.conditions) < 2 or generation < 1:
        return []
    measures = _main(study)
    with styled():
        figure, axes = plt.subplots(
            len(measures), 1, figsize=(COLUMN, 0.5 + 1.3 * len(measures)), sharex=True, squeeze=False
        )
        palette = colours(study)
        for axis, measure in zip(axes[:, 0], measures, strict=True):
            for condition in study.conditions:
                values = list(study.values(condition, generation, measure).values())
                axis.plot(
                    [condition.ratio] * len(values), values, ".", color=palette[condition], markersize=4, zorder=3
                )
            cells = [(c.ratio, cell(study.values(c, generation, measure).values())) for c in study.conditions]
            known = [(ratio, value) for ratio, value in cells if value]
            axis.plot([r for r, _ in known], [v.mean for _, v in known], color=INK, linewidth=0.9, zorder=2)
            for ratio, value in known:
                if value.half_width is not None:
                    axis.errorbar(ratio, value.mean, value.half_width, color=INK, linewidth=0.8, capsize=2, zorder=2)
            floor = study.floor(measure)
            if floor is not None:
                axis.axhline(floor, color=FLOOR, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
            axis.set_ylabel(f"{metric_name(measure.metric)} {measure.arrow}")
            axis.set_ylim(bottom=0)
        threshold = critical(study)
        if threshold is not None and threshold.ratio is not None:
            for axis in axes[:, 0]:
                if threshold.low is not None and threshold.high is not None:
                    axis.axvspan(threshold.low, threshold.high, color=FLOOR, alpha=0.12, linewidth=0, zorder=0)
                axis.axvline(threshold.ratio, color=FLOOR, linewidth=0.9, zorder=1)
            axes[0, 0].annotate(
                f"critical ratio {threshold.ratio:.2f}",
                (threshold.ratio, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                size=6.5,
                color=FLOOR,
            )
        axes[-1, 0].set_xlabel(f"synthetic ratio (generation {generation})")
        figure.tight_layout(h_pad=0.6)
        note(figure, measures[0])
        return save(figure, out, name)


def phase_diagram(study: Study, out: Path, name: str) -> list[Path]:
    """FID, condition × generation, as shades and numbers: where collapse begins, and how fast it goes."""
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
            axis.set_ylabel("synthetic ratio")
        for (i, j), value in np.ndenumerate(means):
            if np.isfinite(value):
                dark = (value - np.nanmin(means)) > 0.55 * np.ptp(means[np.isfinite(means)])
                axis.text(j, i, f"{value:.{places}f}", ha="center", va="center", size=6.5, color="w" if dark else INK)
        bar = figure.colorbar(image, ax=axis, pad=0.02, aspect=12)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        bar.set_label(f"FID {measure.arrow}")
        figure.tight_layout()
        note(figure, measure)
        return save(figure, out, name)


def trajectories(study: Study, out: Path, name: str) -> list[Path]:
    """Recall against precision, one path per condition over its generations: which of the two is lost first."""
    precision, recall = study.primary("precision"), study.primary("recall")
    if precision is None or recall is None:
        return []
    with styled():
        figure, axis = plt.subplots(figsize=(COLUMN, 2.6))
        axis.grid(True, axis="both")
        palette = colours(study)
        for i, condition in enumerate(study.conditions):
            path = _path(study, condition, precision, recall)
            if not len(path):
                continue
            axis.plot(
                path[:, 0],
                path[:, 1],
                color=palette[condition],
                marker=MARKERS[i % len(MARKERS)],
                dashes=DASHES[i % len(DASHES)],
                markeredgecolor="white",
                markeredgewidth=0.5,
                markersize=3.5,
                label=condition.label,
                zorder=3,
            )
            end = axis.text(
                path[-1, 0], path[-1, 1], f" {study.generations[len(path) - 1]}", size=6, va="center", zorder=4
            )
            end.set_path_effects([effects.withStroke(linewidth=1.5, foreground="white")])
        floors = study.floor(precision), study.floor(recall)
        if None not in floors:
            axis.plot(*floors, "+", color=FLOOR, markersize=8, label="real images")  # type: ignore[arg-type]
        axis.set_xlabel(f"{metric_name('precision')} ↑")
        axis.set_ylabel(f"{metric_name('recall')} ↑")
        axis.set_xlim(left=0, right=min(1.02, axis.get_xlim()[1]))
        axis.set_ylim(bottom=0, top=min(1.02, axis.get_ylim()[1]))
        axis.xaxis.set_major_locator(MaxNLocator(6))
        figure.tight_layout()
        legend(figure, study, axis.get_legend_handles_labels())
        note(figure, precision)
        return save(figure, out, name)


def _main(study: Study) -> list[Measure]:
    return [m for name in MAIN_METRICS if (m := study.primary(name)) is not None]


def _path(study: Study, condition: Condition, precision: Measure, recall: Measure) -> np.ndarray:
    """float (G, 2): mean precision and recall of each generation that has both."""
    points = []
    for generation in study.generations:
        both = [cell(study.values(condition, generation, m).values()) for m in (precision, recall)]
        if both[0] and both[1]:
            points.append((both[0].mean, both[1].mean))
    return np.array(points).reshape(-1, 2)
