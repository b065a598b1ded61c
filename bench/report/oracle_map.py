"""The oracle's map as a figure and as a table: the verdict at each pair of detector error rates."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from bench.analysis.collapse import BOUNDED, DIVERGING, INCONCLUSIVE, RISING, STABLE
from bench.analysis.oracle_map import Panel, Point, oracle_map
from bench.analysis.study import Study
from bench.report.statements import Statement
from bench.report.style import COLUMN, FLOOR, GRID, ON_DARK, ON_PALE, PAGE, caption, note, save, styled, wrapped

FIGURE = "oracle_map"
COLOURS = {STABLE: "#d3eaf4", BOUNDED: "#8cc3e3", RISING: "#dd7f1f", DIVERGING: "#8f2d04", INCONCLUSIVE: "#e9e9e9"}
"""From light to dark by severity, so that a greyscale print distinguishes them; each cell also contains its word."""
UNJUDGED = "#f7f7f7"
WIDTH, HEIGHT = 0.66, 0.44
"""Size of a cell with words, inches."""
NARROWEST = 0.56
"""Smallest width of a cell with words, inches; narrower cells contain only the first letter of their word."""
GAP = 0.3
"""Space between the map and the condition without vetting to the right of it, in columns."""


def draw_map(study: Study, out: Path, name: str) -> list[Path]:
    """Draw TPR against FPR, one panel per set of conditions that differ only in the error rates of their oracle.

    Nothing is drawn if no condition has an oracle.
    """
    panels = oracle_map(study)
    if not panels:
        return []
    down, across = (sorted({rates[i] for panel in panels for rates in panel.points}) for i in (0, 1))
    num_cells = len(across) + (GAP + 1 if any(panel.unvetted for panel in panels) else 0)
    width = min(WIDTH, (PAGE - 0.8) / num_cells)
    num_columns = min(len(panels), max(1, int((PAGE - 0.3) / (width * num_cells + 0.45))))
    num_rows = -(-len(panels) // num_columns)
    size = (max(COLUMN, 0.3 + num_columns * (width * num_cells + 0.45)), num_rows * (HEIGHT * len(down) + 0.75))
    with styled():
        figure, axes = plt.subplots(num_rows, num_columns, figsize=size, squeeze=False)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis, panel in zip(axes.flat, panels, strict=False):
            _panel(axis, panel, down, across, with_words=width >= NARROWEST)
            axis.set(xlim=(-0.5, num_cells - 0.5), ylim=(-0.5, len(down) - 0.5))
            axis.set_title(wrapped(panel.title, width * num_cells), loc="left", pad=4)
        figure.tight_layout(h_pad=0.8, w_pad=0.8)
        points = [point for panel in panels for point in _every(panel)]
        badges = {point.badge for point in points}
        shown = [word for word in COLOURS if word in badges] + sorted(badges - COLOURS.keys())
        patches = [
            Patch(facecolor=COLOURS.get(word, UNJUDGED), edgecolor=FLOOR, linewidth=0.4, label=word) for word in shown
        ]
        figure.legend(handles=patches, loc="lower center", bbox_to_anchor=(0.54, 1.0), ncols=max(1, int(size[0])))
        marks = "\n".join(_marks(panels, points, with_words=width >= NARROWEST))
        fid = study.primary("fid")
        if fid is None:
            caption(figure, marks)
        else:
            note(figure, [fid], marks)
        return save(figure, out, name)


def _every(panel: Panel) -> list[Point]:
    return [*([panel.unvetted] if panel.unvetted else []), *panel.points.values()]


def _panel(axis: Axes, panel: Panel, down: list[float], across: list[float], with_words: bool) -> None:
    """Draw the cells of a panel. down, across: The TPR of its rows and the FPR of its columns, ascending."""
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    beside = [len(across) + GAP] if panel.unvetted else []
    places = [(x, 0.0) for x in beside]
    places += [(float(across.index(fpr)), float(down.index(tpr))) for tpr, fpr in panel.points]
    for place, point in zip(places, _every(panel), strict=True):
        _cell(axis, point, place, with_words)
    run = set(places)
    for x in range(len(across)):
        for y in range(len(down)):
            if (x, y) not in run:
                box = Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, edgecolor=GRID, linewidth=0.6, linestyle=(0, (3, 2)))
                box.set_fill(False)
                axis.add_patch(box)
    axis.set_xticks([*range(len(across)), *beside], [*(f"{rate:g}" for rate in across), *["no vetting"] * len(beside)])
    axis.set_yticks(range(len(down)), [f"{rate:g}" for rate in down])
    axis.set_xlabel("false-positive rate", loc="left")
    axis.set_ylabel("true-positive rate")


def _cell(axis: Axes, point: Point, place: tuple[float, float], with_words: bool) -> None:
    x, y = place
    colour = COLOURS.get(point.badge, UNJUDGED)
    axis.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, facecolor=colour, edgecolor=FLOOR, linewidth=0.4))
    change = [] if point.change is None else [f"{100 * point.change:+.0f} %"]
    lines = [point.badge, *change, f"r {point.trained_on:.2f}"] if with_words else [point.badge[0].upper()]
    ink = ON_DARK if point.badge == DIVERGING else ON_PALE
    axis.text(x, y, "\n".join(lines), ha="center", va="center", size=6, color=ink, linespacing=1.15)


def _marks(panels: list[Panel], points: list[Point], with_words: bool) -> Iterator[str]:
    """Yield the caption's lines on the marks that the figure has."""
    against = sorted({point.against for point in points if point.against})
    if with_words and against:
        change = f"change of FID in the last generation against {' or '.join(against)}, median over seeds"
        yield f"in each cell: verdict · {change} · r: synthetic share of what is trained on, after vetting"
    elif with_words:
        yield "in each cell: verdict · r: synthetic share of what is trained on, after vetting"
    else:
        yield "in each cell: the first letter of its verdict; the table has the numbers"
    num_pairs = len({tpr for p in panels for tpr, _ in p.points}) * len({fpr for p in panels for _, fpr in p.points})
    if any(len(panel.points) < num_pairs for panel in panels):
        yield "dashed: not run"


def state_map(study: Study) -> Iterator[Statement]:
    """Yield the map as a statement if conditions of the study have an oracle."""
    panels = oracle_map(study)
    if not panels:
        return
    fid = study.primary("fid")
    pairs = [(panel, point) for panel in panels for point in _every(panel)]
    against = sorted({point.against for _, point in pairs if point.against})
    yield Statement(
        title="How good must a detector be?",
        about="vetting by the truth, with given error rates"
        + (f" · {fid.feature_space} · against {fid.reference} · {fid.sizes}" if fid else ""),
        head=["condition", "TPR", "FPR", "drawn", "expected", "trained on", "verdict", "change of FID", "seeds"],
        rows=[_row(panel, point) for panel, point in pairs],
        legend=[
            "Synthetic share of what the policy drew; what vetting leaves of it in expectation, s (1 − TPR) / "
            "[s (1 − TPR) + (1 − s)(1 − FPR)], before refill; and of what was trained on: medians over seeds in the "
            "last generation."
            + (
                f" Change of that generation's FID against {' or '.join(against)}: median over seeds."
                if against
                else ""
            )
        ],
        records=[record for _, point in pairs for record in _records(point)],
        figure=FIGURE,
    )


def _row(panel: Panel, point: Point) -> list[str]:
    rates = ["–", "–"] if point.rates is None else [f"{rate:g}" for rate in point.rates]
    expected = "–" if point.expected is None else f"{point.expected:.3f}"
    change = "–" if point.change is None else f"{100 * point.change:+.0f} %"
    shares = [f"{point.drawn:.3f}", expected, f"{point.trained_on:.3f}"]
    return [panel.title, *rates, *shares, point.badge, change, str(point.num_seeds)]


def _records(point: Point) -> Iterator[dict[str, object]]:
    tpr, fpr = point.rates or (None, None)
    quantities = {
        "true_positive_rate": tpr,
        "false_positive_rate": fpr,
        "synthetic_ratio": point.drawn,
        "expected_ratio": point.expected,
        "effective_ratio": point.trained_on,
        "change_of_fid": point.change,
    }
    for quantity, value in quantities.items():
        yield {
            "statement": "oracle's map",
            "condition": point.condition.label,
            "generation": point.generation,
            "metric": "fid" if quantity == "change_of_fid" else "",
            "quantity": quantity,
            "value": value,
            "num_seeds": point.num_seeds,
            "answer": point.badge,
        }
