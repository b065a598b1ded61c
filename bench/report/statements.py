"""Statements about a study that combine several scores: their tables as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bench.analysis import collapse_profile, exchange_rate
from bench.analysis.cells import digits
from bench.analysis.collapse_profile import MEANINGS, Finding, profile
from bench.analysis.conditions import Condition
from bench.analysis.exchange_rate import NOT_DETERMINED, Exchange, exchanges
from bench.analysis.measures import metric_name
from bench.analysis.study import Study
from bench.analysis.variance_components import KEY, NOT_IDENTIFIABLE, RULE, Component, Variances, variances
from bench.report.tables import NARROW, booktabs, escape, inert, markdown_table


@dataclass(frozen=True)
class Statement:
    """One statement, as a table of text.

    title: What is stated.
    about: What the numbers depend on.
    head, rows: The table; there are no rows if the statement is refused.
    legend: How to read the table, or why it is empty.
    records: The unrounded numbers, one dict per row of the CSV file with some of `COLUMNS` as keys.
    figure: Name of the figure that shows the statement; "" if there is none.
    of_several: Whether the statement compares several studies.
    """

    title: str
    about: str
    head: list[str]
    rows: list[list[str]]
    legend: list[str]
    records: list[dict[str, Any]] = field(default_factory=list)
    figure: str = ""
    of_several: bool = False


def statements(study: Study, every: Iterable[Study]) -> list[Statement]:
    """Return the collapse profile, exchange rates and variance components of a study; `build.all_statements` adds more.

    Args:
        study: The study to describe.
        every: All available studies, because some statements compare several.
    """
    every = list(every)
    return [
        _profile(profile(study, every)),
        *(_exchange(study, exchange) for exchange in exchanges(study)),
        *(_variances(study, found) for found in variances(study, every)),
    ]


def _profile(found: dict[Condition, list[Finding]]) -> Statement:
    """State the collapse profile. A meaning that is unknown for all conditions, for the same reason, is stated once."""
    pairs = [(condition, finding) for condition, findings in found.items() for finding in findings]
    reasons = {meaning: {f.reason for _, f in pairs if f.meaning == meaning} for meaning in MEANINGS}
    never = {meaning: why.copy().pop() for meaning, why in reasons.items() if len(why) == 1 and why != {""}}
    return Statement(
        title="Collapse profile",
        figure="profile",
        about="eight meanings of “model collapse” (arXiv:2503.03150)",
        head=["condition", "meaning", "answer", "change for the worse"],
        rows=[[c.label, f.meaning, f.answer, f.words] for c, f in pairs if f.meaning not in never],
        legend=[collapse_profile.RULE] * (len(never) < len(MEANINGS))
        + [f"Not known for any condition, {meaning}: {why}." for meaning, why in never.items()],
        records=[
            {
                "statement": "collapse profile",
                "condition": condition.label,
                "quantity": found.meaning,
                "metric": found.quantity,
                "value": None if found.interval is None else found.interval.value,
                **dict(zip(("low_95", "high_95", "detectable"), found.ends, strict=True)),
                "answer": found.answer,
                "reason": found.reason,
            }
            for condition, found in pairs
        ],
    )


def _exchange(study: Study, exchange: Exchange) -> Statement:
    measure = exchange.measure
    rows = [
        [
            rate.condition.label,
            str(rate.generation),
            str(rate.num_real),
            str(rate.num_synthetic),
            rate.equivalent.text(0),
            rate.worth.text(2),
            str(len(rate.seeds)),
        ]
        for rate in exchange.last()
    ]
    undetermined = [f"“{NOT_DETERMINED}”: the interval contains all sizes that were run."] * any(
        NOT_DETERMINED in row for row in rows
    )
    records = [
        {
            "condition": rate.condition.label,
            "generation": rate.generation,
            "metric": measure.metric,
            "quantity": quantity,
            "value": estimate.value,
            "low_95": estimate.low,
            "high_95": estimate.high,
            "range": f"{estimate.least!r} to {estimate.most!r}",
            "num_seeds": len(rate.seeds),
        }
        for rate in exchange.rates
        for quantity, estimate in ((f"equivalent real {study.kind.items}", rate.equivalent), ("worth", rate.worth))
    ]
    return Statement(
        title=f"Exchange rate in {metric_name(measure.metric)}",
        figure="exchange_rate" if measure.metric == "fid" else f"exchange_rate_{measure.metric}",
        about=f"{measure.feature_space} · against {measure.reference} · {measure.sizes}",
        head=["condition", "generation", "real", "synthetic", "equals real alone", "one is worth", "seeds"],
        rows=rows,
        legend=(
            [
                exchange_rate.RULE,
                "In brackets: 95 % interval over seeds; < and >: beyond the sizes that were run.",
                *undetermined,
            ]
        )
        * bool(rows)
        + _refused(exchange.refused),
        records=[{"statement": "exchange rate", **record} for record in records],
    )


def _variances(study: Study, found: Variances) -> Statement:
    """State variance components; the first of several crossed studies has the table."""
    places = digits([c.sd for components in found.components.values() for c in components])
    names = list(dict.fromkeys(c.name for components in found.components.values() for c in components))
    rows = []
    for condition, components in found.components.items():
        by_name = {c.name: _component(c, places) for c in components}
        rows.append([condition.label, *(by_name.get(name, "–") for name in names), str(len(found.seeds[condition]))])
    is_first, legend = study is found.first, _refused(found.refused)
    if rows:
        legend = [RULE, *(f"Not identifiable, {name}: {why}." for name, why in NOT_IDENTIFIABLE.items()), *legend]
    if rows and not is_first:
        legend = [f"In the study “{found.first.title}”."]
    return Statement(
        title=f"Variance components of {metric_name(found.measure.metric)}",
        about=f"generation {found.generation} · {KEY} {', '.join(map(str, found.splits))} · "
        f"{found.measure.feature_space} · against {found.measure.reference} · {found.measure.sizes}",
        head=["condition", *names, "seeds"],
        rows=rows if is_first else [],
        of_several=True,
        legend=legend,
        records=[
            {
                "statement": "variance components",
                "condition": condition.label,
                "generation": found.generation,
                "metric": found.measure.metric,
                "quantity": f"standard deviation, {c.name}",
                "value": c.sd,
                "low_95": c.low,
                "high_95": c.high,
                "num_seeds": len(found.seeds[condition]),
            }
            for condition, components in found.components.items()
            for c in components
            if is_first
        ],
    )


def _component(component: Component, places: int) -> str:
    """Return e.g. `9.1 (4.3 to 58.5), 77 %`: standard deviation, its interval and its share of the variance."""
    if component.low is None or component.high is None or component.share is None:
        return f"{component.sd:.{places}f}"
    ends = f"{component.low:.{places}f} to {component.high:.{places}f}"
    return f"{component.sd:.{places}f} ({ends}), {100 * component.share:.0f} %"


def _refused(reasons: dict[Condition | None, str]) -> list[str]:
    """Return one line per reason, with the conditions that it refuses."""
    labels: dict[str, list[str]] = {}
    for condition, why in reasons.items():
        labels.setdefault(why, []).extend([condition.label] if condition else [])
    return [
        f"{', '.join(refused)}: refused, {why}" if refused else f"Refused: {why}" for why, refused in labels.items()
    ]


# ---------------------------------------------------------------------------------------------------------- formats


def to_markdown(statement: Statement) -> str:
    """Return a statement as Markdown."""
    lines = [f"**{statement.title}** · {statement.about}", ""]
    if statement.rows:
        lines += [markdown_table(statement.head, statement.rows), ""]
    return "\n".join([*lines, *(f"*{line}*\n" for line in statement.legend)])


def to_lines(statement: Statement) -> list[str]:
    """Return a statement as one line per row, or the reason why there is none."""
    rows = [
        ", ".join(f"{name}: {word}" for name, word in zip(statement.head[1:], row[1:], strict=True))
        for row in statement.rows
    ]
    shown = [f"{statement.title}, {row[0]}: {line}" for row, line in zip(statement.rows, rows, strict=True)]
    return shown or [f"{statement.title}: {line}" for line in statement.legend]


MOST_ROWS = 40
"""Number of rows of a LaTeX table that fit on a page."""


def to_latex(statement: Statement) -> str:
    """Return a statement as booktabs tables of at most a page each, or as a comment if it is refused."""
    if not statement.rows:
        return "\n".join(f"% {statement.title}: {line}" for line in statement.legend)
    caption = f"{statement.title}: {statement.about}. {' '.join(statement.legend)}"
    pages = [statement.rows[i : i + MOST_ROWS] for i in range(0, len(statement.rows), MOST_ROWS)]
    captions = [caption, *[f"{statement.title}, continued."] * (len(pages) - 1)]
    return "\n\n".join(_latex(statement.head, *part) for part in zip(pages, captions, strict=True))


def _latex(head: list[str], rows: list[list[str]], caption: str) -> str:
    groups = [[[escape(word) for word in row] for row in group] for group in ([head], rows)]
    return booktabs(caption, "l" * len(head), groups, size=NARROW)


NAMES = ("study", "condition", "quantity")
"""Columns that may contain text from a user."""
COLUMNS = (
    *("study", "setting", "statement", "condition", "generation", "metric", "quantity"),
    *("value", "low_95", "high_95", "range", "detectable", "num_seeds", "answer", "reason"),
)


def to_csv(by_study: Iterable[tuple[Study, list[Statement]]]) -> str:
    """Return every number of every statement in long form, unrounded; a value beyond its range is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for study, found in by_study:
        for statement in found:
            for record in statement.records:
                cells = {"study": study.title, "setting": study.hash, **record}
                writer.writerow({name: inert(value) if name in NAMES else value for name, value in cells.items()})
    return out.getvalue()
