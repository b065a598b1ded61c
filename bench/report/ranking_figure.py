"""The figure of ranked remedies: differences of all arms to their baseline, with intervals, one panel per quantity."""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from bench.analysis.conditions import RULES, short_name
from bench.analysis.plain_text import plain
from bench.analysis.ranking import HIGHER_IS_BETTER, Arm, Ranking, rankings
from bench.analysis.study import Study
from bench.flatten import flatten
from bench.report.style import FLOOR, MOST_OF_A_NAME, PAGE, caption, save, styled, wrapped

LOOKS = {True: ("#1b6ca8", "o", "better"), False: ("#c8501e", "X", "worse"), None: (FLOOR, "d", "not established")}
"""Whether a difference is for the better -> its colour, marker and word."""
LABEL = 2.0
"""Width of the arms' names, inches."""


def figure_name(number: int) -> str:
    """Return the name of the figure of the ranking with this number, counted from 0."""
    return "ranking" + (f"_{number + 1}" if number else "")


def draw_rankings(study: Study, out: Path, prefix: str = "") -> list[Path]:
    """Draw one figure for each baseline; none if no arm of the study has a rule. prefix: The beginning of the files'
    names."""
    return [
        path
        for number, found in enumerate(rankings(study))
        if found.quantities
        for path in _figure(found, out, f"{prefix}{figure_name(number)}")
    ]


def arm_names(found: Ranking) -> list[str]:
    """Return the names of the arms relative to their baseline.

    A name consists of the rules that the arm adds, with the options in which arms of equal rules differ. An arm without
    rules keeps its label.
    """
    rules = [{r: o for r, o in json.loads(arm.condition.parameters).items() if r in RULES} for arm in found.arms]
    short = [" + ".join(f"{rule} {o.get('function', o['name'])}" for rule, o in own.items()) for own in rules]
    names = []
    for arm, own, name in zip(found.arms, rules, short, strict=True):
        alike = [flatten(others) for others, other in zip(rules, short, strict=True) if other == name]
        options = {key: value for key, value in flatten(own).items() if any(o.get(key) != value for o in alike)}
        shown = ", ".join(f"{short_name(key.rpartition('.')[2])} {value}" for key, value in options.items())
        names.append(plain(f"{name} ({shown})" if shown else name or with_unit(arm.condition.label), MOST_OF_A_NAME))
    return names


def with_unit(label: str) -> str:
    """Return `ratio 0.90` for `0.90`."""
    return re.sub(r"^(?=\d)", "ratio ", label)


def _figure(found: Ranking, out: Path, name: str) -> list[Path]:
    labels = [wrapped(name, LABEL) for name in arm_names(found)]
    height = sum(0.17 + 0.11 * label.count("\n") for label in labels)
    with styled():
        figure, axes = plt.subplots(
            1,
            len(found.quantities),
            figsize=(PAGE, height + 0.7),
            squeeze=False,
            sharey=True,
            layout=ConstrainedLayoutEngine(wspace=0.06),
        )
        for axis, quantity in zip(axes[0], found.quantities, strict=True):
            _panel(axis, found.arms, quantity)
            arrow = "↑" if quantity in HIGHER_IS_BETTER else "↓"
            axis.set_title(f"{quantity} {arrow}", pad=4)
        axes[0, 0].set_yticks(range(len(labels)), labels)
        axes[0, 0].set_ylim(len(labels) - 0.5, -0.5)
        handles = [
            Line2D([], [], color=colour, marker=marker, linewidth=1.2, label=word)
            for colour, marker, word in LOOKS.values()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        seeds = sorted({len(d.seeds) for arm in found.arms for d in arm.differences.values()})
        facts = f"differences to {with_unit(found.baseline.label)} in pairs of {' or '.join(map(str, seeds))} seeds"
        marks = "bars: 95 % intervals of the mean · best mean rank first; an order within the intervals is noise"
        caption(figure, facts, marks)
        return save(figure, out, name)


def _panel(axis: Axes, arms: list[Arm], quantity: str) -> None:
    """Draw one quantity of all arms, from top to bottom."""
    axis.axvline(0, color=FLOOR, linewidth=0.9, zorder=1)
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    for place, arm in enumerate(arms):
        shown = arm.differences[quantity].difference
        colour, marker, _ = LOOKS[arm.is_better(quantity)]
        if shown.low is not None and shown.high is not None:
            axis.plot([shown.low, shown.high], [place, place], color=colour, linewidth=1.2, zorder=2)
        axis.plot([shown.mean], [place], color=colour, marker=marker, markersize=4, linestyle="none", zorder=3)
