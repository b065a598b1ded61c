"""The figure of class survival: which classes are still generated, the rarest at the bottom."""

import math
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from bench.analysis.class_shares import Shares, class_shares, measure_by, refusal
from bench.analysis.conditions import Condition
from bench.analysis.plain_text import plain
from bench.analysis.study import Study
from bench.report.style import PAGE, note, panel_title, save, styled

MOST_CLASSES = 40
MOST_COLUMNS, MOST_TICKS = 4, 10
MISSING = "#a9aeb3"


def survival(study: Study, out: Path, name: str) -> list[Path]:
    """Draw one figure per labelled attribute, with one panel per condition.

    A cell is dark if a class is generated as often as it occurs among real images, and pale if it has died out. The
    number of images of a class that are expected among N follows its name. If there are more than `MOST_CLASSES`, only
    the most common and the rarest are shown.
    """
    written = []
    shares = class_shares(study)
    for attribute, by_condition in shares.items():
        file = name if len(shares) == 1 else f"{name}_{attribute}"
        written += _figure(study, by_condition, attribute, out, file)
    return written


def _figure(study: Study, shares: dict[Condition, Shares], attribute: str, out: Path, name: str) -> list[Path]:
    """Draw the panels of one attribute.

    Args:
        study: The study to draw.
        shares: Condition -> the shares of its classes.
        attribute: The name of the attribute; "" if it has none.
        out: The directory to write to.
        name: The name of the files, without suffix.
    """
    classes = next(iter(shares.values())).classes
    rows = np.arange(len(classes))
    if len(classes) > MOST_CLASSES:
        rows = np.r_[: MOST_CLASSES // 2, len(classes) - MOST_CLASSES // 2 : len(classes)]
    num_columns = min(MOST_COLUMNS, len(shares))
    num_rows = math.ceil(len(shares) / num_columns)
    with styled():
        panel = 0.55 + 0.16 * len(rows)
        size = (PAGE * max(2, num_columns) / MOST_COLUMNS, 0.3 + panel * num_rows)
        figure, axes = plt.subplots(
            num_rows, num_columns, figsize=size, squeeze=False, sharey=True, layout="constrained"
        )
        shades = matplotlib.colormaps["YlGnBu"].with_extremes(bad=MISSING)
        for axis, (condition, part) in zip(axes.flat, shares.items(), strict=False):
            image = axis.imshow(np.clip(part.table[rows], 0, 1.5), cmap=shades, vmin=0, vmax=1.5, aspect="auto")
            each = range(0, len(study.generations), math.ceil(len(study.generations) / MOST_TICKS))
            axis.set_xticks(each, [str(study.generations[j]) for j in each])
            axis.set_title(panel_title(study, condition, 0.8 * PAGE / MOST_COLUMNS), pad=4)
            axis.set_xlabel("generation")
        for axis in axes.flat:
            axis.grid(False)
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0)
            axis.set_visible(axis.has_data())
        expected = next(iter(shares.values())).expected
        for axis in axes[:, 0]:
            labels = [f"{plain(classes[i], 40)} ({expected[i]:.0f})" for i in rows]
            axis.set_yticks(range(len(rows)), labels, fontsize=6.5)
        bar = figure.colorbar(image, ax=axes, aspect=18, ticks=[0, 0.5, 1, 1.5])
        bar.ax.set_yticklabels(["0", "½", "1", "≥ 1½"])
        bar.set_label(f"{study.kind.items} found /\nexpected", size=7)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        missing = any(np.isnan(part.table).any() for part in shares.values())
        marks = f"{attribute or 'class'} ({study.kind.items} expected among N), rarest at the bottom · pale: dying out"
        marks += " · grey: not run" if missing else ""
        several = any(len(by_seed) > 1 for by_seed in study.chains.values())
        marks += f"\n{'mean over seeds' if several else 'one seed'}"
        if (reason := refusal(study, attribute)) is not None:
            marks += f"\nnot sure: {reason}"
        note(figure, [measure_by(study, attribute)], marks)
        return save(figure, out, name)
