"""Score tables: condition × generation for each score, before anything is formatted."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.analysis.cells import Cell, best, cell, digits, two_figures
from bench.analysis.conditions import Condition
from bench.analysis.measures import MAIN_METRICS, Measure, metric_name
from bench.analysis.off_manifold import is_greyed, reason
from bench.analysis.shown import some_of
from bench.analysis.study import Study

MOST_COLUMNS, FEWER_COLUMNS = 24, 11
"""A shortened table has up to MOST_COLUMNS generations side by side; of more generations, it shows about
FEWER_COLUMNS."""
CONTROL = "control: "
LEAST_PER_FEATURE = 1.5
"""The number of items per feature from which on FID is extrapolated (`bench.metrics.frechet`)."""


@dataclass(frozen=True)
class Line:
    """The line of one condition.

    cells: one per generation. is_best: whether the cell is significantly the best of its generation.
    num_seeds: the number of the condition's seeds. is_greyed: whether the cell is uninformative (`off_manifold`).
    """

    condition: Condition
    cells: list[Cell | None]
    is_best: list[bool]
    num_seeds: int
    is_greyed: list[bool]


@dataclass(frozen=True)
class Table:
    """One score of one study.

    baselines: label -> the same score of the real-vs-real floor or of a control.
    intervals: label -> ends of the 95 % interval over re-splits, for the floor.
    """

    study: Study
    measure: Measure
    generations: list[int]
    lines: list[Line]
    baselines: dict[str, float]
    intervals: dict[str, tuple[float, float]]

    def shortened(self) -> "Table":
        """Return the table with as many generations as can be read side by side."""
        kept = some_of(self.generations, MOST_COLUMNS, FEWER_COLUMNS)
        at = [self.generations.index(generation) for generation in kept]
        lines = [
            replace(
                line,
                cells=[line.cells[i] for i in at],
                is_best=[line.is_best[i] for i in at],
                is_greyed=[line.is_greyed[i] for i in at],
            )
            for line in self.lines
        ]
        return replace(self, generations=kept, lines=lines)

    @property
    def name(self) -> str:
        return self.measure.name

    @property
    def head(self) -> str:
        return self.study.axis

    @property
    def places(self) -> int:
        return digits([c.mean for line in self.lines for c in line.cells if c] + list(self.baselines.values()))

    def facts(self) -> list[str]:
        """Return what the numbers depend on: feature space, reference, N, parameters, N/d for scores that record d,
        protocol and setting."""
        m, dimension = self.measure, self.study.dimension(self.measure)
        per_feature = [f"N/d = {two_figures(m.num_subject / dimension)}"] if dimension else []
        if m.metric == "fid" and dimension and not self.study.measures("fid_infinity"):
            per_feature += [f"no {metric_name('fid_infinity')}: it needs N/d of at least {LEAST_PER_FEATURE}"]
        about = [m.feature_space, f"against {m.reference}", m.sizes, *per_feature]
        return [*about, self.study.protocol, f"setting {self.study.hash}"]

    def baseline(self, label: str) -> str:
        """Return a baseline as it is printed, e.g. `51 (48 to 54)`."""
        shown = f"{self.baselines[label]:.{self.places}f}"
        if label not in self.intervals:
            return shown
        low, high = self.intervals[label]
        return f"{shown} ({low:.{self.places}f} to {high:.{self.places}f})"

    def legend(self) -> list[str]:
        """Return explanations of the signs that occur in the cells, and of no others."""
        cells = [c for line in self.lines for c in line.cells if c]
        parts = []
        if any(c.n > 1 for c in cells):
            parts.append("± is the 95 % interval of the mean over seeds (Student's t)")
        if any(c.n == 1 for c in cells):
            parts.append("a single seed has no interval")
        if any(flag for line in self.lines for flag in line.is_best):
            parts.append("bold: better than every other condition (95 % interval of the paired difference over seeds)")
        if any(flag for line in self.lines for flag in line.is_greyed):
            parts.append(reason(self.study, self.measure))
        if len(self.generations) < len(self.study.generations):
            parts.append(f"{len(self.generations)} of {len(self.study.generations)} generations: tables.csv has all")
        if self.intervals:
            parts.append("in brackets after the floor: where 95 % of other splits of the same real items lie")
        if any(label.startswith(CONTROL) for label in self.baselines):
            parts.append("control: samples and reference shuffled together, mean over all rows of the study")
        return parts


def tables(study: Study, metrics: Iterable[str] | None = None) -> list[Table]:
    """Return one table per score: those against held-out images first, and the main scores first among them."""
    measures = sorted(study.measures(), key=lambda m: (m.reference != "heldout", _rank(m.metric)))
    return [table_of(study, m) for m in measures if metrics is None or m.metric in metrics]


def main_tables(study: Study) -> list[Table]:
    """Return one table per main score (`Study.primary`). These are the tables that are printed and go into a paper.

    For a study that has none of them, which is possible for points or tokens, return the tables of all scores.
    """
    main = [table_of(study, m) for name in MAIN_METRICS if (m := study.primary(name)) is not None]
    return main or tables(study)


def table_of(study: Study, measure: Measure) -> Table:
    """Return the table of one score."""
    generations = study.generations
    winners: dict[int, str | None] = {}
    for g in generations:
        values = {c.label: study.values(c, g, measure) for c in study.conditions if not is_greyed(study, c, g, measure)}
        winners[g] = best({label: v for label, v in values.items() if v}, measure.direction)
    lines = [
        Line(
            condition,
            [cell(study.values(condition, g, measure).values()) for g in generations],
            [winners[g] == condition.label for g in generations],
            len(study.chains[condition]),
            [is_greyed(study, condition, g, measure) for g in generations],
        )
        for condition in study.conditions
    ]
    floor = f"floor: real {study.kind.items}"
    label = {"real_train": floor}
    baselines = {label.get(s, f"{CONTROL}{s}"): v for s, v in study.baselines(measure).items()}
    interval = study.floor_interval(measure)
    intervals = {floor: interval} if interval and floor in baselines else {}
    return Table(study, measure, generations, lines, baselines, intervals)


def _rank(metric: str) -> int:
    return MAIN_METRICS.index(metric) if metric in MAIN_METRICS else len(MAIN_METRICS)
