"""Statements that are more than one score: their tables as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bench.analysis import collapse_profile, exchange_rate
from bench.analysis.collapse_profile import MEANINGS, Finding, profile
from bench.analysis.conditions import Condition
from bench.analysis.exchange_rate import Exchange, exchanges
from bench.analysis.study import Study
from bench.report.tables import escape


@dataclass(frozen=True)
class Statement:
    """One table of words.

    title: what is stated. about: what the numbers depend on. head, rows: the table; no rows where it is refused.
    legend: how to read it, or why there is nothing to read. records: the numbers for `COLUMNS`, unrounded.
    """

    title: str
    about: str
    head: list[str]
    rows: list[list[str]]
    legend: list[str]
    records: list[dict[str, Any]] = field(default_factory=list)


def statements(study: Study, every: Iterable[Study]) -> list[Statement]:
    """Return every statement about a study.

    Args:
        study: the chains.
        every: all studies at hand, as some statements compare several.
    """
    return [_profile(profile(study, every)), *(_exchange(exchange) for exchange in exchanges(study))]


def _profile(found: dict[Condition, list[Finding]]) -> Statement:
    """State the collapse profile; what is known of no condition, for one reason, is said once."""
    pairs = [(condition, finding) for condition, findings in found.items() for finding in findings]
    reasons = {meaning: {f.reason for _, f in pairs if f.meaning == meaning} for meaning in MEANINGS}
    never = {meaning: why.copy().pop() for meaning, why in reasons.items() if len(why) == 1 and why != {""}}
    return Statement(
        title="Collapse profile",
        about="eight meanings of “model collapse” (arXiv:2503.03150)",
        head=["condition", "meaning", "answer", "change for the worse"],
        rows=[[c.label, f.meaning, f.answer, f.words] for c, f in pairs if f.meaning not in never],
        legend=[collapse_profile.RULE] * (len(never) < len(MEANINGS))
        + [f"Not known of any condition, {meaning}: {why}." for meaning, why in never.items()],
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


def _exchange(exchange: Exchange) -> Statement:
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
    refused = [
        f"{condition.label}: refused, {why}" if condition else f"Refused: {why}"
        for condition, why in exchange.refused.items()
    ]
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
        for quantity, estimate in (("equivalent real images", rate.equivalent), ("worth", rate.worth))
    ]
    name = measure.name.rpartition(" ")[0]
    return Statement(
        title=f"Exchange rate in {name}",
        about=f"{measure.feature_space} · against {measure.reference} · {measure.sizes}",
        head=["condition", "generation", "real", "synthetic", "equals real alone", "one is worth", "seeds"],
        rows=rows,
        legend=([exchange_rate.RULE, "In brackets: 95 % interval over seeds; < and >: beyond the sizes that were run."])
        * bool(rows)
        + refused,
        records=[{"statement": "exchange rate", **record} for record in records],
    )


# ---------------------------------------------------------------------------------------------------------- formats


def to_markdown(statement: Statement) -> str:
    """Return a statement as Markdown."""
    lines = [f"**{statement.title}** · {statement.about}", ""]
    if statement.rows:
        lines += [f"| {' | '.join(statement.head)} |", "|:--|" + "--:|" * (len(statement.head) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in statement.rows]
        lines.append("")
    return "\n".join([*lines, *(f"*{line}*\n" for line in statement.legend)])


def to_lines(statement: Statement) -> list[str]:
    """Return a statement as one line per row, or the reason why there is none."""
    rows = [
        ", ".join(f"{name}: {word}" for name, word in zip(statement.head[1:], row[1:], strict=True))
        for row in statement.rows
    ]
    shown = [f"{statement.title}, {row[0]}: {line}" for row, line in zip(statement.rows, rows, strict=True)]
    return shown or [f"{statement.title}: {line}" for line in statement.legend]


def to_latex(statement: Statement) -> str:
    """Return a statement as a booktabs table; a comment where it is refused."""
    if not statement.rows:
        return "\n".join(f"% {statement.title}: {line}" for line in statement.legend)
    caption = f"{statement.title}: {statement.about}. {' '.join(statement.legend)}"
    rows = [" & ".join(escape(word) for word in row) + r" \\" for row in [statement.head, *statement.rows]]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            r"  \footnotesize\setlength{\tabcolsep}{3pt}",
            f"  \\caption{{{escape(caption)}}}",
            f"  \\begin{{tabular}}{{l{'r' * (len(statement.head) - 1)}}}",
            r"    \toprule",
            f"    {rows[0]}",
            r"    \midrule",
            *(f"    {row}" for row in rows[1:]),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


COLUMNS = (
    *("study", "setting", "statement", "condition", "generation", "metric", "quantity"),
    *("value", "low_95", "high_95", "range", "detectable", "num_seeds", "answer", "reason"),
)


def to_csv(by_study: Iterable[tuple[Study, list[Statement]]]) -> str:
    """Return every number of every statement in long form, unrounded; empty where it lies beyond the range."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for study, found in by_study:
        for statement in found:
            for record in statement.records:
                writer.writerow({"study": study.title, "setting": study.hash, **record})
    return out.getvalue()
