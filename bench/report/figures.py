"""Figures of a study's scores."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bench.report.study import MAIN_METRICS, Measure, Study
from bench.report.style import COLUMN, DASHES, FLOOR, MARKERS, colours, save, styled
from bench.report.tables import metric_name


def curves(study: Study, out: Path, name: str) -> list[Path]:
    """Every main score against generation: the mean over seeds as a line, their range as a band, the floor
    dashed.

    One figure per feature space and choice of N; writes PNG, SVG and PDF and returns the paths.
    """
    written = []
    groups: dict[tuple, list[Measure]] = {}
    for metric in MAIN_METRICS:
        for m in study.measures(metric):
            groups.setdefault((m.feature_space, m.reference, m.num_subject, m.num_reference), []).append(m)
    for i, measures in enumerate(groups.values()):
        with styled():
            figure, axes = plt.subplots(
                len(measures), 1, figsize=(COLUMN, 0.55 + 1.35 * len(measures)), sharex=True, squeeze=False
            )
            for axis, measure in zip(axes[:, 0], measures, strict=True):
                _curves(axis, study, measure)
            axes[-1, 0].set_xlabel("generation")
            axes[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
            handles, labels = axes[0, 0].get_legend_handles_labels()
            figure.tight_layout(h_pad=0.6)
            figure.legend(
                handles,
                labels,
                title="synthetic ratio" if study.by_ratio else None,
                title_fontsize=7,
                loc="lower center",
                bbox_to_anchor=(0.54, 1.0),
                ncols=min(len(labels), 4 if study.by_ratio else 2),
                handlelength=2.6,
                columnspacing=1.2,
            )
            m = measures[0]
            figure.text(
                0.99, -0.01, f"{m.feature_space} · {m.reference} · {m.sizes}", ha="right", va="top", size=6, color=FLOOR
            )
            written += save(figure, out, name if len(groups) == 1 else f"{name}_{i + 1}_{m.feature_space}")
    return written


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
    if measure.metric == "fid":
        axis.set_ylim(bottom=0)
    elif measure.direction == "up":
        axis.set_ylim(0, None)
        axis.set_ylim(0, min(1.05, axis.get_ylim()[1]))
    axis.margins(x=0.04)
