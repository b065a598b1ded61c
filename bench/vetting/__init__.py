"""Vetting: which items of a composition are dropped after it is drawn. One file per rule; `none` drops nothing.

A rule offers `Config` (a `VettingConfig`), `VERSION`, `CITATION` and `keep(unvetted, **parameters)`, which returns bool
(N,). It is not told which items are synthetic, unless its module states `NEEDS = ("truth",)`, as an oracle does. A rule
of your own is one function: `vetting=custom vetting.function=my_module:keep`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import registry
from bench.composition import Composition
from bench.config import VettingConfig
from bench.errors import DataError
from bench.kinds import Items
from bench.pool import Pool
from bench.registry import Rule


@dataclass(frozen=True, eq=False)
class Unvetted:
    """What a rule sees. items: the N items of the composition, in a random order, which tells nothing about where they
    come from. real: the real pool that the chain may train on. rng:
    for everything that the rule draws. is_synthetic: bool (N,), for a rule that needs the truth; else None."""

    items: Items
    real: Pool
    rng: np.random.Generator
    is_synthetic: np.ndarray | None


def resolve(config: VettingConfig) -> Rule | None:
    """Return the rule that `config` names; None for `none`. Raises `ConfigError` where there is no such function or it
    does not take such parameters."""
    return None if config.name == registry.NONE else registry.rule("vetting", config, "keep")


def needs_truth(rule: Rule) -> bool:
    """Return whether a rule has to be told which items are synthetic."""
    return "truth" in getattr(rule.module, "NEEDS", ())


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


def keep(rule: Rule, composition: Composition, pools: dict[str, Pool], real: Pool, seed: int) -> np.ndarray:
    """Return what a rule keeps of a composition, bool (N,), in the order of `composition.items`.

    Args:
        rule: From `resolve`.
        composition: As the mixing policy drew it.
        pools: The pools it was drawn from, by id.
        real: The real pool that the chain may train on.
        seed: Of the order in which the rule sees the items, and of what it draws.

    Raises:
        DataError: The rule returns anything else, or drops everything.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(composition))
    is_synthetic = np.concatenate([np.full(len(part.rows), part.pool.is_synthetic) for part in composition.parts])
    truth = is_synthetic[order] if needs_truth(rule) else None
    kept = np.asarray(rule(Unvetted(Reordered(composition.items(pools), order), real, rng, truth)))
    if kept.dtype != np.bool_ or kept.shape != (len(order),):
        raise DataError(f"vetting {rule.name} returned {kept.dtype} {kept.shape}, expected bool ({len(order)},)")
    if not kept.any():
        raise DataError(f"vetting {rule.name} dropped all {len(kept)} items of the composition")
    decision = np.empty(len(order), bool)
    decision[order] = kept
    return decision


def facts(rule: Rule, drawn: Composition, vetted: Composition) -> dict[str, Any]:
    """Return the ledger's `vetting`: what was dropped, and the synthetic ratio that is left, the effective one."""
    return {
        "rule": rule.name,
        "num_real_dropped": drawn.num_real - vetted.num_real,
        "num_synthetic_dropped": drawn.num_synthetic - vetted.num_synthetic,
        "num_kept": len(vetted),
        "effective_ratio": vetted.num_synthetic / len(vetted),
    }
