"""Figures with one panel per condition, side by side on shared axes."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.artist import Artist

from bench.analysis.conditions import Condition
from bench.analysis.study import Study
from bench.report.style import PAGE, panel_title

MOST_COLUMNS = 4


class Panels:
    """A figure with one panel per condition, to be created within `styled()`."""

    def __init__(self, study: Study, conditions: Sequence[Condition], height: float) -> None:
        """Lay out the panels. height: The height of a row of panels in inches."""
        self.conditions = conditions
        self.num_columns = min(MOST_COLUMNS, len(conditions))
        num_rows = math.ceil(len(conditions) / self.num_columns)
        size = (PAGE * max(2, self.num_columns) / MOST_COLUMNS, 0.5 + height * num_rows)
        self.figure, self.axes = plt.subplots(
            num_rows, self.num_columns, figsize=size, sharex=True, sharey=True, squeeze=False
        )
        for axis, condition in self:
            axis.set_title(panel_title(study, condition, 0.9 * PAGE / MOST_COLUMNS), pad=4)

    def __iter__(self) -> Iterator[tuple[Any, Condition]]:
        """Yield every panel with its condition."""
        return zip(self.axes.flat, self.conditions, strict=False)

    def finish(self, across: str, down: str) -> None:
        """Label the axes, x once per column and y once per row, and hide the panels that no condition fills."""
        num = len(self.conditions)
        for axis in self.axes.flat[num:]:
            axis.set_visible(False)
        for axis in self.axes.flat[num - self.num_columns : num]:
            axis.set_xlabel(across)
            axis.tick_params(labelbottom=True)
        for row in self.axes:
            row[0].set_ylabel(down)
        self.figure.tight_layout(h_pad=0.6, w_pad=0.8)

    def legend(self, handles: Sequence[Artist], per_row: int) -> None:
        """Put a legend above all panels."""
        columns = min(len(handles), per_row)
        self.figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.54, 1.0), ncols=columns)
