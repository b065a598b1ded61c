"""The statement on network and data sizes: one table per comparison, and the trend of each change with the size."""

from collections.abc import Iterable, Iterator
from typing import Any

from bench.analysis.collapse import Interval
from bench.analysis.collapse_profile import PERCENT
from bench.analysis.measures import metric_name
from bench.analysis.sizes import ITEMS, RULE, Size, Sizes, sizes, trend_words, unit_of
from bench.analysis.study import Study
from bench.analysis.verdicts import judged_score, levels, percent, verdict
from bench.report.ranking_figure import with_unit
from bench.report.sizes_figure import figure_name
from bench.report.statements import Statement


def size_statements(study: Study, every: Iterable[Study]) -> Iterator[Statement]:
    """Yield a statement for each comparison of sizes that a study is the first member of. every: All studies."""
    for number, found in enumerate(sizes(study, every)):
        yield _statement(found, figure_name(number))


def _statement(found: Sizes, figure: str) -> Statement:
    first = next(iter(found.of.values()))
    score = judged_score(first.study)
    head = [
        "parameters",
        "real items",
        "steps",
        *([f"{metric_name(score.metric)}, generation 0 → last"] if score else []),
    ]
    return Statement(
        title=f"Sizes of {found.what}",
        figure=figure,
        of_several=any(size.study is not first.study for size in found.of.values()),
        about=f"{with_unit(found.arm)} against ratio 0",
        head=[*head, *found.quantities, "verdict", "seeds"],
        rows=[_row(size, found.quantities) for size in found.of.values()],
        legend=[RULE, *(f"{trend_words(found, quantity)}." for quantity in found.trends), *_devices(found)],
        records=[record for x, size in found.of.items() for record in _records(found, x, size)] + _trend_records(found),
    )


def _devices(found: Sizes) -> list[str]:
    """Return a sentence if the sizes were run on different devices."""
    used: dict[str, list[str]] = {}
    for size in found.of.values():
        rows = (row for chain in size.study.chains[size.condition].values() for row in chain.rows)
        device = "/".join(sorted({str(row.environment.get("device") or "unknown") for row in rows}))
        used.setdefault(device, []).append(
            f"{size.items if found.what == ITEMS else size.parameters:,}".replace(",", " ")
        )
    if len(used) < 2:
        return []
    listed = "; ".join(f"{device}: {', '.join(names)}" for device, names in used.items())
    return [f"Sizes were run on different devices ({listed}), whose difference is part of the trends."]


def _row(size: Size, quantities: list[str]) -> list[str]:
    score = judged_score(size.study)
    return [
        f"{size.parameters:,}".replace(",", " "),
        str(size.items),
        " + ".join(map(str, size.steps)),
        *([levels(size.study, size.condition, score)] if score else []),
        *(_shown(quantity, size.change(quantity)) for quantity in quantities),
        verdict(size.study, size.condition).badge,
        str(len(size.study.chains[size.condition])),
    ]


def _shown(quantity: str, change: Interval | None) -> str:
    """Return a change and its interval, in the unit of its quantity."""
    return "–" if change is None else percent(change).replace(PERCENT, unit_of(quantity))


def _records(found: Sizes, x: int, size: Size) -> Iterator[dict[str, Any]]:
    what = "real items" if found.what == ITEMS else "parameters"
    for quantity in found.quantities:
        change = size.change(quantity)
        if change is not None:
            yield {
                **_about(found, change),
                "quantity": f"{quantity}, {x} {what}",
                "num_seeds": len(size.changes[quantity]),
            }


def _trend_records(found: Sizes) -> list[dict[str, Any]]:
    return [{**_about(found, t), "quantity": f"{quantity}, for each doubling"} for quantity, t in found.trends.items()]


def _about(found: Sizes, interval: Interval) -> dict[str, Any]:
    ends = {"value": interval.value, "low_95": interval.low, "high_95": interval.high}
    return {"statement": f"sizes of {found.what}", "condition": found.arm, **ends}
