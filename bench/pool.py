"""A pool: an immutable set of items of one kind with one provenance record per item.

Pools are the only thing that passes between stages. In memory the items are an array of their kind (`bench.kinds`),
such as uint8 (N, 3, H, H). On disk a pool is a directory of `items.npy` (memory-mapped when read), `records.npz` (no
pickles) and `pool.json` (a summary for people).
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bench.errors import DataError
from bench.kinds import Kind, kind_of

REAL = -1
"""Generation of birth of a real item."""
TAKEN_FOR_REAL = -2
"""Generation of birth of an earlier chain's sample that a newcomer treats as a real item (`bench.join_stage`)."""
BLOCK = 1024
"""Number of items that are held in memory at a time."""


@dataclass(frozen=True, eq=False)
class Records:
    """Provenance, one row per item. All arrays have length N.

    generation: int32, the generation whose model drew the item; `REAL` (-1) for items that no model drew, and
        `TAKEN_FOR_REAL` (-2) for items that the model of an earlier chain drew.
    seed:       int64, the noise seed of each item (see `bench.seeds`); -1 for real items.
    source_id:  unicode, the name of a real item in its data set (file name or index); "" for samples.
    labels:     attribute name -> int64 class index; empty for samples. -1 means "not labelled".
    """

    generation: np.ndarray
    seed: np.ndarray
    source_id: np.ndarray
    labels: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.generation)
        for name, column in self.columns().items():
            if column.shape != (n,):
                raise DataError(f"record column {name!r} has shape {column.shape}, expected ({n},)")

    @property
    def is_synthetic(self) -> np.ndarray:
        """Whether each item is not real, bool (N,); true for `TAKEN_FOR_REAL`, too."""
        return self.generation != REAL

    def columns(self) -> dict[str, np.ndarray]:
        """Return all columns by name."""
        labels = {f"label:{name}": values for name, values in sorted(self.labels.items())}
        return {"generation": self.generation, "seed": self.seed, "source_id": self.source_id, **labels}

    def take(self, rows: Any) -> "Records":
        """Return the records at `rows`."""
        labels = {name: values[rows] for name, values in self.labels.items()}
        return Records(self.generation[rows], self.seed[rows], self.source_id[rows], labels)

    @staticmethod
    def real(source_ids: Sequence[str], labels: dict[str, np.ndarray] | None = None) -> "Records":
        """Return the records of real items."""
        n = len(source_ids)
        return Records(
            generation=np.full(n, REAL, np.int32),
            seed=np.full(n, -1, np.int64),
            source_id=np.asarray(list(source_ids), dtype=np.str_),
            labels={k: np.asarray(v, np.int64) for k, v in (labels or {}).items()},
        )

    @staticmethod
    def synthetic(generation: int, seeds: np.ndarray) -> "Records":
        """Return the records of the samples of one generation. seeds: int64 (N,), the noise seed of each sample."""
        n = len(seeds)
        return Records(
            generation=np.full(n, generation, np.int32),
            seed=np.asarray(seeds, np.int64),
            source_id=np.full(n, "", dtype=np.str_),
        )


@dataclass(frozen=True, eq=False)
class Pool:
    """Items with their records. items: an array of one kind, possibly memory-mapped. label_names: attribute -> class
    names by index. notes: facts about how the pool was made (skipped pictures, converted modes), by name."""

    items: np.ndarray
    records: Records
    label_names: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_kind", kind_of(self.items))
        if len(self.items) != len(self.records.generation):
            raise DataError(f"{len(self.items)} items but {len(self.records.generation)} records")

    def __len__(self) -> int:
        return len(self.items)

    @property
    def kind(self) -> Kind:
        """The kind of the items."""
        return self.__dict__["_kind"]

    @property
    def id(self) -> str:
        """Content hash of items and records: the pool's identity in every spec. Computed once, then cached."""
        if "_id" not in self.__dict__:
            object.__setattr__(self, "_id", content_id(self.items, self.records))
        return str(self.__dict__["_id"])

    def blocks(self) -> Iterator[np.ndarray]:
        """Return the items in blocks, because a memory-mapped pool may not fit in memory."""
        return (self.items[start : start + BLOCK] for start in range(0, len(self), BLOCK))

    def take(self, rows: Any) -> "Pool":
        """Return the items at `rows`, with their records."""
        return Pool(self.items[rows], self.records.take(rows), self.label_names, self.notes)

    def save(self, directory: Path) -> None:
        """Write the pool into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        np.save(directory / "items.npy", np.ascontiguousarray(self.items), allow_pickle=False)
        np.savez(directory / "records.npz", allow_pickle=False, **self.records.columns())
        about = {
            "id": self.id,
            "kind": self.kind.name,
            "num_items": len(self),
            "shape": list(self.items.shape[1:]),
            "label_names": self.label_names,
            "notes": self.notes,
        }
        (directory / "pool.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n")

    @staticmethod
    def load(directory: Path) -> "Pool":
        """Return a stored pool with memory-mapped items. Raises `DataError` if a file is missing or is not as `save`
        writes it."""
        try:
            about = json.loads((directory / "pool.json").read_text())
            items = np.load(directory / "items.npy", mmap_mode="r", allow_pickle=False)
            with np.load(directory / "records.npz", allow_pickle=False) as columns:
                labels = {k.removeprefix("label:"): columns[k] for k in columns if k.startswith("label:")}
                records = Records(columns["generation"], columns["seed"], columns["source_id"], labels)
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise DataError(f"{directory} is not a readable pool: {error}") from error
        pool = Pool(items, records, about["label_names"], about["notes"])
        object.__setattr__(pool, "_id", about["id"])  # the store has checked the files' checksums
        return pool


class Gathered:
    """Rows of several sets of items, concatenated lazily: only the items that are requested are copied."""

    def __init__(self, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Join `parts`, at least one pair of items and rows, int64 (n,). Raises `DataError` if the items of two parts
        differ in shape or dtype."""
        kinds = sorted({(items.shape[1:], str(items.dtype)) for items, _ in parts})
        if len(kinds) > 1:
            raise DataError(f"items of different kinds cannot be trained on together: {kinds}")
        self.parts = [(np.asarray(items), rows) for items, rows in parts]
        self.ends = np.cumsum([len(rows) for _, rows in parts])
        self.shape = (int(self.ends[-1]), *parts[0][0].shape[1:])
        self.dtype = parts[0][0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Return a new array of the items at `rows`, int64 (n,), each in [0, N)."""
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        part_of = np.searchsorted(self.ends, rows, side="right")
        for part in np.unique(part_of):
            here = part_of == part
            items, chosen = self.parts[part]
            taken[here] = items[chosen[rows[here] - self.ends[part]]]  # the negative index counts from the part's end
        return taken


def content_id(items: np.ndarray, records: Records) -> str:
    """Return the SHA-256 of a pool's items and records."""
    digest = hashlib.sha256(f"{items.shape}".encode())
    for start in range(0, len(items), BLOCK):
        digest.update(np.ascontiguousarray(items[start : start + BLOCK]).data)
    for name, column in records.columns().items():
        values = column.astype("U") if column.dtype.kind == "U" else column
        body = "\0".join(values.tolist()).encode() if values.dtype.kind == "U" else values.tobytes()
        digest.update(name.encode() + b"\0" + body)
    return digest.hexdigest()
