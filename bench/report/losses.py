"""The figure of losses: the training loss of each generation."""

import math
from pathlib import Path

import matplotlib
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from bench.analysis.artifacts import load_losses
from bench.analysis.study import Study
from bench.report.panels import Panels
from bench.report.style import caption, save, styled

MOST_NAMES = 8
"""Largest number of generations that the legend names, about; of more it names the first, the last and some between."""


def losses(study: Study, out: Path, name: str) -> list[Path]:
    """Draw one panel per condition: the mean training loss against the step, one line per generation.

    Each panel shows the condition's longest chain. A panel stays empty if the store has no curve, and nothing is drawn
    if there is none at all.
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
    with styled():
        panels = Panels(study, list(curves), height=1.45)
        for axis, condition in panels:
            for generation, points in curves[condition].items():
                steps, values = zip(*points, strict=True)
                dot = "o" if len(points) == 1 else ""
                axis.plot(steps, values, color=colour[generation], linewidth=1.0, marker=dot, markersize=3)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        _scale(
            panels.axes[0, 0].yaxis, [value for c in curves.values() for points in c.values() for _, value in points]
        )
        panels.finish("training step", "mean loss")
        named = known[:: math.ceil(len(known) / MOST_NAMES)]
        named = named if known[-1] in named else [*named, known[-1]]
        lines = [Line2D([], [], color=colour[g], label=f"generation {g}") for g in named]
        panels.legend(lines, panels.num_columns)
        about = "loss in training, mean over the steps since the point before · longest chain of each condition"
        caption(panels.figure, about)
        return save(panels.figure, out, name)


def _scale(axis: Axis, values: list[float]) -> None:
    """Make an axis logarithmic, with a few round numbers, if all values are positive."""
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
