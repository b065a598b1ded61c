"""Verdicts: what became of each condition, in words. `bench.analysis.collapse` defines the rule."""

import math
from dataclasses import dataclass

from bench.analysis import collapse
from bench.analysis.cells import cell, digits
from bench.analysis.collapse import CriticalRatio, Rate
from bench.analysis.conditions import Condition
from bench.analysis.measures import MAIN_METRICS, Measure
from bench.analysis.setting import resolution_of
from bench.analysis.study import Study

RULE = (
    "Rule: a line is fitted to log FID over the generations of each seed. “stable”: the 95 % interval of its slope "
    f"rules out growth of {100 * (math.exp(collapse.MARGIN) - 1):.0f} % per generation or more. “collapsed”: it does "
    "not, and the interval lies above zero. “inconclusive”: neither; more seeds or generations may decide. At least "
    "three generations are needed."
)
KINDS = {collapse.COLLAPSED: "worse", collapse.STABLE: "better", collapse.INCONCLUSIVE: "open"}
SHORTEST = 3


@dataclass(frozen=True)
class Verdict:
    """kind: worse, better or open; badge: one or two words; words: the numbers behind the badge."""

    kind: str
    badge: str
    words: str


def rate(study: Study, condition: Condition) -> Rate | None:
    """Return the slope of log FID over the generations that all seeds have; None where these are too few."""
    fid = study.primary("fid")
    if fid is None:
        return None
    curves = _curves(study, condition, fid)
    if not curves or len(curves[0]) < SHORTEST or min(map(min, curves)) <= 0:
        return None
    return collapse.log_slope(curves)


def _curves(study: Study, condition: Condition, measure: Measure) -> list[list[float]]:
    """Return for each seed the values of generations 0, 1, … up to the last one that all seeds have."""
    curves: list[dict[int, float]] = []
    for generation in study.generations:
        values = study.values(condition, generation, measure)
        if set(values) != set(study.chains[condition]) or generation != len(curves):
            break
        curves.append(values)
    return [[values[seed] for values in curves] for seed in study.chains[condition]] if curves else []


def verdict(study: Study, condition: Condition) -> Verdict:
    """Judge a condition by `RULE`, in the main feature space and reference of the study."""
    fitted = rate(study, condition)
    last = study.last_of(condition)
    changes = [_change(study, condition, metric, last) for metric in MAIN_METRICS]
    words = [change for change in changes if change]
    if fitted is None:
        return Verdict("open", "too short", "; ".join(words) or "no FID")
    factors = [math.exp(v) for v in (fitted.slope, fitted.low, fitted.high)]
    words.insert(1, "×{:.2f} a generation ({:.2f} to {:.2f})".format(*factors))
    if fitted.num_seeds == 1:
        words.append("one seed")
    word = collapse.classify(fitted)
    return Verdict(KINDS[word], word, "; ".join(words))


def _change(study: Study, condition: Condition, metric: str, last: int) -> str:
    """Return how a score changed up to generation `last`, e.g. `FID 120 → 480`; "" where it was not computed."""
    measure = study.primary(metric)
    if measure is None:
        return ""
    start, end = (cell(study.values(condition, g, measure).values()) for g in (0, last))
    if not start or not end:
        return ""
    places = digits([start.mean, end.mean])
    name = "FID" if metric == "fid" else metric
    if last == 0:
        return f"{name} {start.mean:.{places}f}"
    return f"{name} {start.mean:.{places}f} → {end.mean:.{places}f}"


def critical(study: Study) -> CriticalRatio | None:
    """Return the ratio from which on collapse is established.

    None unless the conditions are ratios and at least two of them have a rate.
    """
    if not study.by_ratio:
        return None
    fitted = {c.ratio: rate(study, c) for c in study.conditions}
    rates = {ratio: r for ratio, r in fitted.items() if r is not None and ratio is not None}
    return collapse.critical_ratio(rates) if len(rates) > 1 else None


def critical_words(critical_ratio: CriticalRatio | None) -> str:
    """Return the critical ratio as a sentence; "" where there is none to report."""
    if critical_ratio is None:
        return ""
    if critical_ratio.ratio is not None:
        low, high = critical_ratio.low, critical_ratio.high
        between = "" if low is None or high is None else f" (95 % interval {low:.2f} to {high:.2f})"
        return f"Collapse is established from a synthetic ratio of {critical_ratio.ratio:.2f} on{between}."
    if critical_ratio.always:
        return "Collapse is established at every ratio that was run."
    return "Collapse is not established at the highest ratio that was run."


def summary(study: Study) -> str:
    """Return what was run and what the verdicts are, in a few sentences."""
    verdicts = {c.label: verdict(study, c).badge for c in study.conditions}
    row = study.rows[0]
    size = resolution_of(row)
    plural = "synthetic ratios" if study.by_ratio else "mixing policies"
    count = f"One {study.axis}" if len(verdicts) == 1 else f"{len(verdicts)} {plural}"
    generations = f"{len(study.generations)} generation{'s' if len(study.generations) > 1 else ''}"
    seeds = f"{len(study.seeds)} seed{'s' if len(study.seeds) > 1 else ''}"
    text = f"{count}, {generations}, {seeds}: {row.generator} on {row.dataset}" + (f" at {size} px." if size else ".")
    for word in (collapse.COLLAPSED, collapse.STABLE, collapse.INCONCLUSIVE):
        labels = [label for label, badge in verdicts.items() if badge == word]
        if labels:
            text += f" {word.capitalize()}: {_listed(labels)}."
    return f"{text} {critical_words(critical(study))}".strip()


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
