"""Tables of a study: condition × generation, one per score, as one model that is shown as Markdown, CSV or LaTeX."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

from bench.analysis.cells import Cell, best, cell, digits
from bench.analysis.study import MAIN_METRICS, Condition, Measure, Study

NAMES = {"fid": "FID", "fid_infinity": "FID∞", "kid": "KID", "vendi": "Vendi score"}
BASELINES = {"real_train": "floor: real images", "shuffled": "control: shuffled"}


@dataclass(frozen=True)
class Line:
    """One condition: a cell per generation, which of them is significantly the best, and its number of seeds."""

    condition: Condition
    cells: list[Cell | None]
    is_best: list[bool]
    num_seeds: int


@dataclass(frozen=True)
class Table:
    """One score of one study. baselines: what else was scored in the same way (the real-vs-real floor, controls)."""

    study: Study
    measure: Measure
    generations: list[int]
    lines: list[Line]
    baselines: dict[str, float]

    @property
    def name(self) -> str:
        return f"{metric_name(self.measure.metric)} {self.measure.arrow}"

    @property
    def head(self) -> str:
        return "synthetic ratio" if self.study.by_ratio else "mixing policy"

    @property
    def places(self) -> int:
        return digits([c.mean for line in self.lines for c in line.cells if c] + list(self.baselines.values()))

    def facts(self) -> list[str]:
        """What a score is of: feature space, reference, N and parameters, protocol, setting."""
        m = self.measure
        return [m.feature_space, f"against {m.reference}", m.sizes, self.study.protocol, f"setting {self.study.hash}"]

    def legend(self) -> list[str]:
        """What the signs in the cells mean; only those that are there."""
        cells = [c for line in self.lines for c in line.cells if c]
        said = ["± is the 95 % interval of the mean over seeds (Student's t)"] if any(c.n > 1 for c in cells) else []
        said += ["a single seed has no interval"] if any(c.n == 1 for c in cells) else []
        if any(flag for line in self.lines for flag in line.is_best):
            said.append("bold: better than every other condition (95 % interval of the paired difference over seeds)")
        return said


def metric_name(metric: str) -> str:
    return NAMES.get(metric, metric.replace("_", " "))


def tables(study: Study, metrics: Iterable[str] | None = None) -> list[Table]:
    """One per score, main ones first, and of those the ones against held-out images."""
    measures = sorted(study.measures(), key=lambda m: (m.reference != "heldout", _rank(m.metric)))
    return [_table(study, m) for m in measures if metrics is None or m.metric in metrics]


def _rank(metric: str) -> int:
    return MAIN_METRICS.index(metric) if metric in MAIN_METRICS else len(MAIN_METRICS)


def _table(study: Study, measure: Measure) -> Table:
    generations = study.generations
    flags: dict[int, str | None] = {}
    for g in generations:
        values = {c.label: study.values(c, g, measure) for c in study.conditions}
        flags[g] = best({label: v for label, v in values.items() if v}, measure.direction)
    lines = [
        Line(
            condition,
            [cell(study.values(condition, g, measure).values()) for g in generations],
            [flags[g] == condition.label for g in generations],
            len(study.chains[condition]),
        )
        for condition in study.conditions
    ]
    baselines = {BASELINES.get(s, f"control: {s}"): v for s, v in study.baselines(measure).items()}
    return Table(study, measure, generations, lines, baselines)


def text(value: Cell | None, places: int, sign: str = "±") -> str:
    """`12.3 ± 0.4`, `12.3` for a single seed, an en dash where there is nothing."""
    if value is None:
        return "–"
    if value.half_width is None:
        return f"{value.mean:.{places}f}"
    return f"{value.mean:.{places}f} {sign} {value.half_width:.{places}f}"


# ------------------------------------------------------------------------------------------------------- Markdown


def main_tables(study: Study) -> list[Table]:
    """The main scores against held-out images: what is printed and what goes into a paper."""
    return [_table(study, m) for name in MAIN_METRICS if (m := study.primary(name)) is not None]


def markdown(study: Study) -> str:
    """The main scores of a study as Markdown, with all that is needed to read them."""
    parts = [f"## {study.title}", *(_markdown(table) for table in main_tables(study))]
    if study.notes:
        parts.append("\n".join(f"> {note}" for note in study.notes))
    return "\n\n".join(parts) + "\n"


def _markdown(table: Table) -> str:
    lines = [
        f"**{table.name}** · " + " · ".join(table.facts()),
        "",
        f"| {table.head} | " + " | ".join(f"gen {g}" for g in table.generations) + " | seeds |",
        "|:--|" + "--:|" * (len(table.generations) + 1),
    ]
    for line in table.lines:
        shown = [text(c, table.places) for c in line.cells]
        shown = [f"**{t}**" if flag else t for t, flag in zip(shown, line.is_best, strict=True)]
        lines.append(f"| {line.condition.label} | {' | '.join(shown)} | {line.num_seeds} |")
    for label, value in table.baselines.items():
        blank = " | " * len(table.generations)
        lines.append(f"| {label} | {value:.{table.places}f}{blank} |")
    return "\n".join([*lines, "", f"*{'; '.join(table.legend())}.*"])


# ------------------------------------------------------------------------------------------------------------ CSV

COLUMNS = (
    *("study", "setting", "protocol", "policy", "condition", "synthetic_ratio", "generation"),
    *("metric", "direction", "feature_space", "reference", "num_subject", "num_reference", "parameters"),
    *("mean", "half_width_95", "num_seeds", "is_best", "seeds", "values"),
)


def to_csv(studies: Iterable[Study]) -> str:
    """Every score of every study in long form: one line per score, condition and generation; floor and controls have no
    generation. Numbers in full, seeds and their values side by side, separated by spaces."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for study in studies:
        for table in tables(study):
            m = table.measure
            common = {
                "study": study.title,
                "setting": study.hash,
                "protocol": study.protocol,
                **{name: getattr(m, name) for name in COLUMNS if hasattr(m, name)},
            }
            for line in table.lines:
                for g, c, is_best in zip(table.generations, line.cells, line.is_best, strict=True):
                    if c is None:
                        continue
                    values = study.values(line.condition, g, m)
                    writer.writerow(
                        {
                            **common,
                            "policy": line.condition.policy,
                            "condition": line.condition.label,
                            "synthetic_ratio": line.condition.ratio,
                            "generation": g,
                            "mean": repr(c.mean),
                            "half_width_95": "" if c.half_width is None else repr(c.half_width),
                            "num_seeds": c.n,
                            "is_best": int(is_best),
                            "seeds": " ".join(map(str, values)),
                            "values": " ".join(map(repr, values.values())),
                        }
                    )
            for label, value in table.baselines.items():
                writer.writerow({**common, "condition": label, "mean": repr(value)})
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
}


def escape(text: str) -> str:
    """Plain text for LaTeX, the signs that our tables use among it."""
    return "".join(_ESCAPES.get(sign, sign) for sign in text)


def latex(studies: Iterable[Study], everything: bool = False) -> str:
    """booktabs tables, one float per score, to be included by `\\input`: of the main scores, or of everything."""
    parts = ["% Needs \\usepackage{booktabs}; captions use \\usepackage[T1]{fontenc} and UTF-8 input."]
    for study in studies:
        parts += [_latex(table) for table in (tables(study) if everything else main_tables(study))]
    return "\n\n".join(parts) + "\n"


def _latex(table: Table) -> str:
    caption = f"{table.study.title}. {table.name}: {', '.join(table.facts())}. " + "; ".join(table.legend()) + "."
    rows = []
    for line in table.lines:
        shown = [text(c, table.places, sign="\\pm") for c in line.cells]
        shown = [
            "--" if t == "–" else f"$\\mathbf{{{t}}}$" if f else f"${t}$"
            for t, f in zip(shown, line.is_best, strict=True)
        ]
        rows.append(" & ".join([escape(line.condition.label), *shown, str(line.num_seeds)]) + r" \\")
    bases = [
        " & ".join([escape(label), f"${value:.{table.places}f}$", *[""] * len(table.generations)]) + r" \\"
        for label, value in table.baselines.items()
    ]
    head = " & ".join([escape(table.head), *(f"gen.\\ {g}" for g in table.generations), "seeds"]) + r" \\"
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            r"  \small" if len(table.generations) <= 4 else r"  \footnotesize\setlength{\tabcolsep}{3pt}",
            f"  \\caption{{{escape(caption)}}}",
            f"  \\begin{{tabular}}{{l{'r' * len(table.generations)}r}}",
            r"    \toprule",
            f"    {head}",
            r"    \midrule",
            *(f"    {row}" for row in rows),
            *([r"    \midrule", *(f"    {row}" for row in bases)] if bases else []),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )
