"""The figure of losses: how each generation's training went."""

import math
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from bench.analysis.artifacts import load_losses
from bench.analysis.study import Study
from bench.report.style import PAGE, caption, panel_title, save, styled

MOST_COLUMNS, MOST_NAMES = 4, 8
"""Of more generations the legend names the first, the last, and some between."""


def losses(study: Study, out: Path, name: str) -> list[Path]:
    """Draw one panel per condition: the mean training loss against the step, one line per generation.

    Each panel shows the condition's longest chain. A panel stays empty where the store has no curve, and nothing is
    drawn where there is none at all.
    """
    chains = {condition: study.longest(condition) for condition in study.conditions}
    curves = {
        condition: {row.generation: points for row in chain.rows if (points := load_losses(chain, row))}
        for condition, chain in chains.items()
    }
    known = sorted({generation for by_generation in curves.values() for generation in by_generation})
    if not known:
        return []
    shades = matplotlib.colormaps["plasma"]
    colour = {g: shades(0.12 + 0.7 * g / max(1, known[-1])) for g in known}
    num_columns = min(MOST_COLUMNS, len(curves))
    num_rows = math.ceil(len(curves) / num_columns)
    with styled():
        size = (PAGE * max(2, num_columns) / MOST_COLUMNS, 0.5 + 1.45 * num_rows)
        figure, axes = plt.subplots(num_rows, num_columns, figsize=size, sharex=True, sharey=True, squeeze=False)
        for axis, (condition, by_generation) in zip(axes.flat, curves.items(), strict=False):
            for generation, points in by_generation.items():
                steps, values = zip(*points, strict=True)
                dot = "o" if len(points) == 1 else ""
                axis.plot(steps, values, color=colour[generation], linewidth=1.0, marker=dot, markersize=3)
            axis.set_title(panel_title(study, condition, 0.9 * PAGE / MOST_COLUMNS), pad=4)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        _scale(axes[0, 0].yaxis, [value for c in curves.values() for points in c.values() for _, value in points])
        for axis in axes.flat[len(curves) :]:
            axis.set_visible(False)
        for axis in axes.flat[len(curves) - num_columns : len(curves)]:
            axis.set_xlabel("training step")
            axis.tick_params(labelbottom=True)
        for row in axes:
            row[0].set_ylabel("mean loss")
        figure.tight_layout(h_pad=0.6, w_pad=0.8)
        named = known[:: math.ceil(len(known) / MOST_NAMES)]
        named = named if known[-1] in named else [*named, known[-1]]
        lines = [Line2D([], [], color=colour[g], label=f"generation {g}") for g in named]
        figure.legend(handles=lines, loc="lower center", bbox_to_anchor=(0.54, 1.0), ncols=min(len(lines), num_columns))
        caption(
            figure, "loss in training, mean over the steps since the point before · longest chain of each condition"
        )
        return save(figure, out, name)


def _scale(axis: Axis, values: list[float]) -> None:
    """Make an axis logarithmic, with a few round numbers, where all values are positive."""
    if min(values) <= 0:
        return
    axis.axes.set_yscale("log")
    low, high = math.log10(min(values)), math.log10(max(values))
    parts = (1, 2, 5) if high - low < 2 else (1,)
    marks = [part * 10.0**e for e in range(math.floor(low) - 1, math.ceil(high) + 1) for part in parts]
    axis.set_ticks([mark for mark in marks if min(values) / 1.3 <= mark <= max(values) * 1.3])
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
