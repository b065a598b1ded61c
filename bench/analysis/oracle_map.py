"""The oracle map: the outcome of a chain at each pair of error rates, which shows how good a detector must be."""

from dataclasses import dataclass, replace
from statistics import median

from bench.analysis.conditions import Condition, condition_of
from bench.analysis.measures import Measure
from bench.analysis.study import Study
from bench.analysis.verdicts import is_positive, paired_curves, verdict
from bench.ledger import Row

ORACLE = "oracle"


@dataclass(frozen=True)
class Point:
    """One condition of the map.

    rates: TPR and FPR of the oracle; None without vetting.
    generation: the last one that all seeds of the condition have.
    drawn, trained_on: synthetic share of that generation's composition, before and after vetting; medians over seeds.
    expected: the share after vetting by Bayes' rule, without refill; None if nothing would be left.
    badge: the badge of the condition's verdict.
    change: FID divided by that of the reference, minus 1, at the last generation that both have; median over seeds.
        None if there is no FID, or too little of it for a verdict.
    against: the reference of `change`, `ratio 0` or `generation 0`; "" without a change.
    """

    condition: Condition
    rates: tuple[float, float] | None
    generation: int
    drawn: float
    trained_on: float
    expected: float | None
    badge: str
    change: float | None
    against: str
    num_seeds: int


@dataclass(frozen=True)
class Panel:
    """Conditions that differ only in the error rates of their oracle.

    title: what they have in common. points: (TPR, FPR) -> point.
    unvetted: the point of the same condition without vetting; None if it was not run.
    """

    title: str
    points: dict[tuple[float, float], Point]
    unvetted: Point | None


def oracle_map(study: Study) -> list[Panel]:
    """Return the panels of a study, in the order of its conditions; [] if no condition has an oracle."""
    found: dict[tuple[Condition, bool], dict[tuple[float, float], Point]] = {}
    for condition in study.conditions:
        row = study.longest(condition).rows[-1]
        rule = row.config.get("vetting", {})
        if rule.get("name") == ORACLE:
            rates = rule["true_positive_rate"], rule["false_positive_rate"]
            plain = condition_of(replace(row, config={**row.config, "vetting": {}}))
            found.setdefault((plain, bool(rule.get("refill"))), {})[rates] = _point(study, condition, rates)
    return [
        Panel(
            title=_title(plain) + (", refilled" if refill else ""),
            points=dict(sorted(points.items())),
            unvetted=_point(study, plain, None) if plain in study.chains else None,
        )
        for (plain, refill), points in found.items()
    ]


def effective_ratio(drawn: float, true_positive_rate: float, false_positive_rate: float) -> float | None:
    """Return the expected synthetic share that remains of a drawn share after vetting (Bayes' rule), or None if vetting
    leaves nothing."""
    synthetic, real = drawn * (1 - true_positive_rate), (1 - drawn) * (1 - false_positive_rate)
    return synthetic / (synthetic + real) if synthetic + real else None


def _title(plain: Condition) -> str:
    is_ratio = plain.ratio is not None and plain.label == f"{plain.ratio:.2f}"
    return f"synthetic ratio {plain.label}" if is_ratio else plain.label


def _point(study: Study, condition: Condition, rates: tuple[float, float] | None) -> Point:
    generation = study.last_of(condition)
    rows = [row for chain in study.chains[condition].values() for row in chain.rows if row.generation == generation]
    drawn = median(row.composition["synthetic_ratio"] for row in rows)
    change, against = _change(study, condition, study.primary("fid"))
    return Point(
        condition=condition,
        rates=rates,
        generation=generation,
        drawn=drawn,
        trained_on=median(_trained_on(row) for row in rows),
        expected=effective_ratio(drawn, *(rates or (0.0, 0.0))),
        badge=verdict(study, condition).badge,
        change=change,
        against=against,
        num_seeds=len(rows),
    )


def _trained_on(row: Row) -> float:
    return float(row.vetting["effective_ratio"] if row.vetting else row.composition["synthetic_ratio"])


def _change(study: Study, condition: Condition, fid: Measure | None) -> tuple[float | None, str]:
    """Return the `change` and `against` of a point."""
    judged = None if fid is None else paired_curves(study, condition, fid)
    if judged is None or not is_positive(judged):
        return None, ""
    if judged.reference is None:
        return median(line[-1] / line[0] - 1 for line in judged.curves), "generation 0"
    pairs = zip(judged.curves, judged.reference, strict=True)
    return median(line[-1] / base[-1] - 1 for line, base in pairs), "ratio 0"
