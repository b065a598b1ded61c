"""Compare sizes of network and data: how far each leaves its own ratio 0, and whether larger ones resist collapse."""

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
from bench.analysis.study import Study
from bench.analysis.verdicts import is_positive, judged_score, paired_curves, reference_of

SIZE_KEYS = (
    *("data.content", "data.num_train", "num_samples", "generator.training.num_steps"),
    *("generator.training.num_epochs", "retrain_steps", "retrain_epochs"),
)
NETWORK = "generator.unet."
"""Prefix of the keys that determine the size of the network."""
SAME_COMPUTE = 0.05
"""Compute, i.e. parameters times steps, counts as equal if it differs by at most this share. Within one architecture,
the FLOPs of a step are proportional to the parameters, to within 2 % from the 41 thousand to the 2.5 million of
`sizes_mini_v1`."""
FEWEST_SIZES = 3
EQUAL_STEPS, EQUAL_COMPUTE, ITEMS = "network, at equal steps", "network, at equal compute", "data, at equal steps"
COVERAGE = "coverage"
RULE = (
    "Each size against itself at ratio 0, in the same seeds, mean of the second half of the generations, with 95 % "
    "intervals over seeds. If a size begins with better scores, the same damage is a larger share of them, and one "
    "that is bad from the start has little coverage to lose. Trend: least-squares slope against log2 of the "
    "size in each seed, and the mean of the slopes; as shares of ratio 0 and in the score's own unit, because only a "
    "conclusion that both support does not depend on the scale."
)


@dataclass(frozen=True)
class Size:
    """One size: a condition of a study.

    parameters: the number of the network's parameters. items: the number of real items.
    steps: optimiser steps of generation 0 and of generation 1.
    changes: quantity -> seed -> change for the worse against ratio 0, on the displayed scale: as a share of ratio 0, or
        for coverage as a difference.
    rescaled: the same on the other of these two scales; without coverage if that is 0 at ratio 0.
    """

    study: Study
    condition: Condition
    parameters: int
    steps: tuple[int, int]
    items: int
    changes: dict[str, dict[int, float]]
    rescaled: dict[str, dict[int, float]]

    @property
    def compute(self) -> tuple[int, int]:
        """Parameters times steps, of generation 0 and of generation 1; two sizes of equal compute agree in both."""
        return self.parameters * self.steps[0], self.parameters * self.steps[1]

    def change(self, quantity: str) -> Interval | None:
        """Return the mean change of a quantity over seeds, or None if it is not known."""
        found = self.changes.get(quantity)
        if not found:
            return None
        mean = collapse.mean_over_seeds(np.array(list(found.values())))
        return collapse.cut(mean) if quantity.startswith("rise of") else mean


@dataclass(frozen=True)
class Sizes:
    """Sizes that differ in one respect only.

    what: what varies, and what is equal. arm: the name of the mixing that all share.
    of: the varying number, ascending -> the size that has it.
    trends: quantity -> how much its change differs with each doubling; only for at least three sizes and three seeds.
    rescaled: the same trends on the other scale.
    """

    what: str
    arm: str
    of: dict[int, Size]
    trends: dict[str, Interval]
    rescaled: dict[str, Interval]

    @property
    def quantities(self) -> list[str]:
        """The quantities that are known of all sizes."""
        first, *others = self.of.values()
        return [q for q in first.changes if all(q in other.changes for other in others)]


def sizes(study: Study, every: Iterable[Study]) -> list[Sizes]:
    """Return every comparison of sizes whose first member is in this study.

    Args:
        study: the study.
        every: all available studies; those that differ from `study` only in sizes are compared.
    """
    rest = _rest(study)
    relatives = [one for one in every if _rest(one) == rest]
    members = [found for one in relatives for c in one.conditions if (found := _size(one, c)) is not None]
    return [
        Sizes(
            *(what, arm, of),
            trends=_trends({x: size.changes for x, size in of.items()}),
            rescaled=_trends({x: size.rescaled for x, size in of.items()}),
        )
        for what, arm, of in _groups(members)
        if next(one for one in relatives if any(size.study is one for size in of.values())) is study
    ]


def _rest(study: Study) -> dict[str, Any]:
    """Return the setting of a study without the keys that determine the size of network or data."""
    return {key: value for key, value in study.full_setting.items() if not _is_size(key)}


def _is_size(key: str) -> bool:
    """Return whether a key of the configuration may differ between sizes."""
    return key in SIZE_KEYS or key.startswith(NETWORK)


def _size(study: Study, condition: Condition) -> Size | None:
    """Return the size of a condition. None if it has a rule, no ratio 0 to compare with or only one generation, or if
    its numbers of parameters or steps are not known."""
    chain = study.longest(condition)
    if not condition.is_plain or reference_of(study, condition) is None or len(chain.rows) < 2:
        return None
    first, second = (row.train for row in chain.rows[:2])
    if not all(facts.get(name) for facts in (first, second) for name in ("num_parameters", "num_steps")):
        return None  # a generator that takes no steps, or has no network
    steps, items = (first["num_steps"], second["num_steps"]), chain.rows[0].composition["num_real"]
    return Size(study, condition, first["num_parameters"], steps, items, *_changes(study, condition))


def _changes(study: Study, condition: Condition) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, float]]]:
    """Return quantity -> seed -> change for the worse, on the displayed scale and on the other."""
    changes, rescaled = {}, {}
    measures = [judged_score(study), study.total("risk"), study.primary("vendi"), study.primary(COVERAGE)]
    for measure in [m for m in measures if m is not None]:
        judged = paired_curves(study, condition, measure)
        if judged is None or judged.reference is None:
            continue
        sign, word = (1, "rise of") if measure.direction == "down" else (-1, "loss of")
        quantity = f"{word} {metric_name(measure.metric)}"
        difference = sign * np.array(collapse.shifts(judged.curves, judged.reference))
        if measure.metric == COVERAGE:  # it may be 0 in a generation, so only its mean is divided by
            zeros = [[0.0] * len(curve) for curve in judged.reference]
            kept = np.array(collapse.shifts(judged.reference, zeros))
            shown, other = difference, difference / kept if (kept > 0).all() else None
        elif is_positive(judged):
            shown, other = sign * np.array(collapse.rises(judged.curves, judged.reference)), difference
        else:
            continue
        changes[quantity] = dict(zip(judged.seeds, shown.tolist(), strict=True))
        if other is not None:
            rescaled[quantity] = dict(zip(judged.seeds, other.tolist(), strict=True))
    return changes, rescaled


def _groups(members: list[Size]) -> Iterable[tuple[str, str, dict[int, Size]]]:
    """Yield (what varies, arm, varying number -> member) for each group of members that differ in one size only."""
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
    """Return compute -> index of its cluster. All compute of a cluster is equal to that of its first member."""
    found: dict[tuple[int, int], int] = {}
    firsts: list[tuple[int, int]] = []
    for compute in sorted({size.compute for size in members}):
        alike = [i for i, first in enumerate(firsts) if _is_same(compute, first)]
        if not alike:
            firsts.append(compute)
        found[compute] = alike[0] if alike else len(firsts) - 1
    return found


def _is_same(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return all(max(a, b) <= (1 + SAME_COMPUTE) * min(a, b) for a, b in zip(one, other, strict=True))


def _arm(condition: Condition) -> str:
    """Return the name of a condition's arm, which does not depend on the size."""
    own = {k: v for k, v in json.loads(condition.parameters).items() if not _is_size(k)}
    if condition.policy == "blend" and condition.ratio is not None and own.get("real_part", "redrawn") == "redrawn":
        return f"{condition.ratio:.2f}" + details({k: own[k] for k in own if k not in ("synthetic_ratio", "real_part")})
    return condition.policy.replace("_", " ") + details(own)


def _trends(of: Mapping[int, dict[str, dict[int, float]]]) -> dict[str, Interval]:
    """Return quantity -> slope of its change against log2 of the size, as a mean over the seeds that all sizes have."""
    found = {}
    x = np.log2(list(of)) - np.log2(list(of)).mean()
    for quantity in dict.fromkeys(q for changes in of.values() for q in changes):
        tables = [changes.get(quantity, {}) for changes in of.values()]
        seeds = sorted(set.intersection(*map(set, tables)))
        if len(of) >= FEWEST_SIZES and len(seeds) >= collapse.FEWEST_SEEDS:
            y = np.array([[table[seed] for table in tables] for seed in seeds])
            found[quantity] = collapse.mean_over_seeds(y @ x / (x @ x))
    return found


def unit_of(quantity: str) -> str:
    """Return the unit that a change is displayed in: % for a share of ratio 0, points for a difference in coverage."""
    return POINTS if COVERAGE in quantity else PERCENT


def trend_words(found: Sizes, quantity: str) -> str:
    """Return e.g. `Each doubling changes the rise of FID by -12 points (-20 to -4), in FID itself by -9 (-15 to -3):
    with more items FID rises less`. That conclusion is drawn only if both scales agree."""
    trend, other = found.trends[quantity], found.rescaled.get(quantity)
    if other is None:
        return (
            f"Each doubling changes the {quantity} by {_span(trend, 100, ' points')}: open, because some sizes lack it "
            "at ratio 0"
        )
    also = f"in {quantity.partition(' of ')[2]} itself by {_span(other, 1)}"
    if unit_of(quantity) == POINTS:
        also = f"as a share of ratio 0's by {_span(other, 100, ' points')}"
    larger = "more items" if found.what == ITEMS else "larger networks"
    signs = {0 if one.low <= 0 <= one.high else 1 if one.low > 0 else -1 for one in (trend, other)}
    said = "relative and absolute change disagree" if signs == {-1, 1} else "open"
    if signs in ({-1}, {1}):
        more = "more" if signs == {1} else "less"
        verb, _, what = quantity.partition(" of ")
        said = f"with {larger} {what} rises {more}" if verb == "rise" else f"with {larger} {more} {what} is lost"
    return f"Each doubling changes the {quantity} by {_span(trend, 100, ' points')}, {also}: {said}"


def _span(trend: Interval, scale: int, unit: str = "") -> str:
    """Return a trend with its interval, with as many decimals as its half-width, or an end near 0, requires."""
    numbers = value, low, high = [scale * v for v in (trend.value, trend.low, trend.high)]
    places = 0 if high - value >= 1 or high == value else min(4, -math.floor(math.log10(high - value)))
    while places < 4 and any(number and not round(number, places) for number in numbers):
        places += 1
    return f"{value:+.{places}f}{unit} ({low:+.{places}f} to {high:+.{places}f})"
