"""The sample strip: the same noise seeds through the generations, one row per condition."""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bench.analysis.artifacts import load_probes, picture
from bench.analysis.study import Study
from bench.contact_sheet import enlarge, grid
from bench.errors import DataError
from bench.kinds import IMAGES, kind_of
from bench.report.style import PAGE, SOFT, caption, names, save, styled, wrapped

MOST, FEWER = 10, 8
"""Up to so many generations are all shown; of more, so many."""


def strip(study: Study, out: Path, name: str) -> tuple[list[Path], list[str]]:
    """Draw the first probes of every generation; no file is written where there are none at all.

    Every cell shows the first probes of the condition's longest chain (16 of them, or fewer where there are many
    generations). The noise is the same along a row and, where the conditions share that seed, down a column.

    Returns:
        The paths, and which probes are missing.
    """
    shown = shown_generations(study.generations)
    num_columns = len(shown)
    per_row = 4 if num_columns <= 4 else 3 if num_columns <= 6 else 2
    cells: dict[tuple[int, int], np.ndarray] = {}
    missing: list[str] = []
    for i, condition in enumerate(study.conditions):
        chain = study.longest(condition)
        for row in (row for row in chain.rows if row.generation in shown):
            try:
                probes = load_probes(chain, row)
            except DataError as error:
                missing.append(f"samples of {chain.id}, generation {row.generation}: {error}")
                continue
            if probes is None:
                missing.append(f"samples of {chain.id}, generation {row.generation}, are not in its store")
            else:
                kind = kind_of(probes)
                drawn = _block(probes, per_row) if kind is IMAGES else np.asarray(picture(probes, row, chain.directory))
                cells[i, shown.index(row.generation)] = drawn
    return (_figure(study, shown, cells, out, name) if cells else []), missing


def shown_generations(generations: list[int]) -> list[int]:
    """Return all generations where they fit the width of a page, else the first, the last and some between them at
    equal steps."""
    if len(generations) <= MOST:
        return generations
    return [generations[i] for i in np.linspace(0, len(generations) - 1, FEWER).round().astype(int)]


def _figure(
    study: Study, shown: list[int], cells: dict[tuple[int, int], np.ndarray], out: Path, name: str
) -> list[Path]:
    """Draw the cells.

    Args:
        study: where labels come from.
        shown: the generations.
        cells: (condition, generation), both as positions -> uint8 (H, W, 3).
        out: the directory to write to.
        name: name of the files, without suffix.
    """
    num_rows, num_columns = len(study.conditions), len(shown)
    side = min(1.9, (PAGE - 1.0) / num_columns)
    with styled():
        figure, axes = plt.subplots(
            num_rows, num_columns, figsize=(side * num_columns + 0.6, side * num_rows + 0.35), squeeze=False
        )
        figure.subplots_adjust(left=0.02, right=1, bottom=0, top=1, wspace=0.05, hspace=0.05)
        for (i, j), axis in np.ndenumerate(axes):
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
            if (i, j) in cells:
                axis.imshow(cells[i, j], interpolation="nearest")
            else:
                axis.set_facecolor("#f2f2f2")
                axis.set_box_aspect(1)
            if i == 0:
                axis.set_title(f"generation {shown[j]}" if num_columns <= 6 else f"gen. {shown[j]}", pad=4)
            if j == 0:
                words = wrapped(names(study)[study.conditions[i]], 1.1)
                axis.set_ylabel(words, rotation=0, ha="right", va="center", labelpad=6)
        if study.by_ratio:
            axes[0, 0].annotate(
                "synthetic\nratio",
                (0, 1),
                xytext=(-6, 4),
                xycoords="axes fraction",
                textcoords="offset points",
                ha="right",
                va="bottom",
                size=7,
                color=SOFT,
            )
        chains = [study.longest(condition) for condition in study.conditions]
        seeds = ", ".join(dict.fromkeys(str(chain.rows[0].seed) for chain in chains))
        several = "s" if "," in seeds else ""
        caption(figure, f"seed{several} {seeds} · the same noise in every generation, not chosen by hand")
        return save(figure, out, name)


def _block(probes: np.ndarray, per_row: int) -> np.ndarray:
    """Return probes as one picture, uint8 (H, W, 3).

    Up to per_row² images form a grid, enlarged by whole pixels with white lines between.
    """
    per_row = min(per_row, math.ceil(math.sqrt(len(probes))))
    large = enlarge(probes[: per_row**2], min_side=128)
    return np.asarray(grid(large, min_side=1, num_columns=per_row, gap=large.shape[-1] // 32))
