"""Figures of vetting rules by generation: the detector's errors, and contamination before and after vetting."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.analysis.conditions import Condition
from bench.analysis.oracle_map import ORACLE
from bench.analysis.study import Study
from bench.ledger import Row
from bench.report.panels import Panels
from bench.report.style import FLOOR, caption, save, styled
from bench.report.vetting_statement import vetted

Value = Callable[[Row], float | None]
LINES: dict[str, tuple[str, str, tuple, Value]] = {
    "TPR": ("#1b6ca8", "o", (), lambda row: row.vetting["true_positive_rate"]),
    "FPR": ("#c8501e", "s", (1.2, 1.2), lambda row: row.vetting["false_positive_rate"]),
    "AUROC": ("#3a9d4a", "^", (5, 1.5), lambda row: row.vetting["auroc"]),
}
"""Name of a line -> its colour, marker, dashes, and the function that returns its value in a row."""
SHARES: dict[str, tuple[str, str, tuple, Value]] = {
    "drawn by the mixing policy": ("#a8861b", "o", (), lambda row: row.composition["synthetic_ratio"]),
    "trained on, after vetting": ("#7f3f98", "s", (5, 1.5), lambda row: row.vetting["effective_ratio"]),
}
MARKS = "lines: means over seeds · bands: lowest to highest seed"


def detector_curves(study: Study, out: Path, name: str) -> list[Path]:
    """Draw TPR, FPR and AUROC against the generation, one panel per condition whose vetting rule has scores."""
    conditions = [c for c in study.conditions if any(row.vetting.get("auroc") is not None for row in _rows(study, c))]
    return _figure(study, conditions, LINES, out, name, down="rate", stated=True)


def contamination(study: Study, out: Path, name: str) -> list[Path]:
    """Draw the synthetic share before and after vetting against the generation, one panel per condition with a vetting
    rule. Oracles are left out, because their map shows the share after vetting."""
    conditions = [c for c in study.conditions if any(row.vetting.get("rule") != ORACLE for row in _rows(study, c))]
    return _figure(study, conditions, SHARES, out, name, down="synthetic share", stated=False)


def _rows(study: Study, condition: Condition) -> list[Row]:
    """Return the rows of all seeds and generations that the table of vetting covers."""
    return [row for rows in vetted(study, condition).values() for row in rows]


def _figure(
    study: Study,
    conditions: list[Condition],
    lines: dict[str, tuple[str, str, tuple, Value]],
    out: Path,
    name: str,
    down: str,
    stated: bool,
) -> list[Path]:
    """Draw lines in one panel per condition; nothing is drawn without conditions.

    Args:
        study: The study to draw.
        conditions: The conditions to draw.
        lines: The lines of a panel, such as `LINES`.
        out: The directory to write to.
        name: The name of the files, without suffix.
        down: The label of the vertical axis.
        stated: Whether to draw the false-positive rate that the rule was configured with.
    """
    if not conditions:
        return []
    with styled():
        panels = Panels(study, conditions, height=1.35)
        handles: list[Artist] = [
            Line2D([], [], color=colour, marker=marker, dashes=dashes, label=label)
            for label, (colour, marker, dashes, _) in lines.items()
        ]
        for axis, condition in panels:
            rows = _rows(study, condition)
            for colour, marker, dashes, value in lines.values():
                found: dict[int, list[float]] = {}
                for row in rows:
                    if (seen := value(row)) is not None:
                        found.setdefault(row.generation, []).append(seen)
                points = sorted(found.items())
                x = [generation for generation, _ in points]
                means = [sum(values) / len(values) for _, values in points]
                axis.plot(x, means, color=colour, marker=marker, dashes=dashes, markersize=3, clip_on=False, zorder=3)
                low, high = ([end(values) for _, values in points] for end in (min, max))
                axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0, zorder=2)
            asked = rows[0].config["vetting"].get("false_positive_rate") if stated else None
            if asked is not None:
                axis.axhline(asked, color=FLOOR, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
            axis.set_ylim(-0.03, 1.03)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels.finish("generation", down)
        if stated:
            handles.append(Line2D([], [], color=FLOOR, linewidth=0.9, linestyle=(0, (4, 3)), label="FPR asked for"))
        panels.legend(handles, len(handles))
        several = any(len(study.chains[condition]) > 1 for condition in conditions)
        caption(panels.figure, MARKS if several else "one seed")
        return save(panels.figure, out, name)
