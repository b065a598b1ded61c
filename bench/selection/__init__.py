"""Selection: which n of m samples become the pool of a generation. One file per rule; `none` keeps all of them.

A rule offers `Config` (a `SelectionConfig` with `num_candidates`, the m), `VERSION`, `CITATION` and
`keep(candidates, **parameters)`, which returns the rows to keep, int64 (n,). n and m are fixed before the chain starts,
so that it can be planned. A rule of your own is one function: `selection=custom selection.function=my_module:keep`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import registry
from bench.config import SelectionConfig, to_dict
from bench.errors import ConfigError, DataError
from bench.pool import Pool


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a rule sees. pool: the m samples. num_kept: n. real: the real pool that the chain may train on. rng: for
    everything that the rule draws."""

    pool: Pool
    num_kept: int
    real: Pool
    rng: np.random.Generator


@dataclass(frozen=True)
class Rule:
    """A rule with its parameters bound. version: of its code, for the spec of the stage."""

    name: str
    num_candidates: int
    parameters: dict[str, Any]
    version: Any
    function: Callable[..., np.ndarray]


def resolve(config: SelectionConfig, num_kept: int) -> Rule | None:
    """Return the rule that `config` names; None for `none`.

    Raises `ConfigError` where there is no such function, it does not take such parameters, or fewer candidates are to
    be drawn than kept.
    """
    if config.name == registry.NONE:
        return None
    parameters = {k: v for k, v in to_dict(config).items() if k not in ("name", "num_candidates")}
    num_candidates = config.num_candidates  # type: ignore[attr-defined]  # every rule but none has it
    if num_candidates < num_kept:
        allowed = f"must be at least {num_kept}, the number of samples that are kept"
        raise ConfigError("selection.num_candidates", num_candidates, allowed)
    if config.name == registry.CUSTOM:
        name, parameters = parameters["function"], parameters["parameters"]
        module, function = registry.user_function(name, "selection.function")
        try:
            inspect.signature(function).bind(None, **parameters)
        except TypeError as error:
            raise ConfigError("selection.parameters", parameters, f"{name} says: {error}") from error
    else:
        name = config.name
        module = registry.load(registry.ROOMS["selection"].package, name, "selection.name")
        function = module.keep
    return Rule(name, num_candidates, parameters, registry.version(module, "select"), function)


def keep(rule: Rule, candidates: Candidates) -> np.ndarray:
    """Return the rows that a rule keeps, int64 (n,), sorted. Raises `DataError` where it returns anything else than n
    different rows of the candidates."""
    rows = np.sort(np.asarray(rule.function(candidates, **rule.parameters)))
    if rows.shape != (candidates.num_kept,) or not np.issubdtype(rows.dtype, np.integer):
        raise DataError(
            f"selection {rule.name} returned {rows.dtype} {rows.shape}, expected {candidates.num_kept} row numbers"
        )
    if len(np.unique(rows)) < len(rows) or rows[0] < 0 or rows[-1] >= len(candidates.pool):
        raise DataError(f"selection {rule.name} returned rows twice or outside [0, {len(candidates.pool)})")
    return rows.astype(np.int64)
