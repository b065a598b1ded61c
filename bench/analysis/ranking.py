"""Compare remedies: each arm of a study by its differences from its baseline, paired by seed, and by what it spends."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from bench.analysis import collapse
from bench.analysis.conditions import RULES, Condition
from bench.analysis.measures import Measure
from bench.analysis.spending import Spending, spending
from bench.analysis.study import Study
from bench.analysis.uncertainty import Paired, compare_paired
from bench.analysis.verdicts import is_positive, paired_curves

COVERAGE, KID, RISK, RATE = "coverage", "KID", "excess risk", "rate of FID"
HIGHER_IS_BETTER = (COVERAGE,)
RULE = (
    "Each arm minus its baseline in the last generation that both have, paired over common seeds, with the 95 % "
    "interval of the mean (paired t, without correction for the number of arms). “better” and “worse”: the interval "
    "excludes 0. Excess risk: the loss on held-out items; the loss of the truth cancels in the difference. Rate of "
    "FID: growth per generation from the first half to the second, in percentage points of the same seed's FID at "
    "ratio 0 (without it: of generation 0). Rank: the mean of the ranks in these columns, 1 is best; an order within "
    "the intervals is noise. Real items: trained on, or held for a vetting rule (for its threshold or to train it), "
    "each once. Network evaluations: to draw samples. A chain is charged for everything that it uses, even if another "
    "chain computed it, but not for the first mover of a detector."
)

BySeed = dict[int, float]


@dataclass(frozen=True)
class Arm:
    """One arm against its baseline.

    differences: quantity -> arm minus baseline, for the quantities that both have. spent: what the arm spends.
    rank: the mean of the arm's ranks among baseline and arms; None if there is no quantity to rank by.
    """

    condition: Condition
    differences: dict[str, Paired]
    spent: Spending
    rank: float | None = None

    def is_better(self, quantity: str) -> bool | None:
        """Return whether the arm is established to be better (True) or worse (False) than its baseline; None if the
        interval contains 0, or if there is a single seed and so no interval."""
        ends = self.differences[quantity].difference
        if ends.low is None or ends.high is None or ends.low <= 0 <= ends.high:
            return None
        return (ends.mean > 0) == (quantity in HIGHER_IS_BETTER)


@dataclass(frozen=True)
class Ranking:
    """The arms of one baseline, best first. spent: what the baseline spends. quantities: those that all arms have."""

    baseline: Condition
    spent: Spending
    quantities: list[str]
    arms: list[Arm]


def rankings(study: Study) -> list[Ranking]:
    """Return a ranking for each baseline of an arm with a selection, vetting, watermark or remedy."""
    baselines = _baselines(study)
    against = {condition: _baseline_of(condition, baselines) for condition in study.conditions}
    return [_ranked(study, baseline, [c for c, b in against.items() if b == baseline]) for baseline in baselines]


def _baselines(study: Study) -> list[Condition]:
    """Return the baselines: the plain blends and replacements with samples whose mixing is shared by an arm with a
    rule."""
    shared = [_mixing(c) for c in study.conditions if not c.is_plain]
    plain = (c for c in study.conditions if c.is_plain and c.policy in ("blend", "replace") and c.ratio)
    return [c for c in plain if _mixing(c) in shared]


def _mixing(condition: Condition) -> tuple[str, str]:
    """Return a condition's policy and parameters without its rules."""
    given = {k: v for k, v in json.loads(condition.parameters).items() if k not in RULES}
    return condition.policy, json.dumps(given, sort_keys=True)


def _baseline_of(condition: Condition, baselines: list[Condition]) -> Condition | None:
    """Return the baseline that an arm is compared with, or None.

    An arm with a rule has the baseline of its mixing, or none. A plain arm has the baseline of its ratio, or else that
    of the highest ratio. Baselines themselves, ratio 0 and `real_only` are not arms and have none.
    """
    if not baselines or condition in baselines or condition.ratio == 0 or condition.policy == "real_only":
        return None
    same = [b for b in baselines if _mixing(b) == _mixing(condition)]
    if not condition.is_plain:
        return same[0] if same else None
    alike = [b for b in baselines if b.ratio == condition.ratio]
    return alike[0] if alike else max(baselines, key=lambda b: b.ratio or 0)


def _ranked(study: Study, baseline: Condition, conditions: list[Condition]) -> Ranking:
    arms = [Arm(c, _differences(study, c, baseline), _spent(study, c)) for c in conditions]
    names = (COVERAGE, KID, RISK, RATE)
    quantities = [name for name in names if all(name in arm.differences for arm in arms)]
    places = {id(arm): [_place(arm, arms, name) for name in quantities] for arm in arms}
    ranked = [
        Arm(arm.condition, arm.differences, arm.spent, sum(places[id(arm)]) / len(quantities) if quantities else None)
        for arm in arms
    ]
    return Ranking(baseline, _spent(study, baseline), quantities, sorted(ranked, key=lambda arm: arm.rank or 0))


def _place(arm: Arm, arms: list[Arm], quantity: str) -> int:
    """Return the rank of an arm among all arms and their baseline, whose difference is 0."""
    sign = -1 if quantity in HIGHER_IS_BETTER else 1
    values = [0.0, *(sign * other.differences[quantity].difference.mean for other in arms)]
    return 1 + sum(value < sign * arm.differences[quantity].difference.mean for value in values)


def _differences(study: Study, arm: Condition, baseline: Condition) -> dict[str, Paired]:
    last = min(study.last_of(arm), study.last_of(baseline))

    def final(measure: Measure | None) -> Callable[[Condition], BySeed]:
        return lambda condition: study.values(condition, last, measure) if measure else {}

    risk = study.total("excess_risk") or study.total("risk")
    quantities: dict[str, Callable[[Condition], BySeed]] = {
        COVERAGE: final(study.primary("coverage")),
        KID: final(study.primary("kid")),
        RISK: final(risk),
        RATE: lambda condition: _rates(study, condition, last + 1),
    }
    found = {name: (of(arm), of(baseline)) for name, of in quantities.items()}
    return {name: compare_paired(a, b) for name, (a, b) in found.items() if a.keys() & b.keys()}


def _rates(study: Study, condition: Condition, num_generations: int) -> BySeed:
    """Return seed -> growth of FID per generation, in percentage points; {} if FID is missing, not positive or too
    short."""
    fid = study.primary("fid")
    judged = paired_curves(study, condition, fid, num_generations) if fid else None
    if judged is None or not is_positive(judged):
        return {}
    return {s: 100 * r for s, r in zip(judged.seeds, collapse.rates(judged.curves, judged.reference), strict=True)}


def _spent(study: Study, condition: Condition) -> Spending:
    """Return what a condition's longest chain spent, up to the last generation that all chains of the study have."""
    return spending([row for row in study.longest(condition).rows if row.generation <= study.last_common])
