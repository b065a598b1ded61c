"""Vetting: which items of a composition are dropped after it is drawn. One file per rule; `none` drops nothing.

A rule offers `Config` (a `VettingRuleConfig`), `VERSION`, `CITATION` and `keep(unvetted, **parameters)`, which returns
bool (N,) or a `Decision`. It is not told which items are synthetic, unless its module states `NEEDS = ("truth",)`, as
an oracle does. `num_kept(num_real, num_synthetic, **parameters)`, where it can be known, lets a rule that leaves too
few items be refused before training. A rule of your own is one function: `vetting=custom
vetting.function=my_module:keep`.
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
"""Items without which nothing can be trained, as `data.num_train` has it."""


@dataclass(frozen=True, eq=False)
class Unvetted:
    """What a rule sees. items: the N items of the composition, in a random order, which tells nothing about where they
    come from. real: the real pool that the chain may train on. rng: for everything that the rule draws.

    For a rule that states it in its `NEEDS`, else None: is_synthetic ("truth"), bool (N,); calibration, real items that
    no chain trains on, `num_calibration` from the end of the reserve; past, what the chain has made so far; features,
    of items, calibration and samples to learn from (None for generation 0, which trains on real items only, unless the
    chain is a newcomer).
    """

    items: Items
    real: Pool
    rng: np.random.Generator
    is_synthetic: np.ndarray | None = None
    calibration: Items | None = None
    past: Past | None = None
    features: Features | None = None


def resolve(config: VettingConfig) -> Rule | None:
    """Return the rule that `config` names; None for `none`. Raises `ConfigError` where there is no such function or it
    does not take such parameters."""
    return None if config.name == registry.NONE else registry.rule("vetting", config, "keep", ("refill",))


def check_enough(config: VettingConfig, generation: int, drawn: Composition, real: PoolRef) -> None:
    """Raise `ConfigError` where it is known before a chain starts that a rule leaves too few items of a composition."""
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
    """Raise `ConfigError` where it is known before a chain starts that no samples of the last generation are left for a
    detector that is trained on them."""
    rows = [part.rows for part in drawn.parts if part.pool.generation == generation - 1 != REAL]
    if getattr(config, "refit", False) and rows and len(np.unique(np.concatenate(rows))) >= num_samples:
        raise ConfigError(
            "vetting.refit",
            True,
            f"trains on samples of the last generation that were not drawn, and generation {generation} draws all "
            f"{num_samples}: set a larger num_samples, or refit=false",
        )


def needs(rule: Rule | None) -> tuple[str, ...]:
    """Return what a rule has to be told, of truth, calibration, past and features; nothing without a rule."""
    return registry.needs(rule, "vetting")


def num_calibration(rule: Rule | None) -> int:
    """Return how many real items, from the end of the reserve, a rule calibrates itself on: its parameter of that name.
    Raises `ConfigError` for a rule of one's own that needs them and does not say how many."""
    if rule is None or "calibration" not in needs(rule):
        return 0
    if "num_calibration" not in rule.parameters:
        raise ConfigError(
            "vetting.parameters",
            rule.parameters,
            f"{rule.name} needs calibration: give num_calibration, how many items",
        )
    return int(rule.parameters["num_calibration"])


class Reordered:
    """Items in another order: nothing is copied but what is asked for."""

    def __init__(self, items: Items, order: np.ndarray) -> None:
        """Show `items` in the order of rows, int64 (N,)."""
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
    """Return what a rule decides of a composition, in the order of `composition.items`.

    Args:
        rule: From `resolve`.
        composition: As the mixing policy drew it.
        pools: The pools it was drawn from, by id.
        real: The real pool that the chain may train on.
        seed: Of the order in which the rule sees the items, and of what it draws.
        calibration: Real items that no chain trains on, for a rule that needs them.
        past: What the chain has made so far, for a rule that needs it.
        features: Of the items in the order of the composition, and of what a detector learns from, likewise.

    Raises:
        DataError: The rule returns anything else.
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
    """Return what is trained on after a decision. With a seed, real items that were not drawn take the place of what
    was dropped; a log line says where there are too few. Raises `DataError` where too little is left."""
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
    """Return `num` rows of the real pool that a composition did not draw, or all of them where there are fewer, int64,
    drawn from `seed` without repetition."""
    used = [part.rows for part in drawn.parts if part.pool.id == real.id]
    unused = np.setdiff1d(np.arange(real.num_items, dtype=np.int64), np.concatenate([*used, np.empty(0, np.int64)]))
    return np.sort(np.random.default_rng(seed).permutation(unused)[:num])
