"""The history that a mixing policy composes a training set from, and its reproducible draws."""

from dataclasses import dataclass, replace

import numpy as np

from bench.composition import Composition, Part, PoolRef
from bench.errors import DataError, ReserveError
from bench.seeds import derive_seed


@dataclass(frozen=True)
class History:
    """What a policy may use to compose the training set of generation `generation` (≥ 1).

    Attributes:
        generation: The generation to compose a training set for.
        real: The real pool.
        reserve: Real images outside the real pool, which `draw_fresh` draws from, or None.
        synthetic: synthetic[g] is the samples of generation g.
        budget: The number of images that generation 0 trains on, the total of the policies with a fixed total.
        seed: The seed of the chain, from which all draws follow.
    """

    generation: int
    real: PoolRef
    reserve: PoolRef | None
    synthetic: tuple[PoolRef, ...]
    budget: int
    seed: int

    def grown(self, samples: PoolRef) -> "History":
        """Return the history for the next generation, which includes the samples of this one."""
        return replace(self, generation=self.generation + 1, synthetic=(*self.synthetic, samples))

    def draw(self, pool: PoolRef, num_images: int, fixed: bool = False) -> Part:
        """Return `num_images` rows of `pool`, drawn without replacement. Two draws from one pool in one generation
        begin with the same rows. fixed: Whether the draw is the same in every generation. Raises `DataError` if the
        pool is too small."""
        if num_images > pool.num_items:
            raise DataError(
                f"generation {self.generation} needs {num_images} images of {_name(pool)}, which has {pool.num_items}; "
                f"{'raise num_samples' if pool.is_synthetic else 'raise data.num_train or lower the real share'}"
            )
        return Part(pool, self._order(pool, fixed)[:num_images])

    def subsample(self, universe: Composition, num_images: int) -> Composition:
        """Return `num_images` images, drawn uniformly without replacement from all images of `universe` together.
        Raises `DataError` if it has fewer images."""
        if num_images > len(universe):
            raise DataError(f"generation {self.generation} needs {num_images} images of a universe of {len(universe)}")
        rng = np.random.default_rng(derive_seed(self.seed, self.generation, "mix/subsample"))
        chosen = np.zeros(len(universe), bool)
        chosen[rng.permutation(len(universe))[:num_images]] = True
        return universe.kept(chosen)

    def draw_fresh(self, num_images: int, num_used: int) -> Part:
        """Return the next `num_images` images of the reserve, after the `num_used` that earlier generations of this
        chain used. Raises `ReserveError` if the reserve has too few left."""
        first, last = num_used, num_used + num_images
        available = self.reserve.num_items if self.reserve else 0
        if self.reserve is None or last > available:
            raise ReserveError(
                f"generation {self.generation} needs fresh real images {first}…{last - 1}, but the reserve has "
                f"{available}"
            )
        return Part(self.reserve, self._order(self.reserve, fixed=True)[first:last])

    def _order(self, pool: PoolRef, fixed: bool) -> np.ndarray:
        generation = 0 if fixed else self.generation
        stream = f"mix/{'reserve' if pool is self.reserve else pool.generation}"
        return np.random.default_rng(derive_seed(self.seed, generation, stream)).permutation(pool.num_items)


def _name(pool: PoolRef) -> str:
    return f"the samples of generation {pool.generation}" if pool.is_synthetic else "the real pool"
