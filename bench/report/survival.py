"""The figure of class survival: which classes are still generated, the rarest at the bottom."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bench.analysis.class_shares import Shares, class_shares
from bench.analysis.conditions import Condition
from bench.analysis.plain_text import plain
from bench.analysis.study import Study
from bench.report.style import PAGE, save, styled

MOST_CLASSES = 40


def survival(study: Study, out: Path, name: str) -> list[Path]:
    """Draw one figure per labelled attribute, with one panel per condition.

    A cell is dark where a class is generated as often as it occurs among real images, and pale where it has died out.
    If there are very many classes, only the most common and the rarest are shown.
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
        study: where generations come from.
        shares: condition -> shares of its classes.
        attribute: name of the attribute, "" where it has none.
        out: the directory to write to.
        name: name of the files, without suffix.
    """
    names = next(iter(shares.values())).classes
    rows = np.arange(len(names))
    if len(names) > MOST_CLASSES:
        rows = np.r_[: MOST_CLASSES // 2, len(names) - MOST_CLASSES // 2 : len(names)]
    with styled():
        height = 0.75 + 0.16 * len(rows)
        figure, axes = plt.subplots(1, len(shares), figsize=(PAGE, height), squeeze=False, sharey=True)
        for axis, (condition, part) in zip(axes[0], shares.items(), strict=True):
            image = axis.imshow(np.clip(part.table[rows], 0, 1.5), cmap="YlGnBu", vmin=0, vmax=1.5, aspect="auto")
            axis.grid(False)
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0)
            axis.set_xticks(range(len(study.generations)), [str(g) for g in study.generations])
            axis.set_title(condition.label, pad=4)
            axis.set_xlabel("generation")
        axes[0, 0].set_yticks(range(len(rows)), [plain(names[i], 40) for i in rows], fontsize=6.5)
        axes[0, 0].set_ylabel(f"{attribute or 'class'}, rarest at the bottom")
        bar = figure.colorbar(image, ax=axes[0].tolist(), pad=0.015, aspect=22, ticks=[0, 0.5, 1, 1.5])
        bar.ax.set_yticklabels(["0", "½", "1", "≥ 1½"])
        bar.set_label("images found / expected")
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        return save(figure, out, name)
