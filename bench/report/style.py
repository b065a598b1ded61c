"""The style of all figures: one column wide, distinguishable without colour, readable on light and dark backgrounds."""

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg", force=False)
import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.analysis.conditions import RULES, Condition
from bench.analysis.measures import Measure
from bench.analysis.plain_text import plain
from bench.analysis.study import Study

COLUMN, PAGE = 3.4, 7.0
"""Widths of one column and of a page, inches."""
FORMATS: tuple[str, ...] = ("png", "svg", "pdf")
MARKERS = "osD^vPXh*<>"
DASHES: list[tuple] = [(), (5, 1.5), (1.2, 1.2), (6, 1.5, 1.2, 1.5), (3, 1), (8, 2, 2, 2)]
FLOOR = "#7a7a7a"
INK = "#222222"
SOFT, GRID = "#444444", "#e6e6e6"
ON_PALE, ON_DARK = "#1a1a1a", "#fefefe"
"""Text colours on coloured cells, which stay the same on a dark page."""
RATIOS = LinearSegmentedColormap.from_list("ratios", ["#239ad3", "#7f86e0", "#b05fc4", "#d0427e", "#cf3a30"])
"""Blue to red by the ratio. All its colours have a contrast of 3 or more on white and the page's dark background."""
OTHERS = ("#3a9d4a", "#a8861b", "#c0703a", "#1f9a94", "#7d8f2a", "#9a7b5f")
"""Colours of conditions that have no ratio or share it with another condition."""
LONG_NAME, MOST_OF_A_NAME = 44, 64
"""Characters of a condition's name in figures. If a name is longer than the first number, all names omit the options
that they share; names are cut at the second number."""
PER_INCH = 15
"""Characters of a figure's labels that fit into an inch."""

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
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType, because publishers refuse Type 3
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may contain a dollar sign
    "svg.hashsalt": "bench",
    "figure.dpi": 100,
    "savefig.dpi": 300,
}


@contextmanager
def styled() -> Iterator[None]:
    """Apply the settings that all figures share."""
    with matplotlib.rc_context(SETTINGS):
        yield


def colours(study: Study) -> dict[Condition, tuple]:
    """Return one colour per condition.

    A ratio has the same colour in every study, alone or beside other policies. The ramp follows the square root of the
    ratio, so that small ratios, at which collapse sets in, are easier to distinguish. Conditions without a ratio have
    separate colours, and so do those that add a rule to the ratio of another. Markers and dashes distinguish the rest.
    """
    ratios = [c.ratio for c in study.conditions]
    others = [c for c in study.conditions if c.ratio is None or (ratios.count(c.ratio) > 1 and not c.is_plain)]
    return {
        c: to_rgba(OTHERS[others.index(c) % len(OTHERS)])
        if c.ratio is None or c in others
        else RATIOS(min(1.0, max(0.0, c.ratio)) ** 0.5)
        for c in study.conditions
    }


def names(study: Study) -> dict[Condition, str]:
    """Return the short, unique names of the conditions in figures.

    They are the labels without the module of a function and, if some are long, without the options that all conditions
    with a rule share.
    """
    labels = [c.label for c in study.conditions]
    short = [re.sub(r"[^\s:]+:(?=\w)", "", label) for label in labels]
    if len(set(short)) < len(short):
        short = labels
    if max(map(len, short), default=0) > LONG_NAME:
        short = _without_common_options(short)
    return {c: plain(name, MOST_OF_A_NAME) for c, name in zip(study.conditions, short, strict=True)}


def _without_common_options(labels: list[str]) -> list[str]:
    """Return labels such as `… + vetting detector (FPR 0.05, refit True)` without the options that all labels with that
    rule share, or the labels unchanged if two of them would become equal."""
    rules: dict[str, list[set[str]]] = {}
    pattern = rf" \+ ((?:{'|'.join(RULES)}) [^ ()]+)(?: \(([^()]*)\))?"
    for label in labels:
        for rule, options in re.findall(pattern, label):
            rules.setdefault(rule, []).append(set(options.split(", ")))
    common = {rule: set.intersection(*found) for rule, found in rules.items()}

    def shown(match: re.Match[str]) -> str:
        left = [option for option in (match[2] or "").split(", ") if option not in common[match[1]] and option]
        return f" + {match[1]}" + (f" ({', '.join(left)})" if left else "")

    shorter = [re.sub(pattern, shown, label) for label in labels]
    return shorter if len(set(shorter)) == len(set(labels)) else labels


def panel_title(study: Study, condition: Condition, inches: float) -> str:
    """Return the title of a condition's own panel, in lines of at most `inches`."""
    return wrapped(f"ratio {names(study)[condition]}" if study.by_ratio else names(study)[condition], inches)


def wrapped(text: str, inches: float) -> str:
    """Return text in lines of at most `inches`, broken at spaces and within the name of a function, not in a number."""
    most = max(8, int(inches * PER_INCH))
    lines, ends, within = [""], r"(?:[\s_:/]|\.(?!\d))", r"(?:[^\s_.:/]|\.(?=\d))"
    for piece in re.findall(rf"{within}{{0,{most - 1}}}{ends}|{within}{{1,{most}}}", text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > most:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def line_style(study: Study, condition: Condition) -> dict[str, Any]:
    """Return the colour, marker and dashes of a condition, as keywords for `Axes.plot`."""
    i = study.conditions.index(condition)
    return {
        "color": colours(study)[condition],
        "marker": MARKERS[i % len(MARKERS)],
        "dashes": DASHES[i % len(DASHES)],
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
        "label": wrapped(names(study)[condition], 2.2),
        "clip_on": False,  # so that a marker at the edge of its panel is drawn completely
    }


def condition_id(study: Study, condition: Condition, part: str) -> str:
    """Return the SVG id of a part of a figure that belongs to one condition. The page shows and hides parts by it."""
    return f"condition-{study.conditions.index(condition)}-{part}"


def legend(figure: Figure, study: Study, entries: tuple[list, list[str]], per_row: int = 3) -> None:
    """Draw a legend above the figure, row by row, with the axis name as its title if the labels are ratios.

    Args:
        figure: The figure to draw on.
        study: The study whose conditions the labels name.
        entries: Handles and labels.
        per_row: The largest number of entries in a row.
    """
    handles, labels = entries
    columns = min(len(labels), per_row if study.by_ratio else max(2, per_row // 2))
    order = [i for column in range(columns) for i in range(column, len(labels), columns)]  # Matplotlib fills columns
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        title=study.axis if study.by_ratio else None,
        title_fontsize=7,
        loc="lower center",
        bbox_to_anchor=(0.54, 1.0),
        ncols=columns,
        handlelength=2.6,
        columnspacing=1.2,
    )


def band_of_seeds() -> Patch:
    """Return the legend entry for the bands of curves, which show the ± of the tables."""
    return Patch(facecolor=FLOOR, alpha=0.3, linewidth=0, label="95 % interval over seeds")


def note(figure: Figure, measures: Sequence[Measure], marks: str = "") -> None:
    """Write below the figure what its scores depend on (feature space, reference, N, k), and what its marks mean.

    Args:
        figure: The figure to write on.
        measures: The scores that are shown, of one feature space, reference and N.
        marks: One line per kind of mark.
    """
    first = measures[0]
    facts = [] if first.attribute is None else [f"classes by {first.attribute}"]
    facts += [first.feature_space, f"against {first.reference}", replace(first, parameters="{}").sizes]
    given: dict[str, dict[str, None]] = {}
    for measure in measures:
        for name, value in json.loads(measure.parameters).items():
            if name != "attribute" and isinstance(value, int | float):
                given.setdefault(name, {})[f"{value:g}"] = None
    shown = sorted(given.items(), key=lambda item: item[0] != "k")
    facts += [f"{name.replace('_', ' ')} = {', '.join(values)}" for name, values in shown]
    caption(figure, " · ".join(facts), marks)


def caption(figure: Figure, facts: str, marks: str = "") -> None:
    """Write text below the figure, broken at its width."""
    width = max(40, int(figure.get_figwidth() * 23))
    lines = [line for part in (facts, *marks.split("\n")) if part for line in textwrap.wrap(part, width)]
    figure.text(0.99, -0.01, "\n".join(lines), ha="right", va="top", size=6, color=FLOOR)


@contextmanager
def written_as(*kinds: str, dpi: int = SETTINGS["savefig.dpi"]) -> Iterator[None]:
    """Write figures only in these formats, such as `svg`. dpi: Pixels per inch of a PNG file."""
    global FORMATS
    usual, FORMATS = (FORMATS, SETTINGS["savefig.dpi"]), kinds
    SETTINGS["savefig.dpi"] = dpi
    try:
        yield
    finally:
        FORMATS, SETTINGS["savefig.dpi"] = usual


def save(figure: Figure, out: Path, name: str) -> list[Path]:
    """Write a figure in the current `FORMATS`, by default PNG, SVG and PDF, and return the paths.

    The files do not contain the time of writing, so equal ledgers give equal files.
    """
    name = re.sub(r"[^\w.:-]", "_", plain(name, 150))  # it may contain the name of an attribute
    paths = [out / f"{name}.{kind}" for kind in FORMATS]
    for path in paths:
        stamp = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {})
        figure.savefig(path, bbox_inches="tight", pad_inches=0.03, metadata=stamp)
    plt.close(figure)
    return paths
