"""Mixing policies: from the pools so far to the composition of the next generation.

A policy is one function `(history, **parameters) -> Composition`. It sees how large the pools are, never their pixels,
so a whole chain's compositions are planned and checked before anything is trained (`plan`). A policy of your own
lives in your own file: `mixing=custom mixing.function=my_module:my_policy` (docs/extending.md).
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bench.composition import Composition, Part, PoolRef
from bench.config import CustomConfig, MixingConfig, to_dict
from bench.errors import BenchError, ConfigError, DataError
from bench.seeds import derive_seed

Policy = Callable[..., Composition]
Ratio = float | list[float]
"""A number for every generation, or one number per generation from generation 1 on."""


@dataclass(frozen=True)
class History:
    """What a policy may use when it composes generation `generation` (≥ 1).

    real: the real pool. reserve: real images that no generation has seen, or None. synthetic[g]: the samples of
    generation g. budget: how many images generation 0 trained on, the fixed total of the policies that have one.
    """

    generation: int
    real: PoolRef
    reserve: PoolRef | None
    synthetic: tuple[PoolRef, ...]
    budget: int
    seed: int

    def grown(self, samples: PoolRef) -> "History":
        """The history of the next generation, with the samples of this one in it."""
        return replace(self, generation=self.generation + 1, synthetic=(*self.synthetic, samples))

    def draw(self, pool: PoolRef, num_images: int, fixed: bool = False) -> Part:
        """`num_images` rows of `pool` without replacement. Two draws from one pool begin with the same rows. fixed: the
        same in every generation, too. Raises `DataError` where the pool is too small."""
        if num_images > pool.num_images:
            raise DataError(
                f"generation {self.generation} needs {num_images} images of {_name(pool)}, it has {pool.num_images}; "
                f"{'raise num_samples' if pool.is_synthetic else 'raise data.num_train or lower the real share'}"
            )
        return Part(pool, self._order(pool, fixed)[:num_images])

    def subsample(self, universe: Composition, num_images: int) -> Composition:
        """`num_images` drawn uniformly, without replacement, from all images of `universe` together."""
        if num_images > len(universe):
            raise DataError(f"generation {self.generation} needs {num_images} images of a universe of {len(universe)}")
        rng = np.random.default_rng(derive_seed(self.seed, self.generation, "mix/subsample"))
        chosen = np.zeros(len(universe), bool)
        chosen[rng.permutation(len(universe))[:num_images]] = True
        ends = np.cumsum([len(part.rows) for part in universe.parts])
        masks = np.split(chosen, ends[:-1])
        return Composition(
            tuple(Part(part.pool, part.rows[mask]) for part, mask in zip(universe.parts, masks, strict=True))
        )

    def draw_fresh(self, num_images: int, num_used: int) -> Part:
        """The next `num_images` of the reserve, after the `num_used` that earlier generations of this chain were given.
        Raises `DataError` when the reserve runs out."""
        first, last = num_used, num_used + num_images
        available = self.reserve.num_images if self.reserve else 0
        if self.reserve is None or last > available:
            raise DataError(
                f"generation {self.generation} needs fresh real images {first}…{last - 1}, and the reserve has "
                f"{available}: lower data.num_train, num_generations or the share of fresh images"
            )
        return Part(self.reserve, self._order(self.reserve, fixed=True)[first:last])

    def _order(self, pool: PoolRef, fixed: bool) -> np.ndarray:
        generation = 0 if fixed else self.generation
        stream = f"mix/{'reserve' if pool is self.reserve else pool.generation}"
        return np.random.default_rng(derive_seed(self.seed, generation, stream)).permutation(pool.num_images)


def _name(pool: PoolRef) -> str:
    return f"the samples of generation {pool.generation}" if pool.is_synthetic else "the real pool"


# ------------------------------------------------------------------------------------------------------ policies


def replace_only(history: History, num_images: int | None = None) -> Composition:
    """Only the previous generation's samples (MAD's fully synthetic loop; Martínez et al. 2306.06130)."""
    return Composition((history.draw(history.synthetic[-1], num_images or history.budget),))


def blend(history: History, synthetic_ratio: Ratio, real_part: str) -> Composition:
    """A fixed total: the share `synthetic_ratio` from the previous generation, the rest real."""
    num_synthetic = round(_at(synthetic_ratio, history.generation) * history.budget)
    real = history.draw(history.real, history.budget - num_synthetic, fixed=real_part == "fixed")
    return Composition((real, history.draw(history.synthetic[-1], num_synthetic)))


def augment(history: History, synthetic_per_real: Ratio) -> Composition:
    """All real images and λ·n samples of the previous generation (Bertrand et al. 2310.00429)."""
    num_synthetic = round(_at(synthetic_per_real, history.generation) * history.real.num_images)
    real = history.draw(history.real, history.real.num_images)
    return Composition((real, history.draw(history.synthetic[-1], num_synthetic)))


def accumulate(history: History) -> Composition:
    """All real images and `budget` samples of every generation so far (Gerstgrasser et al. 2404.01413). Each
    generation's share is drawn once and kept, so that a training set contains the one before it."""
    kept = (history.draw(pool, history.budget, fixed=True) for pool in history.synthetic)
    return Composition((history.draw(history.real, history.budget, fixed=True), *kept))


def accumulate_subsample(history: History) -> Composition:
    """A fixed total drawn uniformly from what `accumulate` holds (Kazdan et al. 2410.16713; Shi et al. 2509.16499)."""
    return history.subsample(accumulate(history), history.budget)


def window(history: History, num_generations: int, synthetic_ratio: Ratio, real_part: str) -> Composition:
    """As `blend`, but the synthetic share is drawn from the last `num_generations` generations together."""
    num_synthetic = round(_at(synthetic_ratio, history.generation) * history.budget)
    real = history.draw(history.real, history.budget - num_synthetic, fixed=real_part == "fixed")
    if num_synthetic == 0:
        return Composition((real,))
    recent = history.synthetic[-num_generations:]
    universe = Composition(tuple(history.draw(pool, history.budget, fixed=True) for pool in recent))
    return Composition((real, *history.subsample(universe, num_synthetic).parts))


def fresh(history: History, synthetic_ratio: Ratio) -> Composition:
    """As `blend`, but the real share is new every time, from the reserve (MAD's fresh data loop; 2602.16601)."""
    num_synthetic = [round(_at(synthetic_ratio, g) * history.budget) for g in range(1, history.generation + 1)]
    num_fresh = [history.budget - n for n in num_synthetic]
    synthetic = history.draw(history.synthetic[-1], num_synthetic[-1])
    if num_fresh[-1] == 0:  # needs no reserve
        return Composition((synthetic,))
    return Composition((history.draw_fresh(num_fresh[-1], num_used=sum(num_fresh[:-1])), synthetic))


POLICIES: dict[str, Policy] = {
    "replace": replace_only,
    "blend": blend,
    "augment": augment,
    "accumulate": accumulate,
    "accumulate_subsample": accumulate_subsample,
    "window": window,
    "fresh": fresh,
}


def _at(value: Ratio, generation: int) -> float:
    """A number, or a schedule's entry for `generation`; the first entry is generation 1's."""
    return value[generation - 1] if isinstance(value, list) else value


# --------------------------------------------------------------------------------------------- from config to plan


def resolve(config: MixingConfig) -> Callable[[History], Composition]:
    """The policy that `config` names, with its parameters bound. Raises `ConfigError` where there is no such function
    or it does not take such parameters."""
    parameters = to_dict(config)
    name = parameters.pop("policy")
    if isinstance(config, CustomConfig):
        function, parameters = _import(parameters["function"]), parameters["parameters"]
        try:
            inspect.signature(function).bind(None, **parameters)
        except TypeError as error:
            raise ConfigError("mixing.parameters", parameters, f"{config.function} says: {error}") from error
    else:
        function = POLICIES[name]
    return lambda history: function(history, **parameters)


def _import(path: str) -> Policy:
    module_name, _, function_name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError("mixing.function", path, f"cannot be imported as module:function: {error}") from error
    if not callable(function):
        raise ConfigError("mixing.function", path, "is not a function")
    return function


def compose(policy: Callable[[History], Composition], history: History) -> Composition:
    """The composition of `history.generation`. Generation 0 is no policy's business: it trains on `budget` real images.

    Raises `DataError` where a policy returns something else than a composition of the pools it was shown."""
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


def plan(
    policy: Callable[[History], Composition], start: History, num_generations: int, num_samples: int
) -> list[Composition]:
    """The compositions of a whole chain, drawn before anything is trained: the rows are the real ones, the samples'
    pools are placeholders. So whatever will not work (a reserve that runs out in generation 7) is said at once."""
    compositions: list[Composition] = []
    history = start
    for generation in range(num_generations):
        try:
            compositions.append(compose(policy, history))
        except BenchError:
            raise
        except Exception as error:  # a user's own policy may fail in any way; say whose and when
            raise DataError(f"the mixing policy failed for generation {generation}: {error!r}") from error
        history = history.grown(PoolRef(f"samples of generation {generation}", num_samples, generation))
    return compositions
