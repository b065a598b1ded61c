"""What a mixing policy sees of the past, and how it draws from it."""

from dataclasses import dataclass, replace

import numpy as np

from bench.composition import Composition, Part, PoolRef
from bench.errors import DataError, ReserveError
from bench.seeds import derive_seed


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
        """Return the history of the next generation, with the samples of this one in it."""
        return replace(self, generation=self.generation + 1, synthetic=(*self.synthetic, samples))

    def draw(self, pool: PoolRef, num_images: int, fixed: bool = False) -> Part:
        """Return `num_images` rows of `pool` without replacement. Two draws from one pool begin with the same rows.
        fixed: the same in every generation, too. Raises `DataError` where the pool is too small."""
        if num_images > pool.num_items:
            raise DataError(
                f"generation {self.generation} needs {num_images} images of {_name(pool)}, it has {pool.num_items}; "
                f"{'raise num_samples' if pool.is_synthetic else 'raise data.num_train or lower the real share'}"
            )
        return Part(pool, self._order(pool, fixed)[:num_images])

    def subsample(self, universe: Composition, num_images: int) -> Composition:
        """Return `num_images` drawn uniformly, without replacement, from all images of `universe` together."""
        if num_images > len(universe):
            raise DataError(f"generation {self.generation} needs {num_images} images of a universe of {len(universe)}")
        rng = np.random.default_rng(derive_seed(self.seed, self.generation, "mix/subsample"))
        chosen = np.zeros(len(universe), bool)
        chosen[rng.permutation(len(universe))[:num_images]] = True
        return universe.kept(chosen)

    def draw_fresh(self, num_images: int, num_used: int) -> Part:
        """Return the next `num_images` of the reserve, after the `num_used` that earlier generations of this chain were
        given. Raises `ReserveError` when the reserve runs out."""
        first, last = num_used, num_used + num_images
        available = self.reserve.num_items if self.reserve else 0
        if self.reserve is None or last > available:
            raise ReserveError(
                f"generation {self.generation} needs fresh real images {first}…{last - 1}, and the reserve has "
                f"{available}"
            )
        return Part(self.reserve, self._order(self.reserve, fixed=True)[first:last])

    def _order(self, pool: PoolRef, fixed: bool) -> np.ndarray:
        generation = 0 if fixed else self.generation
        stream = f"mix/{'reserve' if pool is self.reserve else pool.generation}"
        return np.random.default_rng(derive_seed(self.seed, generation, stream)).permutation(pool.num_items)


def _name(pool: PoolRef) -> str:
    return f"the samples of generation {pool.generation}" if pool.is_synthetic else "the real pool"
