"""What became of each condition, in words; the rule is that of `bench.analysis.collapse`."""

import math
from dataclasses import dataclass

from bench.analysis import collapse
from bench.analysis.cells import cell, digits
from bench.analysis.collapse import CriticalRatio, Rate
from bench.analysis.study import Condition, Measure, Study

RULE = (
    "Rule: a line is fitted to log FID over the generations of each seed. “stable”: the 95 % interval of its slope "
    f"rules out growth of {math.exp(collapse.MARGIN) - 1:.0%} a generation or more. “collapsed”: it does not, and the "
    "interval lies above zero. “inconclusive”: neither; more seeds or generations may tell. Three generations at least."
)
KINDS = {collapse.COLLAPSED: "worse", collapse.STABLE: "better", collapse.INCONCLUSIVE: "open"}
SHORTEST = 3


@dataclass(frozen=True)
class Verdict:
    """kind: worse, better or open; badge: a word or two; words: a sentence with the numbers."""

    kind: str
    badge: str
    words: str


def rate(study: Study, condition: Condition) -> Rate | None:
    """Slope of log FID, from the generations that all seeds of the condition have; None where they are too few."""
    fid = study.primary("fid")
    if fid is None:
        return None
    curves = _curves(study, condition, fid)
    if not curves or len(curves[0]) < SHORTEST or min(map(min, curves)) <= 0:
        return None
    return collapse.log_slope(curves)


def _curves(study: Study, condition: Condition, measure: Measure) -> list[list[float]]:
    """Per seed the values of generations 0, 1, … as far as all seeds have them."""
    curves: list[dict[int, float]] = []
    for generation in study.generations:
        values = study.values(condition, generation, measure)
        if set(values) != set(study.chains[condition]) or generation != len(curves):
            break
        curves.append(values)
    return [[at[seed] for at in curves] for seed in study.chains[condition]] if curves else []


def verdict(study: Study, condition: Condition) -> Verdict:
    """By `RULE`, from the main feature space and reference of the study."""
    found = rate(study, condition)
    last = study.last_of(condition)
    moved = [_moved(study, condition, name, last) for name in ("fid", "precision", "recall")]
    words = [word for word in moved if word]
    if found is None:
        return Verdict("open", "too short", "; ".join(words) or "no FID")
    factors = [math.exp(v) for v in (found.slope, found.low, found.high)]
    words.insert(1, "×{:.2f} a generation ({:.2f} to {:.2f})".format(*factors))
    if found.num_seeds == 1:
        words.append("one seed")
    word = collapse.verdict(found)
    return Verdict(KINDS[word], word, "; ".join(words))


def _moved(study: Study, condition: Condition, metric: str, last: int) -> str:
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
    """Where collapse begins to be established; None unless the conditions are ratios, two at least with a rate."""
    if not study.by_ratio:
        return None
    rates = {c.ratio: found for c in study.conditions if (found := rate(study, c)) is not None and c.ratio is not None}
    return collapse.critical_ratio(rates) if len(rates) > 1 else None


def critical_words(found: CriticalRatio | None) -> str:
    """A sentence; "" where there is nothing to say."""
    if found is None:
        return ""
    if found.ratio is not None:
        between = "" if found.low is None else f" (95 % interval {found.low:.2f} to {found.high:.2f})"
        return f"Collapse is established from a synthetic ratio of {found.ratio:.2f} on{between}."
    if found.always:
        return "Collapse is established at every ratio that was run."
    return "No ratio was found from which on collapse is established."


def summary(study: Study) -> str:
    """What was run and what came of it, in a few sentences."""
    verdicts = {c.label: verdict(study, c).badge for c in study.conditions}
    row = study.rows()[0]
    size = row.config.get("data", {}).get("resolution")
    noun = ("synthetic ratio", "synthetic ratios") if study.by_ratio else ("mixing policy", "mixing policies")
    count = f"One {noun[0]}" if len(verdicts) == 1 else f"{len(verdicts)} {noun[1]}"
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


def markdown(study: Study) -> str:
    """Verdicts as lines for the printed report, with the critical ratio below."""
    lines = [f"- **{c.label}** {v.badge}: {v.words}" for c in study.conditions for v in (verdict(study, c),)]
    words = critical_words(critical(study))
    return "\n".join(["", *lines, *(["", words] if words else []), ""])
