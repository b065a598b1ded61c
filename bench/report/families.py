"""The report on families of generators side by side: two tables, a figure, and what may be compared across families."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from bench.analysis.collapse import Interval
from bench.analysis.collapse_profile import EXPONENT, MEANINGS, PERCENT, UNKNOWN, Finding
from bench.analysis.families import EXCESS, Member, comparable
from bench.report.profile_figure import SIGNS, answer_cell, grid
from bench.report.statements import Statement
from bench.report.style import PAGE, caption, save, styled, wrapped

TITLE = "Families side by side"
MOST_PERCENT = 9.0
"""Rises by at least this share are shown as factors; 9 is a rise to ten times the value."""
MOST_IN_A_CELL = 12
"""Number of characters that fit into one line of a cell of the figure."""
OF_VERDICTS = {"worse": "yes", "level": "open", "better": "no", "open": "open"}
"""Kind of a verdict -> the answer whose colour its cell gets."""


def statements(found: Sequence[Member]) -> list[Statement]:
    """Return the statements about all families; [] if there is only one."""
    if not found:
        return []
    yes, no = comparable(found)
    shown = {(member.study, member.condition) for member in found}
    left_out = [c for study, _ in shown for c in study.conditions if (study, c) not in shown]
    has_excess = any(member.change() is not None for member in found)
    head = ["condition", "family", "data", "verdict", "risk", "generation 0 → last", "any rise of risk"]
    return [
        Statement(
            title=TITLE,
            about="verdict and risk of each family",
            head=[*head, "change of the excess, nats"] if has_excess else head,
            rows=[_row(member, has_excess) for member in found],
            legend=[
                "Risk: the model's own loss on held-out items, where the truth is known its excess over the loss of "
                "the truth, and FID where neither was computed. “Any rise of risk” is that of the collapse "
                "profile, in per cent"
                + ("; change of the excess: the same difference in nats, not divided." if has_excess else "."),
                *["Arms that only one study has are left out here; the tables of that study have them."]
                * bool(left_out),
                *(f"Comparable. {line}" for line in yes),
                *(f"Not comparable. {line}" for line in no),
            ],
            records=[_record(member) for member in found],
        ),
        Statement(
            title=f"{TITLE}: collapse profile",
            about="eight meanings of “model collapse” (arXiv:2503.03150)",
            head=["condition", "family", *MEANINGS],
            rows=[
                [
                    m.arm,
                    m.family,
                    *(f"{f.answer} {f.change}".strip() if f.answer != UNKNOWN else "–" for f in m.findings),
                ]
                for m in found
            ],
            legend=["Changes for the worse; their intervals are in the profile of each study. –: not known."],
        ),
    ]


def _row(member: Member, has_excess: bool) -> list[str]:
    rise = member.rise()
    change = member.change()
    cells = [member.arm, member.family, member.data, member.verdict.badge, member.quantity or "–"]
    other = f" of {rise.quantity}" if rise.quantity not in ("", member.quantity) else ""
    cells += [member.levels() or "–", rise.change_with_span + other]
    return [*cells, "–" if change is None else _nats(change)] if has_excess else cells


def _nats(change: Interval) -> str:
    ends = f" ({change.low:+.2g} to {change.high:+.2g})" if math.isfinite(change.high) else ""
    return f"{change.value:+.2g}{ends}"


def _record(member: Member) -> dict[str, object]:
    change, rise = member.change(), member.rise()
    interval = change or rise.interval
    ends = {} if interval is None else {"value": interval.value, "low_95": interval.low, "high_95": interval.high}
    return {
        "study": member.study.title,
        "setting": member.study.hash,
        "statement": "families",
        "condition": member.arm,
        "metric": member.quantity,
        "quantity": "change of the excess, nats" if change is not None else "rise",
        **{name: value if math.isfinite(value) else None for name, value in ends.items()},
        "num_seeds": len(member.study.chains[member.condition]),
        "answer": member.verdict.badge,
    }


def _short(finding: Finding) -> str:
    """Return the change for the worse in a form that fits into a cell: a rise to ten times or more as a factor."""
    if finding.interval is not None and finding.unit == PERCENT and finding.interval.value >= MOST_PERCENT:
        return f"×{1 + finding.interval.value:,.0f}".replace(",", " ")
    return finding.change.replace(" a generation", "\n/ gen").removesuffix(f" {EXPONENT}")


def figure(found: Sequence[Member], out: Path) -> list[Path]:
    """Draw one row per condition and family: the verdict, the risk, and the eight meanings. Return the paths; [] for a
    single family."""
    if not found:
        return []
    columns = ["verdict", "risk", *MEANINGS]
    with styled():
        drawn, axis = plt.subplots(figsize=(PAGE, 0.95 + 0.46 * len(found)))
        grid(axis, columns, ["\n".join(wrapped(part, 1.2) for part in (m.family, m.arm)) for m in found])
        for i, member in enumerate(found):
            answer_cell(axis, i, 0, OF_VERDICTS[member.verdict.kind], member.verdict.badge)
            levels = member.levels()
            if len(levels) > MOST_IN_A_CELL:
                levels = levels.replace(" → ", "\n→ ")
            risk = f"{wrapped(member.quantity, 1.0)}\n{levels}" if member.quantity else SIGNS[UNKNOWN]
            answer_cell(axis, i, 1, UNKNOWN, risk)
            for j, finding in enumerate(member.findings):
                words = f"{SIGNS[finding.answer]} {finding.answer}\n{_short(finding)}"
                answer_cell(axis, i, j + 2, finding.answer, words if finding.answer != UNKNOWN else "–")
            if i and member.arm != found[i - 1].arm:
                axis.axhline(i, color="#7a7a7a", linewidth=0.6)
        drawn.tight_layout()
        excess = " above that of the truth where it is known" if any(m.quantity == EXCESS for m in found) else ""
        caption(
            drawn,
            f"families: {', '.join(dict.fromkeys(f'{m.family} on {m.data}' for m in found))}",
            f"risk: generation 0 → last{excess}, in the unit of each family: rows of one family may be compared, not "
            "its numbers with another's\nper cent and answers: against the same family's ratio 0 or generation 0\n"
            "● established  ◐ open  ○ ruled out  – not known",
        )
        return save(drawn, out, "families")
