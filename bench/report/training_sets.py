"""The figure of training sets: the numbers of real items and of items from each earlier generation."""

from pathlib import Path

import matplotlib
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bench.analysis.origins import origins
from bench.analysis.study import Study
from bench.report.panels import Panels
from bench.report.style import caption, save, styled

REAL = "#c9ced3"
MOST_NAMES, MANY = 12, 40
"""If the legend would have more entries than the first number, it names real items and the first and last generation of
birth. If the last generation of birth is at least the second number, bars touch."""


def training_sets(study: Study, out: Path, name: str) -> list[Path]:
    """Draw one panel per condition: the training set of each generation as a bar, stacked by generation of birth.

    Each panel shows the condition's longest chain.
    """
    parts = origins(study)
    synthetic = matplotlib.colormaps["YlOrBr"]
    last = max(1, *parts.births)
    width = 0.75 if last < MANY else 1.0  # gaps that are narrower than a pixel look like stripes
    palette = [REAL if birth < 0 else synthetic(0.3 + 0.55 * birth / last) for birth in parts.births]
    with styled():
        panels = Panels(study, study.conditions, height=1.25)
        for axis, condition in panels:
            counts = parts.counts[condition]
            base = [0] * len(counts)
            for i, (label, colour) in enumerate(zip(parts.labels, palette, strict=True)):
                heights = [numbers[i] for numbers in counts.values()]
                some = [j for j, height in enumerate(heights) if height]  # with many generations, most are 0
                generations, tops, bottoms = ([column[j] for j in some] for column in (list(counts), heights, base))
                axis.bar(generations, tops, bottom=bottoms, width=width, color=colour, label=label)
                base = [low + height for low, height in zip(base, heights, strict=True)]
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels.finish("generation", f"training {study.kind.items}")
        patches = [Patch(facecolor=colour, label=label) for label, colour in zip(parts.labels, palette, strict=True)]
        if len(patches) > MOST_NAMES:  # the shades between the first and the last need no entry
            patches = [patches[i] for i in (0, 1, -1)]
        panels.legend(patches, panels.num_columns)
        caption(panels.figure, "what each generation was trained on · the longest chain of each condition")
        return save(panels.figure, out, name)
