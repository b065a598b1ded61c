"""How figures look: one column wide, told apart without colour and in grey."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg", force=False)
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bench.analysis.study import Condition, Study

COLUMN, PAGE = 3.4, 7.0
"""Widths of one column and of a page, inches."""
FORMATS = ("png", "svg", "pdf")
MARKERS = "osD^vPXh*<>"
DASHES: list[tuple] = [(), (5, 1.5), (1.2, 1.2), (6, 1.5, 1.2, 1.5), (3, 1), (8, 2, 2, 2)]
FLOOR = "#7a7a7a"

SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "figure.dpi": 100,
    "savefig.dpi": 300,
}


@contextmanager
def styled() -> Iterator[None]:
    with matplotlib.rc_context(SETTINGS):
        yield


def colours(study: Study) -> dict[Condition, tuple]:
    """One colour per condition, the darker the further on in their order: viridis without its palest part, so that the
    order is seen in grey and by every eye."""
    n = len(study.conditions)
    ramp = matplotlib.colormaps["viridis"]
    return {c: ramp(0.8 - 0.8 * i / max(1, n - 1)) for i, c in enumerate(study.conditions)}


def save(figure: Figure, out: Path, name: str) -> list[Path]:
    """As PNG, SVG and PDF, without the time of writing: equal ledgers give equal files."""
    paths = [out / f"{name}.{kind}" for kind in FORMATS]
    for path in paths:
        stamp = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {})
        figure.savefig(path, bbox_inches="tight", pad_inches=0.03, metadata=stamp)
    plt.close(figure)
    return paths
