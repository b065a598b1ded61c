"""A pool: an immutable set of uint8 images with one provenance record per image.

Pools are the only thing that passes between stages. In memory the images are (N, 3, H, W) uint8; on disk a pool is a
directory of `images.npy` (memory-mapped when read), `records.npz` (no pickles) and `pool.json` (what a person reads).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np

from bench.errors import DataError

REAL = -1
"""Generation of birth of a real image."""


class Images(Protocol):
    """What a training reads: uint8 (N, 3, H, W), an array in memory or on disk, or rows of several (`Gathered`)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Copies of the images at rows, int64 (n,)."""


@dataclass(frozen=True, eq=False)
class Records:
    """Provenance, one row per image. All arrays have length N.

    generation: int32, the generation whose model made the image; `REAL` (-1) for a photograph or drawing.
    seed:       int64, the image's own noise seed (see `bench.seeds`); -1 for real images.
    source_id:  unicode, what a real image is called in its data set (file name or index); "" for samples.
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
        """bool (N,)"""
        return self.generation != REAL

    def columns(self) -> dict[str, np.ndarray]:
        labels = {f"label:{name}": values for name, values in sorted(self.labels.items())}
        return {"generation": self.generation, "seed": self.seed, "source_id": self.source_id, **labels}

    def take(self, rows: Any) -> "Records":
        labels = {name: values[rows] for name, values in self.labels.items()}
        return Records(self.generation[rows], self.seed[rows], self.source_id[rows], labels)

    @staticmethod
    def real(source_ids: Sequence[str], labels: dict[str, np.ndarray] | None = None) -> "Records":
        n = len(source_ids)
        return Records(
            generation=np.full(n, REAL, np.int32),
            seed=np.full(n, -1, np.int64),
            source_id=np.asarray(list(source_ids), dtype=np.str_),
            labels={k: np.asarray(v, np.int64) for k, v in (labels or {}).items()},
        )

    @staticmethod
    def synthetic(generation: int, seeds: np.ndarray) -> "Records":
        n = len(seeds)
        return Records(
            generation=np.full(n, generation, np.int32),
            seed=np.asarray(seeds, np.int64),
            source_id=np.full(n, "", dtype=np.str_),
        )


@dataclass(frozen=True, eq=False)
class Pool:
    """images: uint8 (N, 3, H, W), possibly memory-mapped. label_names: attribute -> class names by index.
    notes: what a reader should know about how it was made (skipped pictures, converted modes), by name."""

    images: np.ndarray
    records: Records
    label_names: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_images(self.images)
        if len(self.images) != len(self.records.generation):
            raise DataError(f"{len(self.images)} images but {len(self.records.generation)} records")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def resolution(self) -> int:
        return int(self.images.shape[-1])

    @property
    def id(self) -> str:
        """Content hash of pixels and records: the pool's identity in every spec. Computed once, then remembered."""
        if "_id" not in self.__dict__:
            object.__setattr__(self, "_id", content_id(self.images, self.records))
        return str(self.__dict__["_id"])

    def take(self, rows: Any) -> "Pool":
        return Pool(self.images[rows], self.records.take(rows), self.label_names, self.notes)

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        np.save(directory / "images.npy", np.ascontiguousarray(self.images), allow_pickle=False)
        np.savez(directory / "records.npz", allow_pickle=False, **self.records.columns())
        about = {
            "id": self.id,
            "num_images": len(self),
            "resolution": self.resolution,
            "label_names": self.label_names,
            "notes": self.notes,
        }
        (directory / "pool.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n")

    @staticmethod
    def load(directory: Path) -> "Pool":
        """Memory-maps the images. Raises `DataError` where a file is missing or not what `save` wrote."""
        try:
            about = json.loads((directory / "pool.json").read_text())
            images = np.load(directory / "images.npy", mmap_mode="r", allow_pickle=False)
            with np.load(directory / "records.npz", allow_pickle=False) as columns:
                labels = {k.removeprefix("label:"): columns[k] for k in columns if k.startswith("label:")}
                records = Records(columns["generation"], columns["seed"], columns["source_id"], labels)
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise DataError(f"{directory} is not a readable pool: {error}") from error
        pool = Pool(images, records, about["label_names"], about["notes"])
        object.__setattr__(pool, "_id", about["id"])  # the store has checked the files' checksums
        return pool


class Gathered:
    """Rows of several sets of images, one set after the other, as one: nothing is copied but what is asked for."""

    def __init__(self, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """parts: (images, rows), at least one; rows: int64 (n,). Raises `DataError` where the images of two parts
        differ in shape or dtype."""
        kinds = sorted({(images.shape[1:], str(images.dtype)) for images, _ in parts})
        if len(kinds) > 1:
            raise DataError(f"images of different kinds cannot be trained on together: {kinds}")
        self.parts = [(np.asarray(images), rows) for images, rows in parts]
        self.ends = np.cumsum([len(rows) for _, rows in parts])
        self.shape = (int(self.ends[-1]), *parts[0][0].shape[1:])
        self.dtype = parts[0][0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """rows: int64 (n,), each in [0, N). Returns a new array (n, 3, H, W)."""
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        part_of = np.searchsorted(self.ends, rows, side="right")
        for part in np.unique(part_of):
            here = part_of == part
            images, chosen = self.parts[part]
            found[here] = images[chosen[rows[here] - self.ends[part]]]  # counted from the part's end
        return found


def check_images(images: Images) -> None:
    """uint8 (N, 3, H, H), or a `DataError` that says what it is instead. Looks at no pixel."""
    if images.dtype != np.uint8:
        raise DataError(f"images have dtype {images.dtype}, expected uint8")
    if len(images.shape) != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise DataError(f"images have shape {images.shape}, expected (N, 3, H, H)")


def content_id(images: np.ndarray, records: Records) -> str:
    digest = hashlib.sha256(f"{images.shape}".encode())
    for start in range(0, len(images), 1024):  # in blocks: a memory-mapped pool need not fit in memory
        digest.update(np.ascontiguousarray(images[start : start + 1024]).tobytes())
    for name, column in records.columns().items():
        values = column.astype("U") if column.dtype.kind == "U" else column
        body = "\0".join(values.tolist()).encode() if values.dtype.kind == "U" else values.tobytes()
        digest.update(name.encode() + b"\0" + body)
    return digest.hexdigest()
