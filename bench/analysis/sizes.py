"""Sizes of network and data side by side: how far each leaves its own ratio 0, and whether larger ones resist."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.analysis import collapse
from bench.analysis.collapse import Interval
from bench.analysis.collapse_profile import PERCENT, POINTS
from bench.analysis.conditions import Condition, details
from bench.analysis.measures import metric_name
from bench.analysis.setting import shown_setting
from bench.analysis.study import Study
from bench.analysis.verdicts import Judged, is_positive, judged_score, paired_curves, reference_of

SIZE_KEYS = (
    *("data.content", "data.num_train", "num_samples", "generator.training.num_steps"),
    *("generator.training.num_epochs", "retrain_steps", "retrain_epochs"),
)
NETWORK = "generator.unet."
"""Beginning of the keys that make a network larger."""
SAME_COMPUTE = 0.05
"""Parameters times steps of two chains whose compute counts as equal differ by less than this share. Within one
architecture the FLOPs of a step follow the parameters: to 2 % from 41 thousand to 2.5 million of `sizes_mini_v1`."""
FEWEST_SIZES = 3
EQUAL_STEPS, EQUAL_COMPUTE, ITEMS = "network, at equal steps", "network, at equal compute", "data, at equal steps"
COVERAGE, RISE = "coverage", "rise of "
RULE = (
    "Each size against itself at ratio 0, in the same seeds, mean of the second half of the generations, with 95 % "
    "intervals over seeds. A larger network begins with better scores: the same damage is then a larger share of them, "
    "and a size that is bad from the start has little coverage to lose. Trend: least-squares slope against log2 of the "
    "size in each seed, and the mean of the slopes."
)


@dataclass(frozen=True)
class Size:
    """One size: a condition of a study. parameters: of the network. steps: optimiser steps of generation 0, and of the
    next one. items: real items. changes: quantity -> seed -> change for the worse against ratio 0, as a share."""

    study: Study
    condition: Condition
    parameters: int
    steps: tuple[int, int]
    items: int
    changes: dict[str, dict[int, float]]

    @property
    def compute(self) -> tuple[int, int]:
        """Parameters times steps, of generation 0 and of the next one: equal networks for equal compute."""
        return self.parameters * self.steps[0], self.parameters * self.steps[1]

    def change(self, quantity: str) -> Interval | None:
        """Return the mean change of a quantity over seeds; None where it is not known."""
        found = self.changes.get(quantity)
        return collapse.mean_over_seeds(np.array(list(found.values()))) if found else None


@dataclass(frozen=True)
class Sizes:
    """Sizes that differ in one thing.

    what: in which, and what is equal. arm: their mixing. of: the varying size, ascending -> which. trends: quantity ->
    by how much its change changes with each doubling; only of three sizes and three seeds or more.
    """

    what: str
    arm: str
    of: dict[int, Size]
    trends: dict[str, Interval]

    @property
    def quantities(self) -> list[str]:
        """What is known of all sizes."""
        first, *others = self.of.values()
        return [q for q in first.changes if all(q in other.changes for other in others)]


def sizes(study: Study, every: Iterable[Study]) -> list[Sizes]:
    """Return every comparison of sizes that a study is the first member of.

    Args:
        study: the chains.
        every: all studies at hand; those that differ from it in sizes alone are looked at.
    """
    rest = _rest(study)
    relatives = [one for one in every if _rest(one) == rest]
    members = [found for one in relatives for c in one.conditions if (found := _size(one, c)) is not None]
    return [
        Sizes(what, arm, of, _trends(of))
        for what, arm, of in _groups(members)
        if next(one for one in relatives if any(size.study is one for size in of.values())) is study
    ]


def _rest(study: Study) -> dict[str, Any]:
    """Return the setting of a study without what makes network or data larger."""
    setting = shown_setting(study.rows[0], with_defaults=True)
    return {key: value for key, value in setting.items() if not _is_size(key)}


def _is_size(key: str) -> bool:
    """Return whether sizes may differ in a key of the configuration."""
    return key in SIZE_KEYS or key.startswith(NETWORK)


def _size(study: Study, condition: Condition) -> Size | None:
    """Return the size of a condition; None for one that nothing at ratio 0 is beside, or that has a rule."""
    chain = study.longest(condition)
    if not condition.is_plain or reference_of(study, condition) is None or len(chain.rows) < 2:
        return None
    first, second = (row.train for row in chain.rows[:2])
    if not all(facts.get(name) for facts in (first, second) for name in ("num_parameters", "num_steps")):
        return None  # a generator that takes no steps, or has no network
    steps, items = (first["num_steps"], second["num_steps"]), chain.rows[0].composition["num_real"]
    return Size(study, condition, first["num_parameters"], steps, items, _changes(study, condition))


def _changes(study: Study, condition: Condition) -> dict[str, dict[int, float]]:
    """Return quantity -> seed -> change for the worse: rises as shares of ratio 0, and the coverage that is lost."""
    changes = {}
    for measure in (judged_score(study), study.total("risk")):
        judged = None if measure is None else paired_curves(study, condition, measure)
        if measure is not None and judged is not None and judged.reference is not None and is_positive(judged):
            changes[f"{RISE}{metric_name(measure.metric)}"] = _by_seed(
                judged, collapse.rises(judged.curves, judged.reference)
            )
    measure = study.primary(COVERAGE)
    judged = None if measure is None else paired_curves(study, condition, measure)
    if judged is not None and judged.reference is not None:
        lost = [-value for value in collapse.shifts(judged.curves, judged.reference)]
        changes[f"loss of {COVERAGE}"] = _by_seed(judged, lost)
    return changes


def _by_seed(judged: Judged, values: list[float]) -> dict[int, float]:
    return dict(zip(judged.seeds, values, strict=True))


def _groups(members: list[Size]) -> Iterable[tuple[str, str, dict[int, Size]]]:
    """Yield what differs, the arm, and varying size -> member, for all members that differ in one size alone."""
    compute = _clusters(members)
    kinds: dict[str, tuple[Callable[[Size], Any], Callable[[Size], int]]] = {
        EQUAL_STEPS: (lambda size: (size.items, size.steps), lambda size: size.parameters),
        EQUAL_COMPUTE: (lambda size: (size.items, compute[size.compute]), lambda size: size.parameters),
        ITEMS: (lambda size: (size.parameters, size.steps), lambda size: size.items),
    }
    for what, (equal, varying) in kinds.items():
        groups: dict[Any, list[Size]] = {}
        for size in members:
            groups.setdefault((_arm(size.condition), equal(size)), []).append(size)
        for (arm, _), group in groups.items():
            of = {varying(size): size for size in sorted(group, key=varying)}
            several_steps = len({size.steps for size in group}) > 1
            if len(of) > 1 and len(of) == len(group) and several_steps == (what == EQUAL_COMPUTE):
                yield what, arm, of


def _clusters(members: list[Size]) -> dict[tuple[int, int], int]:
    """Return compute -> the number of a cluster of equal compute."""
    found: dict[tuple[int, int], int] = {}
    number, last = 0, (0, 0)
    for compute in sorted({size.compute for size in members}):
        if any(now > (1 + SAME_COMPUTE) * before for now, before in zip(compute, last, strict=True)):
            number += 1
        found[compute], last = number, compute
    return found


def _arm(condition: Condition) -> str:
    """Return what an arm is called whatever its size."""
    own = {k: v for k, v in json.loads(condition.parameters).items() if not _is_size(k)}
    if condition.policy == "blend" and condition.ratio is not None and own.get("real_part", "redrawn") == "redrawn":
        return f"{condition.ratio:.2f}" + details({k: own[k] for k in own if k not in ("synthetic_ratio", "real_part")})
    return condition.policy.replace("_", " ") + details(own)


def _trends(of: Mapping[int, Size]) -> dict[str, Interval]:
    """Return quantity -> the slope of its change against log2 of the size, as a mean over the seeds of all sizes."""
    found = {}
    x = np.log2(list(of)) - np.log2(list(of)).mean()
    for quantity in dict.fromkeys(q for size in of.values() for q in size.changes):
        tables = [size.changes.get(quantity, {}) for size in of.values()]
        seeds = sorted(set.intersection(*map(set, tables)))
        if len(of) >= FEWEST_SIZES and len(seeds) >= collapse.FEWEST_SEEDS:
            y = np.array([[table[seed] for table in tables] for seed in seeds])
            found[quantity] = collapse.mean_over_seeds(y @ x / (x @ x))
    return found


def unit_of(quantity: str) -> str:
    """Return the unit that a change is shown in: % for a share of ratio 0, points for a difference of shares."""
    return PERCENT if quantity.startswith(RISE) else POINTS


def trend_words(found: Sizes, quantity: str) -> str:
    """Return e.g. `Each doubling changes the rise of FID by -12 points (-20 to -4): with more items less is lost`."""
    trend, larger = found.trends[quantity], "more items" if found.what == ITEMS else "larger networks"
    value, low, high = (100 * v for v in (trend.value, trend.low, trend.high))
    places = 0 if high - value >= 1 or high == value else min(4, -math.floor(math.log10(high - value)))
    said = f"with {larger} less is lost" if high < 0 else f"with {larger} more is lost" if low > 0 else "open"
    span = f"{value:+.{places}f} points ({low:+.{places}f} to {high:+.{places}f})"
    return f"Each doubling changes the {quantity} by {span}: {said}"
