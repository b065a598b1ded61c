"""A composition: exactly which items of which pools one generation trains on.

It is stored beside the model that was trained on it, as a list of (pool, row) pairs. Every quantity that papers call
"the ratio" is derived from its counts.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bench.errors import DataError
from bench.pool import REAL, Gathered, Pool


@dataclass(frozen=True)
class PoolRef:
    """A pool as a policy sees it: its identity and size, without its items.

    id: The content hash. generation: The generation of birth; `REAL` for real items.
    """

    id: str
    num_items: int
    generation: int

    @property
    def is_synthetic(self) -> bool:
        return self.generation != REAL

    @staticmethod
    def of(pool: Pool, generation: int) -> "PoolRef":
        return PoolRef(pool.id, len(pool), generation)


@dataclass(frozen=True, eq=False)
class Part:
    """The rows drawn from one pool. rows: int64 (n,), sorted; a row that occurs twice is trained on twice."""

    pool: PoolRef
    rows: np.ndarray

    def __post_init__(self) -> None:
        rows = np.sort(np.asarray(self.rows, np.int64))
        if len(rows) and not 0 <= rows[0] <= rows[-1] < self.pool.num_items:
            raise DataError(
                f"rows {rows[0]}…{rows[-1]} drawn from a pool of {self.pool.num_items} items: "
                f"rows must lie in [0, {self.pool.num_items})"
            )
        object.__setattr__(self, "rows", rows)


@dataclass(frozen=True, eq=False)
class Composition:
    """The training set of one generation. Empty parts are dropped and parts of one pool are merged, so that equal
    training sets have equal ids, whichever policy drew them: `blend` at ratio 1 equals `replace`, and both share one
    training. Raises `DataError` if there are no items at all."""

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        merged: dict[str, Part] = {}
        for part in self.parts:
            rows = part.rows
            if part.pool.id in merged:
                rows = np.concatenate([merged[part.pool.id].rows, rows])
            if len(rows):
                merged[part.pool.id] = Part(part.pool, rows)
        if not merged:
            raise DataError("a composition without a single item cannot be trained on")
        ordered = sorted(merged.values(), key=lambda part: (part.pool.generation, part.pool.id))
        object.__setattr__(self, "parts", tuple(ordered))

    def __len__(self) -> int:
        return sum(len(part.rows) for part in self.parts)

    @property
    def num_real(self) -> int:
        """Number of real items, with repetitions."""
        return sum(len(part.rows) for part in self.parts if not part.pool.is_synthetic)

    @property
    def num_synthetic(self) -> int:
        """Number of samples, with repetitions."""
        return len(self) - self.num_real

    @property
    def id(self) -> str:
        """Content hash of the pool ids and their rows."""
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(part.pool.id.encode() + b"\0" + part.rows.tobytes())
        return digest.hexdigest()

    def counts(self, real: PoolRef, reserve: PoolRef | None = None) -> dict[str, Any]:
        """Return the ledger's `composition`: counts, and the ratios that papers use, which are derived from the counts.

        num_fresh: The number of real items from the reserve, which are new to the chain.
        num_distinct: The number of different items.
        synthetic_ratio: num_synthetic / (num_real + num_synthetic). 1 − synthetic_ratio is the share of real data, α in
            2602.16601.
        synthetic_per_real: num_synthetic / size of the real pool, λ in Bertrand et al. 2310.00429.
        real_retained: Number of items from the real pool / size of that pool, p in Shumailov et al. 2305.17493 (10 %
            kept).
        """
        per_generation: dict[str, int] = {}
        for part in self.parts:
            key = str(part.pool.generation)
            per_generation[key] = per_generation.get(key, 0) + len(part.rows)
        fresh = sum(len(part.rows) for part in self.parts if reserve and part.pool.id == reserve.id)
        return {
            "num_real": self.num_real,
            "num_synthetic": self.num_synthetic,
            "num_fresh": fresh,
            "num_distinct": sum(len(np.unique(part.rows)) for part in self.parts),
            "per_generation": per_generation,
            "synthetic_ratio": self.num_synthetic / len(self),
            "synthetic_per_real": self.num_synthetic / real.num_items,
            "real_retained": (self.num_real - fresh) / real.num_items,
        }

    def births(self, pools: dict[str, Pool]) -> np.ndarray:
        """Return the generation of birth of each item, int32 (N,), from the records of `pools` (id -> pool)."""
        return np.concatenate([pools[part.pool.id].records.generation[part.rows] for part in self.parts])

    def save(self, directory: Path) -> None:
        """Write composition.json, which names the pools, and composition.npz, which holds `pool` int32 (N,) and `row`
        int64 (N,), one pair per training item."""
        pools = [{"id": p.pool.id, "num_items": p.pool.num_items, "generation": p.pool.generation} for p in self.parts]
        (directory / "composition.json").write_text(json.dumps({"id": self.id, "pools": pools}, indent=2) + "\n")
        pool = np.concatenate([np.full(len(part.rows), i, np.int32) for i, part in enumerate(self.parts)])
        row = np.concatenate([part.rows for part in self.parts])
        np.savez(directory / "composition.npz", allow_pickle=False, pool=pool, row=row)

    @staticmethod
    def load(directory: Path) -> "Composition":
        """Return a stored composition. Raises `DataError` if the files are missing or not what `save` wrote."""
        try:
            about = json.loads((directory / "composition.json").read_text())
            with np.load(directory / "composition.npz", allow_pickle=False) as pairs:
                pool, row = pairs["pool"], pairs["row"]
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise DataError(f"{directory} holds no readable composition: {error}") from error
        refs = [PoolRef(p["id"], p["num_items"], p["generation"]) for p in about["pools"]]
        return Composition(tuple(Part(ref, row[pool == i]) for i, ref in enumerate(refs)))

    def kept(self, keep: np.ndarray) -> "Composition":
        """Return the composition of the items that `keep` selects. keep: bool (N,), in the order of `items`."""
        ends = np.cumsum([len(part.rows) for part in self.parts])
        masks = np.split(keep, ends[:-1])
        return Composition(
            tuple(Part(part.pool, part.rows[mask]) for part, mask in zip(self.parts, masks, strict=True))
        )

    def items(self, pools: dict[str, Pool]) -> Gathered:
        """Return the N training items, which are read from `pools` (id -> pool) when they are indexed."""
        return Gathered([(pools[part.pool.id].items, part.rows) for part in self.parts])
