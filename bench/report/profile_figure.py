"""The figure of the collapse profile: conditions × the eight meanings of collapse, readable without colour."""

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from bench.analysis.collapse_profile import EXPONENT, MEANINGS, NO, OPEN, UNKNOWN, YES, profile
from bench.analysis.study import Study
from bench.report.style import INK, PAGE, caption, names, save, styled, wrapped

SIGNS = {YES: "●", OPEN: "◐", NO: "○", UNKNOWN: "–"}
ACROSS = 112
"""Characters per line that the heads of all columns have together."""
COLOURS = {YES: "#f2c4b5", OPEN: "#ececec", NO: "#cfe5ef", UNKNOWN: "#ffffff"}


def collapse_profile(study: Study, every: list[Study], out: Path, name: str) -> list[Path]:
    """Draw one row per condition and one column per meaning: sign, answer, change for the worse and its interval.

    Nothing is drawn if nothing is known.
    """
    found = profile(study, every)
    if all(finding.answer == UNKNOWN for findings in found.values() for finding in findings):
        return []
    with styled():
        figure, axis = plt.subplots(figsize=(PAGE, 0.95 + 0.46 * len(found)))
        grid(axis, MEANINGS, [wrapped(names(study)[c], 1.2) for c in found])
        for i, findings in enumerate(found.values()):
            for j, finding in enumerate(findings):
                change = finding.change.replace(" a generation", " / gen").removesuffix(f" {EXPONENT}")
                words = f"{SIGNS[finding.answer]} {finding.answer}\n{change}\n{finding.span}"
                answer_cell(axis, i, j, finding.answer, words.strip())
        figure.tight_layout()
        marks = (
            "numbers: change for the worse against ratio 0 or generation 0 with its 95 % interval, second half of the "
            "generations\n● established  ◐ open  ○ ruled out  – not known"
        )
        caption(figure, _based_on(study), marks)
        return save(figure, out, name)


def grid(axis: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    """Set up the axes of a table of cells and label its columns and rows, without drawing the cells."""
    axis.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    heads = [_wrapped(name, ACROSS // len(columns)) for name in columns]
    axis.set_xticks([i + 0.5 for i in range(len(columns))], heads, fontsize=min(6.5, 56 / len(columns)))
    axis.set_yticks([i + 0.5 for i in range(len(rows))], rows)


def answer_cell(axis: Axes, row: int, column: int, answer: str, words: str) -> None:
    """Draw a cell in the colour of an answer, with words in it."""
    cell = Rectangle((column + 0.03, row + 0.06), 0.94, 0.88, facecolor=COLOURS[answer])
    cell.set(edgecolor="#d5d8db", linewidth=0.5, linestyle=":" if answer == UNKNOWN else "-")
    axis.add_patch(cell)
    axis.text(column + 0.5, row + 0.5, words, ha="center", va="center", size=6, color=INK, linespacing=1.3)


def _based_on(study: Study) -> str:
    """Return a description of the scores that the answers are computed from: feature spaces, N and k."""
    measures = [m for m in study.measures() if m.reference == "heldout"]
    spaces = ", ".join(dict.fromkeys(m.feature_space for m in measures))
    sizes = ", ".join(dict.fromkeys(str(m.num_subject) for m in measures))
    ks = dict.fromkeys(str(k) for m in measures if (k := json.loads(m.parameters).get("k")) is not None)
    return f"{spaces} · against heldout · N = {sizes}" + (f" · k = {', '.join(ks)}" if ks else "")


def _wrapped(meaning: str, most: int) -> str:
    """Return a meaning in lines of at most `most` characters, or of one longer word."""
    lines: list[str] = []
    for word in meaning.split():
        if lines and len(lines[-1]) + len(word) < most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
