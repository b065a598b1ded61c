"""What was measured, as text for people and JSON for programs."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from bench.perf.pairs import Comparison, Spread

HEAD = ("what", "beside", "ours", "theirs", "per", "ratio min–median–max", "target", "")


def lines(comparisons: Iterable[Comparison]) -> list[str]:
    """A Markdown table, one line a row. Times are medians; the ratio is taken pair by pair."""
    cells = [HEAD, tuple("---" for _ in HEAD)]
    for row in comparisons:
        verdict = {None: "", True: "reached", False: "MISSED"}[row.reached]
        verdict = f"{verdict}: {row.flaw}" if row.flaw else verdict
        target = "" if row.target is None else f"≥ {row.target:g}"
        ours, theirs = (_seconds(Spread.of(seconds).median) for seconds in (row.ours, row.theirs))
        cells.append((row.row, row.peer, ours, theirs, row.unit, f"{row.ratio}", target, verdict))
    return ["| " + " | ".join(line) + " |" for line in cells]


def as_json(row: Comparison) -> dict[str, Any]:
    """Everything of a row, for `json.dumps` with `allow_nan=False`."""
    return {**asdict(row), "ratio": asdict(row.ratio), "reached": row.reached}


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 0.1 else f"{1e3 * value:.3g} ms" if value >= 1e-4 else f"{1e6 * value:.3g} µs"
