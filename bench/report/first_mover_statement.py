"""The first mover's advantage: the loss of a chain that begins later, with samples of an earlier one in its data."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.analysis.conditions import Condition
from bench.analysis.measures import Measure, metric_name
from bench.analysis.plain_text import number
from bench.analysis.study import Study
from bench.analysis.uncertainty import Summary, compare_paired, summarise
from bench.report.statements import Statement

METRICS = ("fid", "coverage", "risk")
LEGEND = (
    "Generation 0 of a newcomer against truly real held-out items, beside generation 0 of the chains of the same seeds "
    "that began with real items alone. Difference: newcomer − first mover, mean over the seeds that both have, with "
    "its 95 % interval. Samples: the share of what the newcomer took for real, before any vetting. Risk: the models' "
    "own loss on the held-out items."
)


@dataclass(frozen=True)
class Advantage:
    """One score of generation 0 of a newcomer and of the first mover, as means over common seeds.

    difference: Newcomer minus first mover, paired by seed.
    """

    condition: Condition
    measure: Measure
    first_mover: float
    newcomer: float
    difference: Summary


def advantages(study: Study) -> list[Advantage]:
    """Return the advantage for each condition that joins an earlier chain and each score; conditions without a common
    seed with a first mover are left out."""
    found = []
    for condition in (c for c in study.conditions if c.joined):
        for measure in (m for m in map(study.total, METRICS) if m):
            late = study.values(condition, 0, measure)
            first = {
                seed: value
                for other in study.conditions
                if other.is_plain
                for seed, value in study.values(other, 0, measure).items()
            }
            common = late.keys() & first.keys()
            if common:
                before, after = (summarise([values[seed] for seed in common]).mean for values in (first, late))
                found.append(Advantage(condition, measure, before, after, compare_paired(late, first).difference))
    return found


def first_mover(study: Study) -> Iterator[Statement]:
    """Yield one statement if chains of the study join an earlier one."""
    found = advantages(study)
    if not found:
        return
    measure = found[0].measure
    yield Statement(
        title="First mover’s advantage",
        about=f"generation 0 of newcomers beside the first mover's · {measure.feature_space} · {measure.sizes}",
        head=["condition", "begins after", "samples", "score", "first mover", "newcomer", "difference", "seeds"],
        rows=[
            [
                one.condition.label,
                f"generation {one.condition.joined['generation']}",
                f"{100 * one.condition.joined['ratio']:.0f} %",
                metric_name(one.measure.metric),
                number(one.first_mover),
                number(one.newcomer),
                _words(one.difference),
                str(one.difference.n),
            ]
            for one in found
        ],
        legend=[LEGEND],
        records=[
            {
                "statement": "first mover's advantage",
                "condition": one.condition.label,
                "generation": one.condition.joined["generation"],
                "metric": one.measure.metric,
                "quantity": "newcomer − first mover, generation 0",
                "value": one.difference.mean,
                "low_95": one.difference.low,
                "high_95": one.difference.high,
                "num_seeds": one.difference.n,
            }
            for one in found
        ],
    )


def _words(difference: Summary) -> str:
    sign = "+" if difference.mean > 0 else ""
    if difference.low is None or difference.high is None:
        return f"{sign}{number(difference.mean)}"
    return f"{sign}{number(difference.mean)} ({number(difference.low)} to {number(difference.high)})"
