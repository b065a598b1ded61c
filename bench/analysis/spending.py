"""Spending of a chain, from its ledger: real items, optimiser steps, and network evaluations to draw samples."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.ledger import Row


@dataclass(frozen=True)
class Spending:
    """What a chain spends. Everything counts, whichever chain computed it.

    num_real: the number of real items that are trained on or calibrate a vetting, each counted once.
    num_steps: optimiser steps of all trainings, including those of a remedy on the model's own samples.
    num_evaluations: network evaluations to draw samples, including those of a remedy; None if the generator does not
        count them.
    """

    num_real: int
    num_steps: int
    num_evaluations: int | None


def spending(rows: Sequence[Row]) -> Spending:
    """Return what the generations of a chain spent whose rows, from generation 0 on, are given."""
    pool = max(row.composition["num_real"] - row.composition.get("num_fresh", 0) for row in rows)
    fresh = sum(row.composition.get("num_fresh", 0) for row in rows)
    calibration = max(row.vetting.get("num_calibration", 0) for row in rows)
    steps = sum(row.train.get("num_steps", 0) + row.remedy.get("num_steps", 0) for row in rows)
    draws = [part for row in rows for part in (_draw(row.sample, "num_images"), _draw(row.remedy, "num_samples"))]
    is_counted = all("network_evaluations" in row.sample for row in rows)
    return Spending(pool + fresh + calibration, steps, sum(draws) if is_counted else None)


def _draw(facts: dict[str, int], size: str) -> int:
    return facts.get(size, 0) * facts.get("network_evaluations", 0)
