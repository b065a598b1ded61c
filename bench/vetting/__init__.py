"""Vetting: choose which items of a composition are dropped after it is drawn. One file per rule; `none` drops nothing.

A rule offers `Config` (a `VettingRuleConfig`), `VERSION`, `CITATION` and `keep(unvetted, **parameters)`, which returns
bool (N,) or a `Decision`. A rule does not know which items are synthetic, unless its module states `NEEDS = ("truth",)`
like the oracle. A rule may offer `num_kept(num_real, num_synthetic, **parameters)`, if that number can be predicted;
then a chain for which the rule keeps too few items is refused before training. A user-defined rule is one function:
`vetting=custom vetting.function=my_module:keep`.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np

from bench import registry
from bench.composition import Composition, Part, PoolRef
from bench.config import VettingConfig
from bench.errors import ConfigError, DataError
from bench.kinds import Items
from bench.pool import REAL, Pool
from bench.registry import Rule
from bench.vetting.shared.decision import Decision, facts
from bench.vetting.shared.features import Features
from bench.vetting.shared.past import Past

log = logging.getLogger(__name__)


__all__ = [
    "Decision",
    "Past",
    "Unvetted",
    "apply",
    "decide",
    "facts",
    "needs",
    "num_calibration",
    "resolve",
    "unused_rows",
]

LEAST_KEPT = 2
"""Smallest number of items in a training set, the same as the lower bound of `data.num_train`."""


@dataclass(frozen=True, eq=False)
class Unvetted:
    """The input of a rule. Fields from `is_synthetic` on are None unless the rule's module requests them in `NEEDS`.

    Attributes:
        items: The N items of the composition, in a random order, which does not reveal their origin.
        real: The real pool that the chain may train on.
        rng: The generator for everything that the rule draws.
        is_synthetic: bool (N,), which items are samples; requested by "truth".
        calibration: `num_calibration` real items from the end of the reserve, which the chain does not train on.
        past: The chain so far.
        features: Features of the items, of the calibration items, and of samples to learn from. None for generation 0,
            which trains only on real items, unless the chain is a newcomer.
    """

    items: Items
    real: Pool
    rng: np.random.Generator
    is_synthetic: np.ndarray | None = None
    calibration: Items | None = None
    past: Past | None = None
    features: Features | None = None


def resolve(config: VettingConfig) -> Rule | None:
    """Return the rule that `config` names; None for `none`. Raises `ConfigError` if there is no such function or it
    does not take these parameters."""
    return None if config.name == registry.NONE else registry.rule("vetting", config, "keep", ("refill",))


def check_enough(config: VettingConfig, generation: int, drawn: Composition, real: PoolRef) -> None:
    """Raise `ConfigError` if it is known before the chain starts that the rule keeps too few items of a composition.

    Args:
        config: The configuration of the rule.
        generation: The generation that trains on the composition.
        drawn: The composition.
        real: The real pool, from which dropped items may be refilled.
    """
    rule = resolve(config)
    if rule is None or config.name == registry.CUSTOM or not hasattr(rule.module, "num_kept"):
        return
    left = rule.module.num_kept(drawn.num_real, drawn.num_synthetic, **rule.parameters)
    refill = len(unused_rows(drawn, real, len(drawn), seed=0)) if getattr(config, "refill", False) else 0
    if left + refill < LEAST_KEPT:
        raise ConfigError(
            "vetting",
            {"name": rule.name, **rule.parameters},
            f"generation {generation} draws {drawn.num_real} real items and {drawn.num_synthetic} samples, of which "
            f"{left:g} would be left: at least {LEAST_KEPT} are needed",
        )


def check_undrawn(config: VettingConfig, generation: int, drawn: Composition, num_samples: int) -> None:
    """Raise `ConfigError` if it is known before the chain starts that the composition of `generation` leaves no samples
    of the previous generation for a detector that is trained on undrawn samples. num_samples: The number of samples of
    each generation."""
    rows = [part.rows for part in drawn.parts if part.pool.generation == generation - 1 != REAL]
    if getattr(config, "refit", False) and rows and len(np.unique(np.concatenate(rows))) >= num_samples:
        raise ConfigError(
            "vetting.refit",
            True,
            f"trains on samples of the last generation that were not drawn, and generation {generation} draws all "
            f"{num_samples}: set a larger num_samples, or refit=false",
        )


def needs(rule: Rule | None) -> tuple[str, ...]:
    """Return which of truth, calibration, past and features a rule needs; () without a rule."""
    return registry.needs(rule, "vetting")


def num_calibration(rule: Rule | None) -> int:
    """Return how many real items from the end of the reserve a rule uses for calibration: its parameter
    `num_calibration`, or 0 if it needs none. Raises `ConfigError` for a user-defined rule that needs calibration items
    without this parameter."""
    if rule is None or "calibration" not in needs(rule):
        return 0
    if "num_calibration" not in rule.parameters:
        raise ConfigError(
            "vetting.parameters",
            rule.parameters,
            f"{rule.name} needs num_calibration, the number of real items for its threshold",
        )
    return int(rule.parameters["num_calibration"])


class Reordered:
    """Items in another order; only the items that are requested are copied."""

    def __init__(self, items: Items, order: np.ndarray) -> None:
        """Create a view of `items`. order: int64 (N,), the row of each item of the view."""
        self._items, self._order = items, order
        self.shape, self.dtype = items.shape, items.dtype

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        return self._items[self._order[rows]]


def decide(
    rule: Rule,
    composition: Composition,
    pools: dict[str, Pool],
    real: Pool,
    seed: int,
    calibration: Items | None = None,
    past: Past | None = None,
    features: Features | None = None,
) -> Decision:
    """Return a rule's decision on a composition, in the order of `composition.items`.

    Args:
        rule: A rule from `resolve`.
        composition: The composition that the mixing policy drew.
        pools: The pools that the composition was drawn from, by id.
        real: The real pool that the chain may train on.
        seed: The seed of the order in which the rule sees the items, and of everything that the rule draws.
        calibration: Real items that the chain does not train on, for a rule that needs them.
        past: The chain so far, for a rule that needs it.
        features: Features of the items, in the order of the composition, and of the items that a detector learns from,
            for a rule that needs them.

    Raises:
        DataError: The rule does not return a valid decision on N items.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(composition))
    truth = (composition.births(pools) != REAL)[order] if "truth" in needs(rule) else None
    if features is not None:
        features = replace(features, of_items=features.of_items[order])
    given = rule(Unvetted(Reordered(composition.items(pools), order), real, rng, truth, calibration, past, features))
    decision = given if isinstance(given, Decision) else Decision(np.asarray(given))
    wrong = decision.mistake(len(order))
    if wrong:
        raise DataError(f"vetting {rule.name} returned {wrong}")
    return decision.take(np.argsort(order))


def apply(rule: Rule, drawn: Composition, decision: Decision, real: PoolRef, refill_seed: int | None) -> Composition:
    """Return the composition to train on after a decision. With a `refill_seed`, undrawn real items replace the dropped
    items; a warning is logged if there are too few. Raises `DataError` if fewer than `LEAST_KEPT` items are left."""
    parts = [*drawn.kept(decision.kept).parts] if decision.kept.any() else []
    num_dropped = len(drawn) - int(decision.kept.sum())
    if refill_seed is not None and num_dropped:
        rows = unused_rows(drawn, real, num_dropped, refill_seed)
        if len(rows) < num_dropped:
            log.warning("vetting %s: %d items dropped, %d unused real ones", rule.name, num_dropped, len(rows))
        parts.append(Part(real, rows))
    left = sum(len(part.rows) for part in parts)
    if left < LEAST_KEPT:
        raise DataError(
            f"vetting {rule.name} dropped {num_dropped} of the {len(drawn)} items of the composition: "
            f"{left} are left, and at least {LEAST_KEPT} are needed"
        )
    return Composition(tuple(parts))


def unused_rows(drawn: Composition, real: PoolRef, num: int, seed: int) -> np.ndarray:
    """Return `num` rows of the real pool that a composition did not draw, or all of these if there are fewer: int64
    (n,), sorted, drawn without replacement from `seed`."""
    used = [part.rows for part in drawn.parts if part.pool.id == real.id]
    unused = np.setdiff1d(np.arange(real.num_items, dtype=np.int64), np.concatenate([*used, np.empty(0, np.int64)]))
    return np.sort(np.random.default_rng(seed).permutation(unused)[:num])
