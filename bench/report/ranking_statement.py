"""The statement on ranked remedies: one table per baseline, with the costs of every arm."""

from collections.abc import Iterator
from typing import Any

from bench.analysis.cells import digits
from bench.analysis.conditions import Condition
from bench.analysis.ranking import HIGHER_IS_BETTER, RULE, Arm, Ranking, rankings
from bench.analysis.spending import Spending
from bench.analysis.study import Study
from bench.report.ranking_figure import figure_name, with_unit
from bench.report.statements import Statement

COSTS = ("real items", "optimiser steps", "network evaluations")


def ranking(study: Study) -> Iterator[Statement]:
    """Yield a statement for each baseline to which some arm adds a selection, vetting, watermark or remedy."""
    for number, found in enumerate(rankings(study)):
        yield _statement(study, found, figure_name(number))


def _statement(study: Study, found: Ranking, figure: str) -> Statement:
    arrows = {name: "↑" if name in HIGHER_IS_BETTER else "↓" for name in found.quantities}
    rows = [
        [
            arm.condition.label,
            _mean(arm.rank),
            *differences_told(found, arm).values(),
            *_costs(arm.spent),
            str(max((len(d.seeds) for d in arm.differences.values()), default=0)),
        ]
        for arm in found.arms
    ]
    base = [found.baseline.label, "baseline", *["0"] * len(found.quantities), *_costs(found.spent)]
    return Statement(
        title=f"Arms against {with_unit(found.baseline.label)}",
        figure=figure,
        about=f"differences to {with_unit(found.baseline.label)} in the same seeds, and what a chain spends up to "
        f"generation {study.last_common}",
        head=["arm", "rank", *(f"{name} {arrows[name]}" for name in found.quantities), *COSTS, "seeds"],
        rows=[*rows, [*base, str(len(study.chains[found.baseline]))]],
        legend=[RULE],
        records=[record for arm in found.arms for record in _records(arm, found.baseline)]
        + _cost_records(found.baseline, found.spent),
    )


def differences_told(found: Ranking, arm: Arm) -> dict[str, str]:
    """Return quantity -> the difference of an arm to its baseline, with the number of decimals that all arms share."""
    places = {name: digits([a.differences[name].difference.mean for a in found.arms]) for name in found.quantities}
    return {name: difference_words(arm, name, places[name]) for name in found.quantities}


def _mean(rank: float | None) -> str:
    return "–" if rank is None else f"{rank:.1f}"


def difference_words(arm: Arm, quantity: str, places: int) -> str:
    """Return e.g. `+0.12 (+0.08 to +0.16) better`; without the interval if there is one seed."""
    found = arm.differences[quantity].difference
    interval = "" if found.low is None else f" ({found.low:+.{places}f} to {found.high:+.{places}f})"
    word = {True: " better", False: " worse", None: ""}[arm.is_better(quantity)]
    return f"{found.mean:+.{places}f}{interval}{word}"


def _costs(spent: Spending) -> list[str]:
    values = (spent.num_real, spent.num_steps, spent.num_evaluations)
    return ["–" if value is None else str(value) for value in values]


def _records(arm: Arm, baseline: Condition) -> list[dict[str, Any]]:
    about = {"statement": "ranking", "condition": arm.condition.label}
    differences = [
        {
            **about,
            "quantity": f"{name} minus that of {baseline.label}",
            "value": found.difference.mean,
            "low_95": found.difference.low,
            "high_95": found.difference.high,
            "num_seeds": len(found.seeds),
        }
        for name, found in arm.differences.items()
    ]
    rank = {**about, "quantity": f"mean rank against {baseline.label}", "value": arm.rank}
    return [*differences, rank, *_cost_records(arm.condition, arm.spent)]


def _cost_records(condition: Condition, spent: Spending) -> list[dict[str, Any]]:
    values = (spent.num_real, spent.num_steps, spent.num_evaluations)
    about = {"statement": "ranking", "condition": condition.label}
    return [{**about, "quantity": name, "value": value} for name, value in zip(COSTS, values, strict=True)]
