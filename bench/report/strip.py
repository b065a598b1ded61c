"""The sample strip: samples of the same noise seeds in every generation, one row per condition."""

import math
import textwrap
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from bench.analysis.artifacts import load_probes
from bench.analysis.plain_text import visible
from bench.analysis.shown import picture, plane_of, some_of, texts_of
from bench.analysis.study import Study
from bench.contact_sheet import enlarge, grid
from bench.errors import DataError
from bench.kinds import IMAGES, POINTS, TOKENS, kind_of
from bench.report.style import INK, PAGE, SOFT, caption, names, save, styled, wrapped
from bench.scatter import words

MOST, FEWER = 10, 8
"""Number of generations that fit the width of a page, and number of those shown, about, if there are more."""
MOST_TEXTS = 4
"""Number of generations whose text is shown."""
TEXT_SIZE, TEXT_PER_INCH, TEXT_LINES = 5.5, 24, 11
"""Size of texts in points, number of their characters that fit into an inch, and number of lines shown of one text."""


def strip(study: Study, out: Path, name: str) -> tuple[list[Path], list[str]]:
    """Draw the first probes of every generation; no file is written if there are none at all.

    Every cell shows the first probes of the condition's longest chain: up to 16 images, or fewer if there are many
    generations, all points, or the first text. The noise is the same along a row and, if the conditions share that
    seed, down a column.

    Returns:
        The paths, and one line for each set of probes that is missing.
    """
    most = (MOST_TEXTS, MOST_TEXTS) if study.kind is TOKENS else (MOST, FEWER)
    shown = some_of(study.generations, *most)
    num_columns = len(shown)
    per_row = 4 if num_columns <= 4 else 3 if num_columns <= 6 else 2
    cells: dict[tuple[int, int], Any] = {}
    facts = ""
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
                continue
            place, kind = (i, shown.index(row.generation)), kind_of(probes)
            if kind is IMAGES:
                cells[place] = _block(probes, per_row)
            elif kind is POINTS:
                cells[place] = np.asarray(picture(probes, row, chain.directory))
                facts = words(plane_of(probes, row, chain.directory), probes.shape[1])
            else:
                cells[place] = _lines(texts_of(probes, row, chain.directory)[0], _width(num_columns))
    return (_figure(study, shown, cells, facts, out, name) if cells else []), missing


def _figure(
    study: Study, shown: list[int], cells: dict[tuple[int, int], Any], facts: str, out: Path, name: str
) -> list[Path]:
    """Draw the cells.

    Args:
        study: The study that labels come from.
        shown: The generations to show.
        cells: (condition, generation), both as positions -> uint8 (H, W, 3), or the lines of a text.
        facts: The text of the caption that applies to all cells.
        out: The directory to write to.
        name: The name of the files, without suffix.
    """
    num_rows, num_columns = len(study.conditions), len(shown)
    side = _width(num_columns)
    texts = [cell.count("\n") + 1 for cell in cells.values() if isinstance(cell, str)]
    height = 0.15 + 0.095 * max(texts) if texts else side
    with styled():
        figure, axes = plt.subplots(
            num_rows, num_columns, figsize=(side * num_columns + 0.6, height * num_rows + 0.35), squeeze=False
        )
        figure.subplots_adjust(left=0.02, right=1, bottom=0, top=1, wspace=0.05, hspace=0.05)
        for (i, j), axis in np.ndenumerate(axes):
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
            cell = cells.get((i, j))
            if isinstance(cell, str):
                axis.text(0.02, 1, cell, size=TEXT_SIZE, color=INK, va="top", transform=axis.transAxes)
            elif cell is not None:
                axis.imshow(cell, interpolation="nearest")
            else:
                axis.set_facecolor("#f2f2f2")
                axis.set_box_aspect(height / side)
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
        of = {
            IMAGES: "the same noise in every generation, not chosen by hand",
            POINTS: "the same noise and axes in every generation",
            TOKENS: "the first text, drawn with the same random numbers in every generation, not chosen by hand",
        }
        caption(figure, f"seed{several} {seeds} · {of[study.kind]}", facts)
        return save(figure, out, name)


def _width(num_columns: int) -> float:
    """Return the width of a cell in inches."""
    return min(1.9, (PAGE - 1.0) / num_columns)


def _lines(text: str, inches: float) -> str:
    """Return the first lines of a text, broken at a width of `inches`."""
    width = int(inches * TEXT_PER_INCH)
    lines = [piece for line in visible(text).splitlines() for piece in textwrap.wrap(line, width) or [""]]
    if len(lines) > TEXT_LINES:
        lines = [*lines[: TEXT_LINES - 1], f"{lines[TEXT_LINES - 1][: width - 2]} …"]
    return "\n".join(lines)


def _block(probes: np.ndarray, per_row: int) -> np.ndarray:
    """Return probes as one picture, uint8 (H, W, 3).

    Up to per_row² images form a grid, enlarged by an integer factor, with white lines between them.
    """
    per_row = min(per_row, math.ceil(math.sqrt(len(probes))))
    large = enlarge(probes[: per_row**2], min_side=128)
    return np.asarray(grid(large, min_side=1, num_columns=per_row, gap=large.shape[-1] // 32))
