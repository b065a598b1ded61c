"""The collapse profile: each condition judged by the eight meanings that "model collapse" has in the literature.

The meanings are those of Schaeffer et al. 2025 (arXiv:2503.03150).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.analysis import collapse
from bench.analysis.cells import are, two_figures
from bench.analysis.collapse import MARGIN, Growth, Interval
from bench.analysis.conditions import Condition
from bench.analysis.measures import Measure, metric_name
from bench.analysis.study import Study, relatives
from bench.analysis.verdicts import is_positive, paired_curves, reference_of

CATASTROPHIC, ANY, DIVERGING, SCALING = (
    *("catastrophic rise of risk", "any rise of risk", "asymptotically diverging risk", "change of the scaling law"),
)
VARIANCE, ENTANGLEMENT, TAILS, HALLUCINATION = (
    *("collapsing variance", "entanglement of modes", "disappearing tails", "hallucinated data"),
)
MEANINGS = (CATASTROPHIC, ANY, DIVERGING, SCALING, VARIANCE, ENTANGLEMENT, TAILS, HALLUCINATION)
YES, NO, OPEN, UNKNOWN = "yes", "no", "open", "not known"
ROUNDING = 1e-6
"""An interval whose half-width, in the displayed unit, is below this consists of floating-point rounding alone."""
NO_SPREAD = "no spread"
CATASTROPHE = 1.0
"""A rise of 100 %: the risk has doubled."""
FEWEST_SIZES = 3
PERCENT, POINTS, EXPONENT = "%", "points", "in the exponent"
RULE = (
    "Against the same seeds at ratio 0 (where there is none: the condition's own generation 0), mean of the second "
    "half of the generations, with its 95 % interval over seeds. “no”: a change for the worse by "
    f"{100 * MARGIN:.0f} % or {100 * MARGIN:.0f} points is ruled out (catastrophic: by {100 * CATASTROPHE:.0f} %; "
    f"scaling law: by {MARGIN:g} in the exponent, up or down; diverging: by the rule of the verdicts). “yes”: "
    f"otherwise, and a change is established (catastrophic: by more than {100 * CATASTROPHE:.0f} %). Any rise: “yes” "
    "if a rise is established, even of less than that. “open”: neither. “detectable”: the smallest change that 4 of 5 "
    "repetitions would have detected. There is no correction for asking eight questions."
)


@dataclass(frozen=True)
class Finding:
    """The answer for one meaning and one condition.

    answer: yes, no, open or not known. quantity: what was measured; "" if nothing was.
    unit: the unit in which the change is displayed.
    interval: the change for the worse, as a share (0.4 is 40 % or 40 points) or in the exponent; None if not known.
    detectable: the smallest change that 4 of 5 repetitions would have distinguished from none, on the scale of
        `interval`; may be infinite.
    reason: why the answer is not known.
    """

    meaning: str
    answer: str
    quantity: str = ""
    unit: str = ""
    interval: Interval | None = None
    detectable: float = math.inf
    reason: str = ""

    @property
    def ends(self) -> list[float | None]:
        """Both ends of the interval and the detectable change; None for each one that is not known or infinite."""
        known = [] if self.interval is None else [self.interval.low, self.interval.high, self.detectable]
        return [end if math.isfinite(end) else None for end in known] or [None] * 3

    @property
    def change(self) -> str:
        """The change for the worse, e.g. `+46 %`; "" if it is not known."""
        if self.interval is None:
            return ""
        return f"{self._number(self.interval.value)} {self.unit}"

    @property
    def span(self) -> str:
        """The interval of the change, e.g. `+40 to +52`. It is `no spread` if all seeds agree exactly, which happens to
        scores that move in steps, and "" if the interval is not known or infinite."""
        if self.interval is None or not math.isfinite(self.interval.high):
            return ""
        if self._half_width < ROUNDING:
            return NO_SPREAD
        return f"{self._number(self.interval.low)} to {self._number(self.interval.high)}"

    @property
    def change_with_span(self) -> str:
        """The change with its interval, e.g. `+46 % (+40 to +52)`; – if it is not known."""
        return f"{self.change} ({self.span})" if self.span else self.change or "–"

    @property
    def words(self) -> str:
        """The change with its interval and the detectable change, or the reason why it is not known."""
        if self.interval is None:
            return self.reason
        if not self.span:
            return f"{self.quantity}: {self.change}; too few seeds for an interval"
        if self.span == NO_SPREAD:
            return f"{self.quantity}: {self.change}, {NO_SPREAD} that would make an interval"
        number, _, unit = self.change.partition(" ")
        seen = two_figures(self._scale * self.detectable)
        return f"{self.quantity}: {number} ({self.span}) {unit}, detectable {seen}"

    @property
    def _scale(self) -> int:
        return 1 if self.unit == EXPONENT else 100

    @property
    def _half_width(self) -> float:
        """The half-width of the interval in the displayed unit; infinite if it is not known."""
        return math.inf if self.interval is None else self._scale * (self.interval.high - self.interval.value)

    def _number(self, value: float) -> str:
        """Format a number with more decimals the narrower its interval is, and with up to three if an end of the
        interval would otherwise be rounded to 0 and lose its sign."""
        scale, half, ends = self._scale, self._half_width, list[float]()
        if self.interval and math.isfinite(half):
            ends = [scale * self.interval.low, scale * self.interval.high]
        if half < ROUNDING:
            half = math.inf
        places = 2 if self.unit == EXPONENT or half < 0.1 else 1 if half < 1 else 0
        while places < 3 and any(end and not round(end, places) for end in ends):
            places += 1
        return f"{round(scale * value, places) + 0.0:+.{places}f}"  # adding 0 removes the sign of a rounded -0


def profile(study: Study, every: Iterable[Study]) -> dict[Condition, list[Finding]]:
    """Return condition -> one finding per meaning, in the order of `MEANINGS`.

    Args:
        study: the study whose conditions are judged.
        every: all available studies; the scaling law is fitted to those that differ in the number of training images.
    """
    every = list(every)
    return {condition: _findings(study, every, condition) for condition in study.conditions}


def _findings(study: Study, every: list[Study], condition: Condition) -> list[Finding]:
    is_text = study.primary("tail_survival") is None and study.primary("rare_survival") is not None
    return [
        *_risk(study, condition),
        _scaling(study, every, condition),
        _variance(study, condition),
        _share(study, condition, ENTANGLEMENT, "class_margin", falls=True),
        _share(study, condition, TAILS, "rare_survival" if is_text else "tail_survival", falls=True),
        _share(study, condition, HALLUCINATION, "hallucination_rate", falls=False),
    ]


def population_risk(study: Study) -> Measure | None:
    """Return the measure that stands for the population risk: the model's own loss on held-out items, or else FID.

    The loss is used only if it is positive throughout, so that a change can be stated as a share of it. None if neither
    was computed.
    """
    risk = study.total("risk")
    if risk is not None:
        values = [v for c in study.conditions for g in study.generations for v in study.values(c, g, risk).values()]
        if min(values) > 0:
            return risk
    return study.primary("fid")


def _risk(study: Study, condition: Condition) -> list[Finding]:
    """Judge the three meanings that concern the population risk."""
    measure = population_risk(study)
    names = (CATASTROPHIC, ANY, DIVERGING)
    if measure is None:
        return [Finding(name, UNKNOWN, reason="neither risk nor FID was computed") for name in names]
    found = _growth(study, condition, measure)
    if isinstance(found, str):
        return [Finding(name, UNKNOWN, reason=found) for name in names]
    quantity, word = _named(measure), collapse.classify(found)
    diverging = {collapse.DIVERGING: YES, collapse.RISING: OPEN, collapse.INCONCLUSIVE: OPEN}.get(word, NO)
    seen = found.rise.detectable
    return [
        Finding(CATASTROPHIC, _answer(found.rise, CATASTROPHE, CATASTROPHE), quantity, PERCENT, found.rise, seen),
        Finding(ANY, YES if found.rise.low > 0 else _answer(found.rise), quantity, PERCENT, found.rise, seen),
        Finding(DIVERGING, diverging, quantity, f"{PERCENT} a generation", found.rate, 2 * found.bend.detectable),
    ]


def _growth(study: Study, condition: Condition, measure: Measure) -> Growth | str:
    """Return the growth of a score over its reference, or the reason why it is not known."""
    judged = paired_curves(study, condition, measure)
    if judged is None:
        return f"fewer than three generations have {_named(measure)}"
    if not is_positive(judged):
        return f"{_named(measure)} is not above 0 throughout, so no share of it is defined"
    return collapse.growth(judged.curves, judged.reference)


def _variance(study: Study, condition: Condition) -> Finding:
    measure = study.primary("vendi") or study.primary("spread")
    if measure is None:
        return Finding(VARIANCE, UNKNOWN, reason="the Vendi score was not computed")
    found = _growth(study, condition, measure)
    if isinstance(found, str):
        return Finding(VARIANCE, UNKNOWN, reason=found)
    fall = _turned(found.rise)
    return Finding(VARIANCE, _answer(fall), f"loss of {_named(measure)}", PERCENT, fall, fall.detectable)


def _share(study: Study, condition: Condition, meaning: str, metric: str, falls: bool) -> Finding:
    """Judge a meaning by a score between 0 and 1. Of several labelled attributes, the one with most classes is used.

    Args:
        study: the study of the condition.
        condition: the condition to judge.
        meaning: the meaning to judge.
        metric: the name of the score.
        falls: whether a lower score is worse.
    """
    measure = _of_most_classes(study, metric)
    if measure is None:
        return Finding(meaning, UNKNOWN, reason=f"{metric_name(metric)} was not computed")
    judged = paired_curves(study, condition, measure)
    if judged is None:
        return Finding(meaning, UNKNOWN, reason=f"fewer than three generations have {_named(measure)}")
    found = collapse.shift(judged.curves, judged.reference)
    found = _turned(found) if falls else found
    quantity = f"loss of {_named(measure)}" if falls else _named(measure)
    return Finding(meaning, _answer(found), quantity, POINTS, found, found.detectable)


def _of_most_classes(study: Study, metric: str) -> Measure | None:
    """Return the measure of the attribute with most classes; among equals, the first in the ledger. This choice does
    not depend on the outcome, and if classes are few, even the rare ones are too common to be lost."""
    labelled = [s for row in study.rows for s in row.scores if "counts" in s and "attribute" in s["parameters"]]
    num_classes = {score["parameters"]["attribute"]: len(score["counts"]) for score in labelled}
    measures = [m for m in study.measures(metric) if m.reference == "heldout"]
    return max(measures, key=lambda m: num_classes.get(m.attribute, 0), default=study.primary(metric))


def _scaling(study: Study, every: list[Study], condition: Condition) -> Finding:
    """Judge whether the score falls more slowly with the number of training images n than at ratio 0.

    For each seed, b is the least-squares slope of log score against log n at the last generation that all have. The
    finding is the mean over seeds of b minus the same seed's b at ratio 0. A change in either direction counts; a
    positive one is for the worse.
    """
    measure, base = population_risk(study), reference_of(study, condition)
    if measure is None:
        return Finding(SCALING, UNKNOWN, reason="neither risk nor FID was computed")
    sizes = _sizes(study, every, {condition} if base is None else {condition, base})
    if len(sizes) < FEWEST_SIZES:
        reason = f"a law needs {FEWEST_SIZES} numbers of training items (data.num_train), and there {are(len(sizes))}"
        return Finding(SCALING, UNKNOWN, reason=reason)
    if base is None:
        return Finding(SCALING, UNKNOWN, reason="ratio 0 is what others are compared with")
    last = min(one.last_of(c) for one in sizes.values() for c in (condition, base))
    values = [[one.values(c, last, measure) for one in sizes.values()] for c in (condition, base)]
    seeds = sorted(set.intersection(*(set(v) for line in values for v in line)))
    if not seeds or min(v[s] for line in values for v in line for s in seeds) <= 0:
        return Finding(SCALING, UNKNOWN, reason=f"no seed has {_named(measure)} at every number of items")
    x = np.log(list(sizes)) - np.log(list(sizes)).mean()
    logs = np.log([[[v[s] for v in line] for s in seeds] for line in values])
    slopes = logs @ x / (x @ x)
    found = collapse.mean_over_seeds(slopes[0] - slopes[1])
    is_small, is_sure = max(-found.low, found.high) < MARGIN, found.low > 0 or found.high < 0
    answer = NO if is_small else YES if is_sure else OPEN
    return Finding(SCALING, answer, f"{_named(measure)} against n", EXPONENT, found, found.detectable)


def _sizes(study: Study, every: list[Study], conditions: set[Condition]) -> dict[int, Study]:
    """Return number of real images in generation 0, ascending -> the study that has these conditions at that number."""
    alike = relatives(study, every, "data.num_train", free=("num_samples",)).values()
    sizes = {one.rows[0].composition["num_real"]: one for one in alike if conditions <= set(one.conditions)}
    return dict(sorted(sizes.items()))


def _answer(change: Interval, above: float = 0.0, below: float = MARGIN) -> str:
    """Return `no` for a change that is established to be smaller than `below`, even if it is also established to be
    larger than `above`, as `collapse.classify` does."""
    return NO if change.high < below else YES if change.low > above else OPEN


def _turned(interval: Interval) -> Interval:
    return replace(interval, value=-interval.value, low=-interval.high, high=-interval.low)


def _named(measure: Measure) -> str:
    by = f" by {measure.attribute}" if measure.attribute else ""
    return f"{metric_name(measure.metric)}{by}"


def described(findings: list[Finding]) -> list[dict[str, Any]]:
    """Return findings ready for JSON: shares instead of per cent, and null for what is not known or infinite."""
    return [
        {
            "meaning": found.meaning,
            "answer": found.answer,
            "quantity": found.quantity,
            "unit": found.unit.replace(PERCENT, "share").replace(POINTS, "share"),
            "change": None if found.interval is None else found.interval.value,
            **dict(zip(("low_95", "high_95", "detectable"), found.ends, strict=True)),
            "reason": found.reason,
        }
        for found in findings
    ]
