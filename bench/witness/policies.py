"""The mixing policies, implemented a second time: they derive rows from configuration, seed and sizes alone."""

from typing import Any

import numpy as np

from bench.witness.diffusion import derive

Rows = dict[Any, np.ndarray]
"""Pool ("train", "reserve" or a generation) -> its rows, ascending; pools without rows are left out."""


def compose(mixing: dict[str, Any], g: int, seed: int, sizes: dict[Any, int]) -> Rows | None:
    """Return the training set of a generation, or None for a user-defined policy.

    Args:
        mixing: the configuration of the policy.
        g: the generation.
        seed: the seed of the chain.
        sizes: the number of images in each pool.
    """
    policy, budget = mixing["policy"], sizes["train"]

    def order(pool: Any, fixed: bool) -> np.ndarray:
        stream = f"mix/{-1 if pool == 'train' else pool}"
        return np.random.default_rng(derive(seed, 0 if fixed else g, stream)).permutation(sizes[pool])

    def take(pool: Any, number: int, fixed: bool = False) -> Rows:
        return {pool: np.sort(order(pool, fixed)[:number])} if number else {}

    def subsample(pools: list[Any], number: int) -> Rows:
        """Draw from the union of `budget` fixed images of each pool."""
        universe = [(pool, row) for pool in pools for row in take(pool, budget, fixed=True)[pool]]
        chosen = np.random.default_rng(derive(seed, g, "mix/subsample")).permutation(len(universe))[:number]
        picked = [universe[i] for i in sorted(chosen)]
        return {pool: np.array([row for p, row in picked if p == pool]) for pool in dict.fromkeys(p for p, _ in picked)}

    def share(name: str, generation: int) -> int:
        """Return the number of images that a ratio means; the first entry of a schedule belongs to generation 1."""
        value = mixing[name]
        return round((value[generation - 1] if isinstance(value, list) else value) * budget)

    if g == 0:
        return take("train", budget, fixed=True)
    if policy == "replace":
        return take(g - 1, mixing["num_images"] or budget)
    if policy == "augment":
        return take("train", budget) | take(g - 1, share("synthetic_per_real", g))
    if policy == "accumulate":
        return {pool: take(pool, budget, fixed=True)[pool] for pool in ("train", *range(g))}
    if policy == "accumulate_subsample":
        return subsample(["train", *range(g)], budget)
    if policy == "fresh":
        given = [budget - share("synthetic_ratio", i) for i in range(1, g + 1)]
        rows = np.sort(order("reserve", True)[sum(given[:-1]) : sum(given)])
        return ({"reserve": rows} if len(rows) else {}) | take(g - 1, budget - given[-1])
    if policy in ("blend", "real_only", "window"):
        number = share("synthetic_ratio", g)
        real = take("train", budget - number, fixed=mixing["real_part"] == "fixed")
        if policy == "real_only":
            return real
        if policy == "blend" or number == 0:
            return real | take(g - 1, number)
        return real | subsample(list(range(g))[-mixing["num_generations"] :], number)
    return None
