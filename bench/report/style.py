"""How figures look: one column wide, and distinguishable without colour and in greyscale."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg", force=False)
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bench.analysis.conditions import Condition
from bench.analysis.measures import Measure
from bench.analysis.plain_text import plain
from bench.analysis.study import Study

COLUMN, PAGE = 3.4, 7.0
"""Widths of one column and of a page, inches."""
FORMATS = ("png", "svg", "pdf")
MARKERS = "osD^vPXh*<>"
DASHES: list[tuple] = [(), (5, 1.5), (1.2, 1.2), (6, 1.5, 1.2, 1.5), (3, 1), (8, 2, 2, 2)]
FLOOR = "#7a7a7a"
INK = "#222222"

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
    "text.parse_math": False,  # a name may have a dollar sign
    "svg.hashsalt": "bench",
    "figure.dpi": 100,
    "savefig.dpi": 300,
}


@contextmanager
def styled() -> Iterator[None]:
    """Apply the settings of all figures."""
    with matplotlib.rc_context(SETTINGS):
        yield


def colours(study: Study) -> dict[Condition, tuple]:
    """Return one colour per condition, darker along their order.

    It is viridis without its palest part, so that the order is visible in greyscale and to every eye.
    """
    n = len(study.conditions)
    ramp = matplotlib.colormaps["viridis"]
    return {c: ramp(0.8 - 0.8 * i / max(1, n - 1)) for i, c in enumerate(study.conditions)}


def line_style(study: Study, condition: Condition) -> dict[str, Any]:
    """Return the colour, marker and dashes of a condition, as keywords for `Axes.plot`."""
    i = study.conditions.index(condition)
    return {
        "color": colours(study)[condition],
        "marker": MARKERS[i % len(MARKERS)],
        "dashes": DASHES[i % len(DASHES)],
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
        "label": condition.label,
    }


def condition_id(study: Study, condition: Condition, part: str) -> str:
    """Return the SVG id of a part of a figure that belongs to one condition. The page shows and hides parts by it."""
    return f"condition-{study.conditions.index(condition)}-{part}"


def legend(figure: Figure, study: Study, entries: tuple[list, list[str]], per_row: int = 4) -> None:
    """Draw a legend above the figure, with the word that all labels belong to.

    Args:
        figure: where to draw.
        study: the study whose conditions the labels name.
        entries: handles and labels.
        per_row: how many entries a row has at most.
    """
    handles, labels = entries
    figure.legend(
        handles,
        labels,
        title=study.axis if study.by_ratio else None,
        title_fontsize=7,
        loc="lower center",
        bbox_to_anchor=(0.54, 1.0),
        ncols=min(len(labels), per_row if study.by_ratio else max(2, per_row // 2)),
        handlelength=2.6,
        columnspacing=1.2,
    )


def note(figure: Figure, measure: Measure, marks: str = "") -> None:
    """Write below the figure what its scores depend on, and what its marks mean."""
    text = "" if measure.attribute is None else f"classes by {measure.attribute} · "
    text += f"{measure.feature_space} · against {measure.reference} · N = {measure.num_subject}"
    text += f"\n{marks}" if marks else ""
    figure.text(0.99, -0.01, text, ha="right", va="top", size=6, color=FLOOR)


def save(figure: Figure, out: Path, name: str) -> list[Path]:
    """Write a figure as PNG, SVG and PDF and return the paths.

    The files do not contain the time of writing, so equal ledgers give equal files.
    """
    name = re.sub(r"[^\w.:-]", "_", plain(name, 150))  # it may have the name of an attribute
    paths = [out / f"{name}.{kind}" for kind in FORMATS]
    for path in paths:
        stamp = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {})
        figure.savefig(path, bbox_inches="tight", pad_inches=0.03, metadata=stamp)
    plt.close(figure)
    return paths
