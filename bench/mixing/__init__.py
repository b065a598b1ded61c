"""Mixing policies: compose the training set of the next generation from the pools so far. One file per policy.

A policy offers `compose(history, **parameters) -> Composition`. It sees the sizes of the pools, never their items, so
the compositions of a whole chain are planned and checked before anything is trained (`plan`). A user-defined policy is
one function in any module: `mixing=custom mixing.function=my_module:my_policy` (docs/extending/).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench import registry
from bench.config import MixingConfig
from bench.errors import BenchError, DataError

if TYPE_CHECKING:
    from bench.composition import Composition
    from bench.mixing.shared.history import History

    Policy = Callable[[History], Composition]


def resolve(config: MixingConfig) -> "Policy":
    """Return the policy that `config` names, with its parameters bound. Raises `ConfigError` if there is no such
    function or it does not take these parameters."""
    return registry.rule("mixing", config, "compose")


def compose(policy: "Policy", history: "History") -> "Composition":
    """Return the composition of `history.generation`. Generation 0 trains on `budget` real items under every policy.

    Raises `DataError` if a policy returns anything other than a composition of the pools in `history`."""
    from bench.composition import Composition

    if history.generation == 0:
        return Composition((history.draw(history.real, history.budget, fixed=True),))
    composition = policy(history)
    if not isinstance(composition, Composition):
        raise DataError(f"the mixing policy returned {type(composition).__name__}, expected a Composition")
    shown = {pool.id for pool in (history.real, history.reserve, *history.synthetic) if pool}
    foreign = [part.pool.id for part in composition.parts if part.pool.id not in shown]
    if foreign:
        raise DataError(f"the mixing policy drew from pools that it was not shown: {foreign}")
    return composition


def plan(policy: "Policy", start: "History", num_generations: int, num_samples: int) -> "list[Composition]":
    """Return the compositions of a whole chain, before anything is trained. The rows are those that the run will draw;
    the pools of samples are placeholders. A chain that cannot work, for example because the reserve runs out in
    generation 7, therefore raises an error before it starts.

    Args:
        policy: A policy from `resolve`.
        start: The history for generation 0.
        num_generations: The number of generations, including generation 0.
        num_samples: The size of the pool that every generation adds.

    Raises:
        DataError: A pool is too small, or the policy failed for a generation.
    """
    from bench.composition import PoolRef

    compositions: list[Composition] = []
    history = start
    for generation in range(num_generations):
        try:
            compositions.append(compose(policy, history))
        except BenchError:
            raise
        except Exception as error:  # a user-defined policy may fail in any way; name the generation
            raise DataError(f"the mixing policy failed for generation {generation}: {error!r}") from error
        history = history.grown(PoolRef(f"samples of generation {generation}", num_samples, generation))
    return compositions
