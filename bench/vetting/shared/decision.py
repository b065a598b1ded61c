"""The decision of a vetting rule on a composition, and its comparison with the truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.composition import Composition
from bench.detection import auroc
from bench.pool import REAL, Pool


@dataclass(frozen=True, eq=False)
class Decision:
    """Which of N items are kept.

    Attributes:
        kept: bool (N,).
        scores: float (N,), higher for items that look more synthetic; None if the rule computes no scores.
        threshold: The score above which items were dropped; None if the rule has none.
    """

    kept: np.ndarray
    scores: np.ndarray | None = None
    threshold: float | None = None

    @staticmethod
    def at(scores: np.ndarray, threshold: float) -> "Decision":
        """Return the decision that drops the items whose score is above the threshold. scores: float (N,)."""
        return Decision(scores <= threshold, scores, float(threshold))

    def mistake(self, num_items: int) -> str | None:
        """Return as text why this is not a valid decision on `num_items` items, for messages; None if it is valid."""
        for name, values, kind in (("", self.kept, np.bool_), ("scores ", self.scores, np.floating)):
            if values is None:
                continue
            if not np.issubdtype(values.dtype, kind) or values.shape != (num_items,):
                return f"{name}{values.dtype} {values.shape}, expected {name}{kind.__name__.rstrip('_')} ({num_items},)"
        if self.scores is not None and not np.isfinite(self.scores).all():
            return "scores with NaN or infinity"
        return None

    def take(self, rows: np.ndarray) -> "Decision":
        """Return the decision on the items at `rows`, int64 (n,)."""
        return Decision(self.kept[rows], None if self.scores is None else self.scores[rows], self.threshold)


def facts(drawn: Composition, decision: Decision, trained_on: Composition, pools: dict[str, Pool]) -> dict[str, Any]:
    """Return the ledger's `vetting` entry for a decision, which compares it with the true origin of the items. pools:
    The pools of both compositions, by id.

    true_positive_rate: The share of the samples that was dropped; None if there are none.
    false_positive_rate: The share of the real items that was dropped; None if there are none.
    effective_ratio: The synthetic share of the composition that is trained on.
    auroc: The area under the ROC curve of the scores, real items against samples; None without scores, or if there are
        no samples or no real items.
    per_generation: Generation of birth -> the number of items and of dropped items. −1 is real; −2 is a sample of an
        earlier chain that is treated as real.
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
