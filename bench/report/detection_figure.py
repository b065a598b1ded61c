"""The figure of who made an item: detectors of one generation tested on another, and marks that samples still carry."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from bench.analysis.conditions import Condition
from bench.analysis.study import Study
from bench.report.style import PAGE, caption, panel_title, save, styled

MOST_COLUMNS = 3
MOST_NUMBERS = 12
"""Largest number of generations for which the cells of a matrix contain numbers."""

Place = Callable[[dict[str, Any], int], tuple[int, int]]
"""Maps the parameters and the generation of a score to the row and column of its matrix."""
KINDS: dict[str, tuple[str, str, str, Place]] = {
    "detector_auroc": (
        "detectors: AUROC",
        "trained on generation",
        "tested on generation",
        lambda parameters, generation: (parameters["trained_on"], parameters["tested_on"]),
    ),
    "mark_rate": (
        "samples with the mark",
        "mark of generation",
        "samples of generation",
        lambda parameters, generation: (parameters["mark_of"], generation),
    ),
}


def detection(study: Study, out: Path, name: str) -> list[Path]:
    """Draw a matrix of means over seeds for each condition and metric. Nothing is drawn if no such score exists."""
    panels = [
        (metric, condition, matrix)
        for metric in KINDS
        for condition in study.conditions
        if (matrix := _matrix(study, condition, metric)) is not None
    ]
    if not panels:
        return []
    num_columns = min(MOST_COLUMNS, len(panels))
    num_rows = -(-len(panels) // num_columns)
    with styled():
        size = (PAGE * max(2, num_columns) / MOST_COLUMNS, 0.4 + 2.6 * num_rows)
        figure, axes = plt.subplots(num_rows, num_columns, figsize=size, squeeze=False)
        for axis, (metric, condition, matrix) in zip(axes.flat, panels, strict=False):
            what, down, across, _ = KINDS[metric]
            edges = np.arange(len(matrix) + 1) - 0.5
            lowest = 0.5 if metric == "detector_auroc" else 0.0
            axis.pcolormesh(edges, edges, np.ma.masked_invalid(matrix), vmin=lowest, vmax=1.0, cmap="Blues")
            axis.invert_yaxis()
            axis.grid(visible=False)
            axis.set_aspect("equal")
            axis.set_title(f"{what}\n{panel_title(study, condition, 0.9 * PAGE / MOST_COLUMNS)}", pad=4)
            axis.set_xlabel(across)
            axis.set_ylabel(down)
            if len(matrix) <= MOST_NUMBERS:
                axis.set_xticks(range(len(matrix)))
                axis.set_yticks(range(len(matrix)))
                for (i, j), value in np.ndenumerate(matrix):
                    if np.isfinite(value):
                        colour = "white" if value > 0.8 else "black"
                        axis.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=6)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        figure.tight_layout(h_pad=0.8, w_pad=0.8)
        caption(
            figure, "detectors: 0.5 is chance; marks: above the threshold of a false-positive rate · mean over seeds"
        )
        return save(figure, out, name)


def _matrix(study: Study, condition: Condition, metric: str) -> np.ndarray | None:
    """Return the mean over seeds, float (G, G), NaN in cells without a score; None if there is no score at all."""
    found: dict[tuple[int, int], list[float]] = {}
    for chain in study.chains[condition].values():
        for row in chain.rows:
            for score in row.scores:
                if score["metric"] == metric and score["subject"] == "samples":
                    place = KINDS[metric][3](score["parameters"], row.generation)
                    found.setdefault(place, []).append(score["value"])
    if not found:
        return None
    matrix = np.full((1 + max(max(place) for place in found),) * 2, np.nan)
    for place, values in found.items():
        matrix[place] = np.mean(values)
    return matrix
