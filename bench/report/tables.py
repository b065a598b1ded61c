"""Score tables as Markdown, CSV and LaTeX."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from bench.analysis.cells import Cell
from bench.analysis.score_tables import Line, Table, main_tables, tables
from bench.analysis.study import Study
from bench.analysis.verdicts import critical_words, verdict


def text(value: Cell | None, places: int, sign: str = "±") -> str:
    """Return `12.3 ± 0.4`, `12.3` for a single seed, or an en dash for an empty cell."""
    if value is None:
        return "–"
    if value.half_width is None:
        return f"{value.mean:.{places}f}"
    return f"{value.mean:.{places}f} {sign} {value.half_width:.{places}f}"


def marks(line: Line) -> Iterable[tuple[bool, bool]]:
    """Return for each cell of a line whether it is the best, and whether it is greyed (`off_manifold`)."""
    return zip(line.is_best, line.is_greyed, strict=True)


# ------------------------------------------------------------------------------------------------------- Markdown


def in_cell(text: str) -> str:
    """Return text with escaped bars, so that they do not end a cell of a Markdown table."""
    return text.replace("|", r"\|")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], num_words: int | None = None) -> str:
    """Return a table of Markdown. num_words: The number of columns with words, from the left; the others have numbers,
    aligned to the right. None stands for all columns."""
    left = len(head) if num_words is None else num_words
    lines = [f"| {' | '.join(head)} |", f"|{':--|' * left}{'--:|' * (len(head) - left)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(in_cell, row))} |" for row in rows)])


def markdown(study: Study) -> str:
    """Return the main scores of a study as Markdown, with everything that is needed to read them."""
    parts = [f"## {study.title}", *(table_markdown(table) for table in main_tables(study))]
    if study.notes:
        parts.append("\n".join(f"> {note}" for note in study.notes))
    return "\n\n".join(parts) + "\n"


def verdict_lines(study: Study) -> str:
    """Return the verdicts as a Markdown list, followed by the critical ratio."""
    lines = [f"- **{in_cell(c.label)}** {v.badge}: {v.words}" for c in study.conditions for v in (verdict(study, c),)]
    words = critical_words(study)
    return "\n".join(["", *lines, *(["", words] if words else []), ""])


def table_markdown(table: Table) -> str:
    """Return one score as a Markdown table, below what the numbers depend on and above the meaning of the signs."""
    table = table.shortened()
    lines = [
        f"**{table.name}** · " + " · ".join(table.facts()),
        "",
        f"| {table.head} | " + " | ".join(f"gen {g}" for g in table.generations) + " | seeds |",
        "|:--|" + "--:|" * (len(table.generations) + 1),
    ]
    for line in table.lines:
        shown = [text(c, table.places) for c in line.cells]
        forms = ["**%s**" if best else "(%s)" if greyed else "%s" for best, greyed in marks(line)]
        shown = [form.replace("%s", t) for t, form in zip(shown, forms, strict=True)]
        lines.append(f"| {in_cell(line.condition.label)} | {' | '.join(shown)} | {line.num_seeds} |")
    for label in table.baselines:
        blank = " | " * len(table.generations)
        lines.append(f"| {label} | {table.baseline(label)}{blank} |")
    return "\n".join([*lines, "", f"*{'; '.join(table.legend())}.*"])


# ------------------------------------------------------------------------------------------------------------ CSV

COLUMNS = (
    *("study", "setting", "protocol", "policy", "condition", "synthetic_ratio", "generation"),
    *("metric", "direction", "feature_space", "reference", "num_subject", "num_reference", "parameters"),
    *("mean", "half_width_95", "num_seeds", "is_best", "is_greyed", "low_95", "high_95", "seeds", "values"),
)


def inert(value: Any) -> Any:
    """Return a cell that no spreadsheet evaluates: text that begins like a formula gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def to_csv(studies: Iterable[Study]) -> str:
    """Return every score of every study in long form, with unrounded numbers.

    There is one line per score, condition and generation; floor and controls have no generation. The columns `seeds`
    and `values` list seeds and their values in the same order, separated by spaces. `is_greyed` marks a recall that is
    meaningless because precision is too low. `low_95` and `high_95` are the floor's interval over re-splits.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for study in studies:
        for table in tables(study):
            m = table.measure
            common = {
                "study": inert(study.title),
                "setting": study.hash,
                "protocol": inert(study.protocol),
                **{name: inert(getattr(m, name)) for name in COLUMNS if hasattr(m, name)},
            }
            for line in table.lines:
                for g, c, (is_best, is_greyed) in zip(table.generations, line.cells, marks(line), strict=True):
                    if c is None:
                        continue
                    values = study.values(line.condition, g, m)
                    writer.writerow(
                        {
                            **common,
                            "policy": inert(line.condition.policy),
                            "condition": inert(line.condition.label),
                            "synthetic_ratio": line.condition.ratio,
                            "generation": g,
                            "mean": repr(c.mean),
                            "half_width_95": "" if c.half_width is None else repr(c.half_width),
                            "num_seeds": c.n,
                            "is_best": int(is_best),
                            "is_greyed": int(is_greyed),
                            "seeds": " ".join(map(str, values)),
                            "values": " ".join(map(repr, values.values())),
                        }
                    )
            for label, value in table.baselines.items():
                ends = dict(zip(("low_95", "high_95"), map(repr, table.intervals.get(label, ())), strict=False))
                writer.writerow({**common, "condition": label, "mean": repr(value), **ends})
    return out.getvalue()


# ---------------------------------------------------------------------------------------------------------- LaTeX

_ESCAPES = dict(zip("&%$#_{}", (r"\&", r"\%", r"\$", r"\#", r"\_", r"\{", r"\}"), strict=True)) | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"$\cdot$",
    "λ": r"$\lambda$",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "∞": r"$_\infty$",
    "×": r"$\times$",
    "…": r"\dots{}",
    "<": r"$<$",
    ">": r"$>$",
    "−": "$-$",
    "≥": r"$\ge$",
    "→": r"$\to$",
    "“": "``",
    "”": "''",
}
TYPESET = "\u017f"
"""The last character that is written as it is, because LaTeX's T1 fonts have it."""


def escape(text: str) -> str:
    """Escape plain text for LaTeX, including the signs that occur in tables.

    Other characters that its fonts lack, such as emoji, are replaced by their code point, `[U+1F600]`.
    """
    return "".join(_ESCAPES.get(sign, sign if sign <= TYPESET else f"[U+{ord(sign):04X}]") for sign in text)


def latex(studies: Iterable[Study], everything: bool = False) -> str:
    """Return booktabs tables for `\\input`, one float per main score, or per score with `everything`."""
    parts = ["% Needs \\usepackage{booktabs,xcolor}; captions use \\usepackage[T1]{fontenc} and UTF-8 input."]
    for study in studies:
        parts += [_latex(table) for table in (tables(study) if everything else main_tables(study))]
    return "\n\n".join(parts) + "\n"


def _latex(table: Table) -> str:
    table = table.shortened()
    caption = f"{table.study.title}. {table.name}: {', '.join(table.facts())}. " + "; ".join(table.legend()) + "."
    rows = []
    for line in table.lines:
        shown = [text(c, table.places, sign="\\pm") for c in line.cells]
        forms = ["$\\mathbf{%s}$" if b else r"\textcolor{gray}{($%s$)}" if g else "$%s$" for b, g in marks(line)]
        shown = ["--" if t == "–" else form.replace("%s", t) for t, form in zip(shown, forms, strict=True)]
        rows.append([escape(line.condition.label), *shown, str(line.num_seeds)])
    num = len(table.generations)
    bases = [
        [escape(label), re.sub(r"-?[\d.]+", r"$\g<0>$", table.baseline(label)), *[""] * num]
        for label in table.baselines
    ]
    head = [escape(table.head), *(f"gen.\\ {g}" for g in table.generations), "seeds"]
    return booktabs(caption, f"l{'r' * num}r", [[head], rows, bases], size=SMALL if num <= 4 else NARROW)


SMALL, NARROW = r"\small", r"\footnotesize\setlength{\tabcolsep}{3pt}"


def booktabs(caption: str, columns: str, groups: Sequence[Sequence[Sequence[str]]], size: str) -> str:
    """Return one floating table.

    Args:
        caption: Plain text, which is escaped here.
        columns: The alignment of the columns, as in LaTeX.
        groups: Groups of rows of escaped cells, with a rule between two groups; empty groups are left out.
        size: `SMALL` or `NARROW`.
    """
    lines: list[str] = []
    for group in filter(None, groups):
        lines += [r"    \midrule" if lines else r"    \toprule", *(f"    {' & '.join(row)}" + r" \\" for row in group)]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  {size}",
            f"  \\caption{{{escape(caption)}}}",
            f"  \\begin{{tabular}}{{{columns}}}",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )
