"""The join stage: a newcomer begins after an earlier chain and uses some of that chain's samples as real items.

The newcomer is not told which items are samples. The records of the pool mark them (`pool.TAKEN_FOR_REAL`), so that
ledger, vetting and audit know the share of samples in the pool. Scores compare with items that are truly real.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import earlier
from bench.analysis.conditions import condition_of
from bench.code_versions import JOIN_VERSION
from bench.composition import Composition, Part, PoolRef
from bench.config import Config
from bench.datasets import RealData
from bench.earlier import Earlier
from bench.errors import ConfigError, DataError
from bench.pool import REAL, TAKEN_FOR_REAL, Pool, Records
from bench.seeds import derive_seed
from bench.stages import StageContext
from bench.store import Result


def join(context: StageContext, config: Config, real: RealData) -> tuple[RealData, Result | None]:
    """Return the real items, with the pool that a newcomer uses as its real pool, and the result that holds this pool.
    For a chain that joins no other, return the real items unchanged, and None.

    The stored result holds `pool/`, the composition that the pool was gathered from, and the facts `generation`,
    `ratio` and `num_samples`. Facts about the earlier chain are added only to the returned result, because equal
    samples give the same stored result, whichever chain drew them.

    Raises `DataError` if the earlier chain has other data, and `ConfigError` if it drew too few samples.
    """
    found = earlier.find(config)
    if found is None:
        return real, None
    world = World.of(found)
    if world.real.id != real.train.id:
        raise DataError(
            f"join.chain: the real pool of {found.chain.id} has {describe(world.real)}, that of this chain "
            f"{describe(real.train)}; they must hold the same items: use the same data"
        )
    drawn = world.compose(found.ratio, config.seed)

    def produce(out: Path, work: Path) -> dict[str, Any]:
        drawn.save(out)
        world.gather(drawn).save(out / "pool")
        return {"generation": found.generation, "ratio": found.ratio, "num_samples": drawn.num_synthetic}

    spec = {"composition": drawn.id, "generation": found.generation, "ratio": found.ratio, "version": JOIN_VERSION}
    with context.console.stage("join"):
        result = context.store.make("join", spec, produce)
    about = {
        "chain": found.chain.id,
        "condition": condition_of(found.chain.rows[0]).label,
        "store_dir": found.chain.rows[0].store_dir,
        "samples": [found.row(generation).artifacts["samples"] for generation in found.generations],
    }
    return replace(real, joined=Pool.load(result.path / "pool")), replace(result, facts=about | result.facts)


@dataclass(frozen=True, eq=False)
class World:
    """The pools that a newcomer draws its real pool from.

    real: The pool of truly real items. samples: Generation of the earlier chain -> its samples.
    """

    real: Pool
    samples: dict[int, Pool]

    @staticmethod
    def of(found: Earlier) -> "World":
        """Load the pools of an earlier chain. Raises `DataError` if they are no longer stored or were changed."""
        return World(found.real(), {generation: found.samples(generation) for generation in found.generations})

    def compose(self, ratio: float, seed: int) -> Composition:
        """Return the composition of a newcomer's real pool: as many items as the real pool has, a share `ratio` of them
        samples, in equal parts from all generations. The real items at a larger ratio are a subset of those at a
        smaller ratio. seed: The seed of the newcomer.

        Raises `ConfigError` if a generation has too few samples.
        """
        num_synthetic = round(ratio * len(self.real))
        parts = [Part(PoolRef.of(self.real, REAL), _order(seed, REAL, self.real)[num_synthetic:])]
        shares = np.array_split(np.arange(num_synthetic), len(self.samples))
        for (generation, pool), share in zip(sorted(self.samples.items()), shares, strict=True):
            if len(share) > len(pool):
                raise ConfigError(
                    "join.ratio", ratio, f"takes {len(share)} samples of generation {generation}, which has {len(pool)}"
                )
            parts.append(Part(PoolRef.of(pool, generation), _order(seed, generation, pool)[: len(share)]))
        return Composition(tuple(parts))

    def gather(self, drawn: Composition) -> Pool:
        """Return the items of a composition of `compose` as one pool, whose records say which of them are samples."""
        pools = {pool.id: pool for pool in (self.real, *self.samples.values())}
        records = [_records(pools[part.pool.id], part, self.real.records.labels) for part in drawn.parts]
        items = drawn.items(pools)
        return Pool(items[np.arange(len(items))], _joined(records), self.real.label_names)


def truth(drawn: Composition, pools: dict[str, Pool], real: RealData) -> dict[str, Any]:
    """Return the values of the ledger's `composition` that differ from those that a newcomer can count itself: samples
    in its real pool count as synthetic, with generation `TAKEN_FOR_REAL`. Empty for a chain that joins no other.

    Args:
        drawn: The composition.
        pools: The pools that it was drawn from, by id.
        real: The real items of the chain.
    """
    if real.joined is None:
        return {}
    births, numbers = np.unique(drawn.births(pools), return_counts=True)
    num_real = int(numbers[births == REAL].sum())
    return {
        "num_real": num_real,
        "num_synthetic": len(drawn) - num_real,
        "per_generation": {str(b): int(n) for b, n in zip(births, numbers, strict=True)},
        "synthetic_ratio": (len(drawn) - num_real) / len(drawn),
        "synthetic_per_real": (len(drawn) - num_real) / len(real.joined),
    }


def describe(pool: Pool) -> str:
    """Return the number, kind and shape of a pool's items, for messages."""
    return f"{len(pool)} {pool.kind.items} of shape {pool.items.shape[1:]}"


def _order(seed: int, generation: int, pool: Pool) -> np.ndarray:
    return np.random.default_rng(derive_seed(seed, 0, f"join/{generation}")).permutation(len(pool))


def _records(pool: Pool, part: Part, labels: dict[str, np.ndarray]) -> Records:
    if not part.pool.is_synthetic:
        return pool.records.take(part.rows)
    given = Records.synthetic(TAKEN_FOR_REAL, pool.records.seed[part.rows])
    return replace(given, labels={name: np.full(len(part.rows), -1, np.int64) for name in labels})


def _joined(records: Sequence[Records]) -> Records:
    """Return the concatenation of `records`."""
    columns = [one.columns() for one in records]
    whole = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
    labels = {name.removeprefix("label:"): whole[name] for name in whole if name.startswith("label:")}
    return Records(whole["generation"], whole["seed"], whole["source_id"], labels)
