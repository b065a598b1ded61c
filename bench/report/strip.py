"""The picture strip: the same noise seeds down the generations, one row per condition."""

import logging
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bench.analysis.study import Study, probes_path
from bench.contact_sheet import enlarge
from bench.errors import DataError
from bench.ledger import Chain, Row
from bench.report.style import PAGE, save, styled

log = logging.getLogger(__name__)


def load_probes(chain: Chain, row: Row) -> np.ndarray | None:
    """uint8 (P, 3, H, W), or None where the file is gone. Raises `DataError` for a file of another form."""
    path = probes_path(chain, row)
    if path is None:
        return None
    try:
        probes = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable array: {error}") from error
    if probes.dtype != np.uint8 or probes.ndim != 4 or probes.shape[1] != 3:
        raise DataError(f"{path} holds {probes.dtype} {probes.shape}, expected uint8 (P, 3, H, W)")
    return probes


def strip(study: Study, out: Path, name: str) -> tuple[list[Path], list[str]]:
    """Writes PNG, SVG and PDF; returns the paths and what is missing. No picture at all: no file, and that is
    said.

    Every cell shows the first probes of the lowest complete seed of its condition (16 of them, or fewer where there are
    many generations): the same noise along a row and, where the conditions share that seed, down a column.
    """
    num_rows, num_columns = len(study.conditions), len(study.generations)
    per_row = 4 if num_columns <= 4 else 3 if num_columns <= 6 else 2
    cells: dict[tuple[int, int], np.ndarray] = {}
    missing: list[str] = []
    for i, condition in enumerate(study.conditions):
        chain = study.longest(condition)
        for row in chain.rows:
            probes = load_probes(chain, row)
            if probes is None:
                missing.append(f"pictures of {chain.id}, generation {row.generation}, are not in its store")
            else:
                cells[i, study.generations.index(row.generation)] = _block(probes, per_row)
    if not cells:
        return [], missing
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
                axis.set_title(f"generation {study.generations[j]}", pad=4)
            if j == 0:
                axis.set_ylabel(study.conditions[i].label, rotation=0, ha="right", va="center", labelpad=6)
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
                color="#555555",
            )
        return save(figure, out, name), missing


def _block(probes: np.ndarray, per_row: int) -> np.ndarray:
    """uint8 (H, W, 3): up to per_row² probes in a square, with a white line between, whole pixels enlarged."""
    per_row = min(per_row, math.ceil(math.sqrt(len(probes))))
    large = enlarge(probes[: per_row**2], min_side=128)
    side = large.shape[-1]
    gap = side // 32
    canvas = np.full((per_row * (side + gap) - gap, per_row * (side + gap) - gap, 3), 255, np.uint8)
    for k, picture in enumerate(large):
        top, left = (k // per_row) * (side + gap), (k % per_row) * (side + gap)
        canvas[top : top + side, left : left + side] = picture.transpose(1, 2, 0)
    return canvas
