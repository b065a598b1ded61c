"""Verdicts: classify each condition as stable, bounded, rising, diverging or inconclusive.

`bench.analysis.collapse` defines the rule.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any

from bench.analysis import collapse
from bench.analysis.cells import cell, digits
from bench.analysis.collapse import CriticalRatio, Growth, Interval
from bench.analysis.conditions import Condition, free_keys
from bench.analysis.measures import MAIN_METRICS, Measure, metric_name
from bench.analysis.off_manifold import is_greyed
from bench.analysis.setting import resolution_of
from bench.analysis.study import Study

MARGIN = f"{100 * collapse.MARGIN:.0f} %"
RULE = (
    "Rule: each seed's FID (of text: the perplexity of held-out text) is divided by that of the same seed at ratio 0 "
    "(where there is none: by its own generation 0), and 95 % intervals over seeds decide. “stable”: a rise of "
    f"{MARGIN} or more in the second half of the generations is ruled out. Otherwise a rise must be established, and "
    "is “diverging” where from the first half to the second it surely goes on at more than half the pace of a straight "
    "line, “bounded” where it surely does not, and “rising” where that is open. “inconclusive”: no rise is "
    "established, and none of that size is ruled out; more seeds or generations may decide."
)
KINDS = {
    collapse.DIVERGING: "worse",
    collapse.RISING: "worse",
    collapse.BOUNDED: "level",
    collapse.STABLE: "better",
    collapse.INCONCLUSIVE: "open",
}
SHORTEST = 3
MOST_LISTED = 12
"""Maximum number of conditions that the summary names; if there are more, it only counts them."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a condition.

    kind: worse, level, better or open. badge: one or two words. words: the numbers behind the badge.
    numbers: what the badge was derived from, for the results card; {} if there was too little for a verdict.
    """

    kind: str
    badge: str
    words: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """The curves that a verdict is computed from, one per seed. reference: the curves of ratio 0, or None."""

    seeds: list[int]
    curves: list[list[float]]
    reference: list[list[float]] | None


def judged_score(study: Study) -> Measure | None:
    """Return the score that verdicts are based on: the perplexity of held-out text if it is known, as in the literature
    on language models (arXiv:2305.17493), else FID; None if neither was computed."""
    return study.total("perplexity") or study.primary("fid")


def _judged(
    study: Study, condition: Condition, num_generations: int | None = None, measure: Measure | None = None
) -> Judged | None:
    """Return the curves that a verdict is computed from; None if there are none, or they are too short or not positive.

    Args:
        study: the study of the condition.
        condition: the condition to judge.
        num_generations: the most generations to read; None: as many as all of the seeds have.
        measure: the score to read; None: the score that verdicts are based on.
    """
    score = measure or judged_score(study)
    found = None if score is None else paired_curves(study, condition, score, num_generations)
    return found if found is not None and is_positive(found) else None


def paired_curves(
    study: Study, condition: Condition, measure: Measure, num_generations: int | None = None
) -> Judged | None:
    """Return the curves of a score with those of ratio 0; None if they have fewer than three generations.

    Seeds are paired with ratio 0 if it has at least three of the condition's seeds, or all of them. Otherwise there is
    no reference.

    Args:
        study: the study of the condition.
        condition: the condition to judge.
        measure: the score to read.
        num_generations: the most generations to read; None: as many as all of the seeds have.
    """
    seeds = list(study.chains[condition])
    base = reference_of(study, condition)
    if base is not None:
        common = [seed for seed in seeds if seed in study.chains[base]]
        if common and (len(common) == len(seeds) or len(common) >= collapse.FEWEST_SEEDS):
            seeds = common
        else:
            base = None
    tables = [_values(study, c, seeds, measure) for c in (condition, base) if c is not None]
    length = min([len(table) for table in tables] + ([] if num_generations is None else [num_generations]))
    if length < SHORTEST:
        return None
    curves = [[[table[g][seed] for g in range(length)] for seed in seeds] for table in tables]
    return Judged(seeds, curves[0], curves[1] if base is not None else None)


def is_positive(judged: Judged) -> bool:
    """Return whether all values are above 0, so that shares of them are defined."""
    return min(v for line in [*judged.curves, *(judged.reference or [])] for v in line) > 0


def reference_of(study: Study, condition: Condition) -> Condition | None:
    """Return the condition at ratio 0, without rules and with the same free keys, that a condition is paired with.

    None if the study has none, and for that condition itself, which is compared with its own generation 0.
    """
    free = free_keys(study.rows[0])
    own = json.loads(condition.parameters)
    plain = (
        c
        for c in study.conditions
        if c.ratio == 0 and c.is_plain and all(json.loads(c.parameters).get(key) == own.get(key) for key in free)
    )
    found = next(plain, None)
    return None if found == condition else found


def _values(study: Study, condition: Condition, seeds: list[int], measure: Measure) -> list[dict[int, float]]:
    """Return seed -> value for each generation 0, 1, …, up to the last one that all of `seeds` have."""
    table: list[dict[int, float]] = []
    for generation in study.generations:
        values = study.values(condition, generation, measure)
        if not set(seeds) <= set(values) or generation != len(table):
            break
        table.append(values)
    return table


def growth(study: Study, condition: Condition) -> Growth | None:
    """Return the growth of the judged score up to the last generation of all seeds; None if there is no verdict."""
    judged = _judged(study, condition)
    return None if judged is None else collapse.growth(judged.curves, judged.reference)


def verdict(study: Study, condition: Condition) -> Verdict:
    """Judge a condition by `RULE`, in the main feature space and reference of the study."""
    last = study.last_of(condition)
    score = judged_score(study)
    others = [metric for metric in MAIN_METRICS if score is None or metric != score.metric]
    changes = [_change(study, condition, metric, last) for metric in ([score.metric] if score else []) + others]
    words = [change for change in changes if change]
    judged = _judged(study, condition)
    if judged is None:
        missing = [] if score else ["no FID"]
        return Verdict("open", "not judged" if missing else "too short", "; ".join(missing + words))
    found = collapse.growth(judged.curves, judged.reference)
    word = collapse.classify(found)
    words[1:1] = _behind(found, word)
    if found.num_seeds == 1:
        words.append("one seed")
    numbers = {
        "score": score.metric if score else "",
        "against": "ratio 0" if found.paired else "generation 0",
        "seeds": judged.seeds,
        "num_generations": found.num_generations,
        **{name: _ends(getattr(found, name)) for name in ("rise", "rate", "bend")},
    }
    return Verdict(KINDS[word], word, "; ".join(words), numbers)


def _ends(interval: Interval) -> list[float | None]:
    """Return value, low and high, ready for JSON: None for an end that is not finite."""
    return [v if math.isfinite(v) else None for v in (interval.value, interval.low, interval.high)]


def _behind(found: Growth, word: str) -> list[str]:
    """Return the numbers behind a badge: the rise, and the rate or what could have been detected."""
    base = "ratio 0" if found.paired else "its own generation 0"
    last = found.num_generations - 1
    where = f"generation {last}" if found.first == last else f"generations {found.first} to {last}"
    parts = [f"{percent(found.rise)} against {base} in {where}"]
    if word in (collapse.DIVERGING, collapse.BOUNDED):
        parts.append(f"{percent(found.rate)} a generation from the first half to the second")
    if word == collapse.RISING:
        line = f"a straight line of {200 * found.bend.detectable:.0f} % a generation"
        parts.append(f"whether it levels off is open; smallest that 4 of 5 repetitions would have detected: {line}")
    if word == collapse.INCONCLUSIVE:
        seen = found.rise.detectable, 2 * found.bend.detectable
        if not all(map(math.isfinite, seen)):
            parts.append("too few seeds and generations for an interval")
        else:
            parts.append(
                f"smallest that 4 of 5 repetitions would have detected: a rise of {100 * seen[0]:.0f} %, a straight "
                f"line of {100 * seen[1]:.0f} % a generation"
            )
    if found.num_seeds < collapse.FEWEST_SEEDS and math.isfinite(found.rise.high):
        parts.append("interval from the scatter within chains, not between seeds")
    return parts


def percent(interval: Interval) -> str:
    """Return e.g. `+46 % (+40 to +52)`, or `+0.031 % (+0.020 to +0.042)` if whole numbers would all be 0; without a
    bracket if there is no interval."""
    numbers = [100 * v for v in (interval.value, interval.low, interval.high)]
    most = max(abs(v) for v in numbers if math.isfinite(v))
    places = min(4, 1 - math.floor(math.log10(most))) if 0 < most < 0.5 else 0
    value, low, high = (round(v, places) + 0.0 for v in numbers)  # no minus before 0
    return f"{value:+.{places}f} %" + (f" ({low:+.{places}f} to {high:+.{places}f})" if math.isfinite(high) else "")


def _change(study: Study, condition: Condition, metric: str, last: int) -> str:
    """Return how a score changed up to generation `last`, e.g. `FID 120 → 480`; "" if it was not computed."""
    measure = study.primary(metric)
    if measure is None:
        return ""
    start, end = (cell(study.values(condition, g, measure).values()) for g in (0, last))
    if not start or not end:
        return ""
    places = digits([start.mean, end.mean])
    shown = [
        f"({c.mean:.{places}f})" if is_greyed(study, condition, g, measure) else f"{c.mean:.{places}f}"
        for g, c in ((0, start), (last, end))
    ]
    return f"{metric_name(metric)} {' → '.join(shown if last else shown[:1])}"


def levels(study: Study, condition: Condition, measure: Measure) -> str:
    """Return a score at generation 0 and at the last one that all seeds have, `0.05 → 0.27`; "" if one is not known."""
    found = [cell(study.values(condition, g, measure).values()) for g in (0, study.last_of(condition))]
    means = [one.mean for one in found if one is not None]
    return " → ".join(f"{mean:.{digits([mean])}f}" for mean in means) if len(means) == 2 else ""


def critical(study: Study, measure: Measure | None = None) -> CriticalRatio | None:
    """Return the ratio from which on conditions rise by the margin of the verdicts or more, in their score or another.

    All ratios are compared over the generations that all of their chains have. If a study has other arms as well, only
    the ratios of the policy that has a ratio of 0 are used. None unless the rise is known at two or more ratios.
    """
    base = next((b for c in study.conditions if (b := reference_of(study, c)) is not None), None)
    family = [c for c in study.conditions if study.by_ratio or (base is not None and c.family == base.family)]
    last = min((study.last_of(c) for c in family), default=0)
    rises: dict[float, dict[int, float]] = {}
    for condition in family:
        judged = _judged(study, condition, last + 1, measure)
        if judged is not None and condition.ratio is not None:
            alone = any(reference_of(study, other) == condition for other in study.conditions)
            reference = judged.curves if alone else judged.reference
            rises[condition.ratio] = dict(zip(judged.seeds, collapse.rises(judged.curves, reference), strict=True))
    return collapse.critical_ratio(rises) if len(rises) > 1 else None


def critical_words(study: Study) -> str:
    """Return the critical ratio as a sentence, together with that of other scores, because it depends on the score; ""
    if there is none to report."""
    score, found = judged_score(study), critical(study)
    if score is None or found is None:
        return ""
    said = _critical_words(found, f"The rise of {metric_name(score.metric)}")
    others = {name: critical(study, measure) for name, measure in _other_scores(study, score).items()}
    known = [
        f"{name} from {other.ratio:.2f} ({other.low:.2f} to {other.high:.2f})"
        for name, other in others.items()
        if other is not None and other.ratio is not None
    ]
    return said + (f" Of other scores: {', '.join(known)}." if known and not found.refused else "")


def _other_scores(study: Study, score: Measure) -> dict[str, Measure]:
    """Return name in a sentence -> measure, for KID, risk, and FID in other feature spaces."""
    fids = [m for m in study.measures("fid") if m.reference == "heldout" and m.feature_space != score.feature_space]
    found = {"KID": study.primary("kid"), "risk": study.total("risk")}
    found |= {f"FID in {measure.feature_space}": measure for measure in fids}
    return {name: measure for name, measure in found.items() if measure is not None}


def _critical_words(found: CriticalRatio, rise: str) -> str:
    if found.refused:
        return f"No critical ratio: {found.refused}."
    if found.ratio is not None:
        return (
            f"{rise} passes {MARGIN} from a synthetic ratio of {found.ratio:.2f} on "
            f"(95 % interval {found.low:.2f} to {found.high:.2f})."
        )
    where = "is above {} at every ratio" if found.always else "does not pass {} at the highest ratio"
    return f"{rise} {where.format(MARGIN)} that was run."


def summary(study: Study) -> str:
    """Return what was run and what the verdicts are, in a few sentences."""
    verdicts = {c.label: verdict(study, c).badge for c in study.conditions}
    row = study.rows[0]
    size = resolution_of(row)
    plural = "synthetic ratios" if study.by_ratio else "mixing policies"
    if not all(c.is_plain for c in study.conditions):
        plural = "conditions"
    count = f"One {study.axis}" if len(verdicts) == 1 else f"{len(verdicts)} {plural}"
    generations = f"{len(study.generations)} generation{'s' if len(study.generations) > 1 else ''}"
    seeds = f"{len(study.seeds)} seed{'s' if len(study.seeds) > 1 else ''}"
    text = f"{count}, {generations}, {seeds}: {row.generator} on {row.dataset}" + (f" at {size} px." if size else ".")
    for word in KINDS:
        labels = [label for label, badge in verdicts.items() if badge == word]
        if labels:
            text += f" {word.capitalize()}: {_listed(labels) if len(verdicts) <= MOST_LISTED else len(labels)}."
    return f"{text} {critical_words(study)}".strip()


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
