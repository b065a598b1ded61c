"""The statement on vetting: contamination of training sets before and after it, and the detector's errors."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.analysis.conditions import Condition
from bench.analysis.study import Study
from bench.ledger import Row
from bench.report.statements import Statement

COLUMNS = ("true_positive_rate", "false_positive_rate", "auroc", "seconds")
LEGEND = (
    "Synthetic share of what the policy drew, and of what was trained on; the share of the samples that was dropped "
    "(TPR) and of the real items (FPR); the area under the ROC curve of the rule's scores; and the time that the "
    "decision took. Means over seeds. “–”: there was nothing of that side, or the rule has no scores."
)


def vetting(study: Study) -> Iterator[Statement]:
    """Yield one statement if chains of the study have a vetting rule, with one row per condition and generation."""
    found = [(c, g, rows) for c in study.conditions for g, rows in vetted(study, c).items()]
    if found:
        yield Statement(
            title="Vetting",
            about="what was dropped of the training sets, truth against verdict",
            head=["condition", "generation", "drawn", "trained on", "TPR", "FPR", "AUROC", "seconds"],
            rows=[
                [c.label, str(g), *(_words(name, value) for name, value in _means(rows).items())]
                for c, g, rows in found
            ],
            legend=[LEGEND],
            records=[
                {"statement": "vetting", "condition": c.label, "generation": g, "quantity": name, "value": value}
                for c, g, rows in found
                for name, value in _means(rows).items()
            ],
        )


def vetted(study: Study, condition: Condition) -> dict[int, list[Row]]:
    """Return generation -> the vetted rows of all seeds, without a generation 0 that trains only on real items."""
    found: dict[int, list[Row]] = {}
    for chain in study.chains[condition].values():
        for row in chain.rows:
            if row.vetting and (row.generation > 0 or row.joined):
                found.setdefault(row.generation, []).append(row)
    return dict(sorted(found.items()))


def _means(rows: list[Row]) -> dict[str, float | None]:
    """Return the means over rows of ratio drawn, ratio trained on, TPR, FPR, AUROC, seconds; None if no row has it."""
    values: dict[str, list[Any]] = {
        "synthetic_ratio": [row.composition["synthetic_ratio"] for row in rows],
        "effective_ratio": [row.vetting["effective_ratio"] for row in rows],
        **{name: [row.vetting.get(name) for row in rows] for name in COLUMNS},
    }
    known = {name: [value for value in column if value is not None] for name, column in values.items()}
    return {name: float(np.mean(column)) if column else None for name, column in known.items()}


def _words(name: str, value: float | None) -> str:
    return "–" if value is None else f"{value:.{1 if name == 'seconds' else 3}f}"
