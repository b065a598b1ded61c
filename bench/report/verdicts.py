"""What became of each condition, in words: a rule that anybody can check, never more than the seeds allow."""

import math
from dataclasses import dataclass

from bench.report.cells import cell, digits
from bench.report.study import Condition, Measure, Study

RULE = (
    "Verdict: the change of FID from generation 0 to the last generation that all chains have, as a ratio within each "
    "seed. “degrades” or “improves” where the 95 % interval of its mean logarithm over seeds leaves out no change; "
    "else “no clear change”, which is no proof of stability: more generations or seeds may show one. A single seed "
    "allows no verdict."
)


@dataclass(frozen=True)
class Verdict:
    """kind: worse, better or open; badge: two words; words: a sentence with the numbers."""

    kind: str
    badge: str
    words: str


def verdict(study: Study, condition: Condition) -> Verdict:
    """By `RULE`, from the first feature space of the study."""
    measures = study.measures("fid")
    last = study.last_common
    if not measures or last < 1:
        return Verdict("open", "too short", "A verdict needs FID at generation 0 and at a later one.")
    fid = measures[0]
    first, final = study.values(condition, 0, fid), study.values(condition, last, fid)
    seeds = sorted(first.keys() & final.keys())
    if not seeds or min(*first.values(), *final.values()) <= 0:
        return Verdict("open", "not known", f"FID at generations 0 and {last} is not there, or is zero.")
    change = cell([math.log(final[s] / first[s]) for s in seeds])
    assert change is not None
    words = [_moved("FID", study, condition, fid, last) + f" (×{math.exp(change.mean):.2f}"]
    if change.half_width is None:
        words[0] += ", one seed)"
        kind, badge = "open", "one seed"
    else:
        low, high = change.mean - change.half_width, change.mean + change.half_width
        words[0] += f", interval {math.exp(low):.2f} to {math.exp(high):.2f})"
        kind, badge = "open", "no clear change"
        if low > 0:
            kind, badge = "worse", "degrades"
        elif high < 0:
            kind, badge = "better", "improves"
    for name in ("precision", "recall"):
        words += [_moved(name, study, condition, m, last) for m in study.measures(name) if _same_place(m, fid)][:1]
    return Verdict(kind, badge, "; ".join(words))


def _moved(name: str, study: Study, condition: Condition, measure: Measure, last: int) -> str:
    start, end = (cell(study.values(condition, g, measure).values()) for g in (0, last))
    if not start or not end:
        return f"{name} not known"
    places = digits([start.mean, end.mean])
    return f"{name} {start.mean:.{places}f} → {end.mean:.{places}f}"


def _same_place(a: Measure, b: Measure) -> bool:
    return (a.feature_space, a.reference, a.num_subject) == (b.feature_space, b.reference, b.num_subject)


def summary(study: Study) -> str:
    """One or two sentences on the whole study."""
    verdicts = [verdict(study, c) for c in study.conditions]
    row = study.rows()[0]
    size = row.config.get("data", {}).get("resolution")
    noun = ("synthetic ratio", "synthetic ratios") if study.by_ratio else ("mixing policy", "mixing policies")
    count = f"One {noun[0]}" if len(verdicts) == 1 else f"{len(verdicts)} {noun[1]}"
    generations = f"{len(study.generations)} generation{'s' if len(study.generations) > 1 else ''}"
    seeds = f"{len(study.seeds)} seed{'s' if len(study.seeds) > 1 else ''}"
    text = f"{count}, {generations}, {seeds}: {row.generator} on {row.dataset}" + (f" at {size} px." if size else ".")
    worse = [c.label for c, v in zip(study.conditions, verdicts, strict=True) if v.kind == "worse"]
    if worse:
        text += f" Quality is lost over the generations at {_listed(worse)}."
    elif all(v.badge == "no clear change" for v in verdicts):
        text += " No clear change over the generations."
    return text


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
