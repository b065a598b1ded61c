"""Vetting: which items of a composition are dropped after it is drawn. One file per rule; `none` drops nothing.

A rule offers `Config` (a `VettingConfig`), `VERSION`, `CITATION` and `keep(drawn, **parameters)`, which returns bool
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
from bench.pool import Gathered, Pool
from bench.registry import Rule


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a rule sees. items: the N items of the composition. real: the real pool that the chain may train on. rng:
    for everything that the rule draws. is_synthetic: bool (N,), for a rule that needs the truth; else None."""

    items: Gathered
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


def keep(rule: Rule, drawn: Drawn) -> np.ndarray:
    """Return what a rule keeps, bool (N,). Raises `DataError` where it returns anything else, or drops everything."""
    kept = np.asarray(rule(drawn))
    if kept.dtype != np.bool_ or kept.shape != (len(drawn.items),):
        raise DataError(f"vetting {rule.name} returned {kept.dtype} {kept.shape}, expected bool ({len(drawn.items)},)")
    if not kept.any():
        raise DataError(f"vetting {rule.name} dropped all {len(kept)} items of the composition")
    return kept


def facts(rule: Rule, drawn: Composition, vetted: Composition) -> dict[str, Any]:
    """Return the ledger's `vetting`: what was dropped, and the synthetic ratio that is left, the effective one."""
    return {
        "rule": rule.name,
        "num_real_dropped": drawn.num_real - vetted.num_real,
        "num_synthetic_dropped": drawn.num_synthetic - vetted.num_synthetic,
        "num_kept": len(vetted),
        "effective_ratio": vetted.num_synthetic / len(vetted),
    }
