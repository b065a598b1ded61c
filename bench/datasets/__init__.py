"""Real images as pools: `load_real` reads a source, takes the subset, and splits it the same way in every run."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from bench.config import Cub200Config, DataConfig, Flowers102Config, FolderConfig, NpzConfig, ProceduralConfig
from bench.datasets import cub200, flowers102, folder, npz, procedural
from bench.datasets.shared import resize
from bench.datasets.shared.manifest import Manifest, Subset, find_subset, select, shipped
from bench.datasets.shared.source import Source
from bench.datasets.shared.split import Split, count_shared, split
from bench.pool import Pool, Records

log = logging.getLogger(__name__)

LOCAL = ("root", "path", "download", "subset")
"""Config fields that say where the data lies here; what they lead to enters the spec by checksum instead."""


@dataclass(frozen=True, eq=False)
class RealData:
    """train: the real pool that chains may train on (`data.num_train` images). heldout: never trained on by any chain
    (`data.num_heldout`). reserve: what is left after both, or None where nothing is."""

    train: Pool
    heldout: Pool
    reserve: Pool | None


@dataclass(frozen=True)
class _Room:
    """How one kind of source is opened, what its content's checksum is, and the version of its code."""

    open: Callable[[Any], Source]
    checksum: Callable[[Any], str]
    version: int


def _room(config: DataConfig) -> _Room:
    rooms: dict[type, _Room] = {
        ProceduralConfig: _Room(procedural.open_source, lambda _: "drawn", procedural.VERSION),
        NpzConfig: _Room(npz.open_source, npz.checksum, npz.VERSION),
        FolderConfig: _Room(folder.open_source, folder.checksum, folder.VERSION),
        Flowers102Config: _Room(flowers102.open_source, flowers102.checksum, flowers102.VERSION),
        Cub200Config: _Room(cub200.open_source, cub200.checksum, cub200.VERSION),
    }
    return rooms[type(config)]


def load_real(config: DataConfig) -> RealData:
    """The real images, uint8 at `config.resolution`, split for good. Raises `DataError` for anything missing,
    unreadable, misshapen or too small; logs what was converted, enlarged or found on both sides of the split."""
    subset = _subset(config)
    source = _room(config).open(config)
    rows = np.arange(len(source)) if subset is None else select(source, subset)
    if isinstance(config, ProceduralConfig):
        parts = procedural.parts(config)
    else:
        ids = [source.source_ids[row] for row in rows]
        parts = split(ids, config.num_heldout, config.num_train, config.split_seed)
        parts = Split(rows[parts.heldout], rows[parts.train], rows[parts.reserve])
    train, heldout = _pool(source, parts.train, config), _pool(source, parts.heldout, config)
    shared = count_shared(heldout.images, train.images)
    if shared:
        log.warning("%d of %d held-out images have an identical twin among the training images", shared, len(heldout))
    heldout.notes["num_identical_to_training"] = shared
    reserve = _pool(source, parts.reserve, config) if len(parts.reserve) else None
    return RealData(train, heldout, reserve)


def data_spec(config: DataConfig) -> dict[str, Any]:
    """Every input that can change the result, ready for JSON: the config without where things lie on this machine,
    the checksum of the content, the rules of the subset, and the versions of the code. Raises `DataError`."""
    subset = _subset(config)
    room = _room(config)
    values = {field.name: getattr(config, field.name) for field in fields(config) if field.name not in LOCAL}
    return {
        **values,
        "content": room.checksum(config),
        "subset": subset.rules() if subset else None,
        "version": room.version,
        "resize_version": resize.VERSION,
    }


def _pool(source: Source, rows: np.ndarray, config: DataConfig) -> Pool:
    images, notes = source.read(rows)
    notes = {name: count for name, count in notes.items() if count}
    if notes:
        log.warning("data=%s: %s of %d images", config.name, json.dumps(notes), len(rows))
    labels = {name: values[rows] for name, values in source.labels.items()}
    return Pool(images, Records.real([source.source_ids[row] for row in rows], labels), source.label_names, notes)


def _subset(config: DataConfig) -> Subset | None:
    name = getattr(config, "subset", None)
    return find_subset(name, _manifest(config)) if name is not None else None


def _manifest(config: DataConfig) -> Manifest | None:
    """The shipped manifest of this source; an archive's is the one with the same checksum, whatever its name here."""
    manifests = shipped()
    if isinstance(config, NpzConfig):
        own = npz.checksum(config)
        return next((manifest for manifest in manifests.values() if own in manifest.checksums.values()), None)
    return manifests.get(config.name)
