"""What a vetting rule decides of a composition, and how that compares with the truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.composition import Composition
from bench.detection import auroc
from bench.pool import REAL, Pool


@dataclass(frozen=True, eq=False)
class Decision:
    """Which of N items are kept. kept: bool (N,). scores: float (N,), higher for what looks more synthetic, and the
    threshold above which they were dropped, from a rule that has them."""

    kept: np.ndarray
    scores: np.ndarray | None = None
    threshold: float | None = None

    @staticmethod
    def at(scores: np.ndarray, threshold: float) -> "Decision":
        """Drop the items whose score, float (N,), is above the threshold."""
        return Decision(scores <= threshold, scores, float(threshold))

    def mistake(self, num_items: int) -> str | None:
        """Return what is wrong with it as a decision of so many items, as messages show it; None where nothing is."""
        for name, values, kind in (("", self.kept, np.bool_), ("scores ", self.scores, np.floating)):
            if values is None:
                continue
            if not np.issubdtype(values.dtype, kind) or values.shape != (num_items,):
                return f"{name}{values.dtype} {values.shape}, expected {name}{kind.__name__.rstrip('_')} ({num_items},)"
        if self.scores is not None and not np.isfinite(self.scores).all():
            return "scores with NaN or infinity"
        return None

    def take(self, rows: np.ndarray) -> "Decision":
        """Return the decision of the items at rows, int64 (n,)."""
        return Decision(self.kept[rows], None if self.scores is None else self.scores[rows], self.threshold)


def facts(drawn: Composition, decision: Decision, trained_on: Composition, pools: dict[str, Pool]) -> dict[str, Any]:
    """Return what the ledger's `vetting` says of a decision, truth against verdict. pools: those of both, by id.

    true_positive_rate is the share of the samples that was dropped, false_positive_rate that of the real items; None
    where there are none. effective_ratio: the synthetic share of what is trained on. per_generation: items by birth
    (−1 is real; −2 is an earlier chain's, taken for real), and how many of them were dropped. auroc: of the scores,
    real items against samples; None without both, or without scores.
    """
    birth, dropped = drawn.births(pools), ~decision.kept
    synthetic = birth != REAL
    num_kept = int(decision.kept.sum())
    return {
        "num_real_dropped": int((dropped & ~synthetic).sum()),
        "num_synthetic_dropped": int((dropped & synthetic).sum()),
        "num_kept": num_kept,
        "num_refilled": len(trained_on) - num_kept,
        "effective_ratio": float((trained_on.births(pools) != REAL).mean()),
        "true_positive_rate": _share(dropped[synthetic]),
        "false_positive_rate": _share(dropped[~synthetic]),
        "auroc": None if decision.scores is None else auroc(decision.scores[~synthetic], decision.scores[synthetic]),
        "threshold": decision.threshold,
        "per_generation": {
            str(g): {"num": int((birth == g).sum()), "num_dropped": int((dropped & (birth == g)).sum())}
            for g in np.unique(birth)
        },
    }


def _share(dropped: np.ndarray) -> float | None:
    return float(dropped.mean()) if len(dropped) else None
