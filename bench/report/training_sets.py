"""The figure of training sets: how many items of each generation are real, and how many were generated when."""

import math
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bench.analysis.origins import origins
from bench.analysis.study import Study
from bench.report.style import PAGE, caption, panel_title, save, styled

REAL = "#c9ced3"
MOST_NAMES, MANY = 12, 40
"""Of more generations the legend names the first and the last, and bars touch."""


def training_sets(study: Study, out: Path, name: str) -> list[Path]:
    """Draw one panel per condition: the training set of each generation as a stack, by generation of birth.

    Each panel shows the condition's longest chain.
    """
    parts = origins(study)
    num_columns = min(4, len(study.conditions))
    num_rows = math.ceil(len(study.conditions) / num_columns)
    synthetic = matplotlib.colormaps["YlOrBr"]
    last = max(1, *parts.births)
    width = 0.75 if last < MANY else 1.0  # gaps that are finer than a pixel look like stripes
    palette = [REAL if birth < 0 else synthetic(0.3 + 0.55 * birth / last) for birth in parts.births]
    with styled():
        size = (PAGE * max(2, num_columns) / 4, 0.5 + 1.25 * num_rows)
        figure, axes = plt.subplots(num_rows, num_columns, figsize=size, sharex=True, sharey=True, squeeze=False)
        for axis, condition in zip(axes.flat, study.conditions, strict=False):
            counts = parts.counts[condition]
            base = [0] * len(counts)
            for i, (label, colour) in enumerate(zip(parts.labels, palette, strict=True)):
                heights = [numbers[i] for numbers in counts.values()]
                some = [j for j, height in enumerate(heights) if height]  # of many generations most are 0
                generations, tops, bottoms = ([column[j] for j in some] for column in (list(counts), heights, base))
                axis.bar(generations, tops, bottom=bottoms, width=width, color=colour, label=label)
                base = [low + height for low, height in zip(base, heights, strict=True)]
            axis.set_title(panel_title(study, condition, 0.9 * PAGE / 4), pad=4)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axis in axes.flat[len(study.conditions) :]:
            axis.set_visible(False)
        for axis in axes.flat[len(study.conditions) - num_columns : len(study.conditions)]:
            axis.set_xlabel("generation")
            axis.tick_params(labelbottom=True)
        for row in axes:
            row[0].set_ylabel(f"training {study.kind.items}")
        figure.tight_layout(h_pad=0.6, w_pad=0.8)
        patches = [Patch(facecolor=colour, label=label) for label, colour in zip(parts.labels, palette, strict=True)]
        if len(patches) > MOST_NAMES:  # shades between the first and the last speak for themselves
            patches = [patches[i] for i in (0, 1, -1)]
        figure.legend(
            handles=patches, loc="lower center", bbox_to_anchor=(0.54, 1.0), ncols=min(len(patches), num_columns)
        )
        caption(figure, "what each generation was trained on · the longest chain of each condition")
        return save(figure, out, name)
