"""Load real items as pools: `load_real` reads a source, applies the subset, and splits it the same way in every run.

A data set is one module. It offers `Config` (a `DataConfig`), `VERSION`, `CITATION` and `open_source(config)`, which
returns a `Source`. It may also offer:

- `checksum(config)`: the checksum of the content, which is part of the identity of everything computed from it
- `split(config)`: a `Split` of the row numbers that replaces the seeded split by source ids, for endless data
- `possible_pairs(config)`: which pairs of labels exist
- `calibration(config)`: a `Source` of labelled items of all pairs, existing or not, for data that are drawn by code
- `true_risk(config, items)`: minus the log-likelihood of items, for data whose distribution is known
- `decode(config, items)` and `vocab_size(config)`: the text of each item and the largest vocabulary size, for tokens
- `cite(config)`: BibTeX that replaces `CITATION`, if it depends on the configuration
- `KIND`: the kind of the items ("images" if absent)
"""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench import registry
from bench.config import SCHEMA, DataConfig
from bench.datasets.shared.manifest import Manifest, Subset, find_subset, select, shipped
from bench.datasets.shared.source import Source
from bench.datasets.shared.split import Split, count_shared, split
from bench.errors import DataError
from bench.kinds import Items
from bench.options import stage_values
from bench.pool import Pool, Records

log = logging.getLogger(__name__)

VERBS = ("open_source",)


@dataclass(frozen=True, eq=False)
class RealData:
    """The real items of a run, split into disjoint pools.

    Attributes:
        train: The real pool that chains may train on (`data.num_train` items).
        heldout: Items that no chain trains on (`data.num_heldout` items).
        reserve: The items that are in neither pool, or None if there are none.
        possible: Two attributes -> bool (classes, classes), which pairs of labels exist; empty if the data set does not
            define it.
        calibration: Labelled items of all pairs, existing or not, from which classifiers learn to recognise the pairs.
            No chain trains on them, and no score uses them as a reference. None if the data set offers none.
        joined: The pool that a newcomer uses as its real pool (`bench.join_stage`); None for other chains.
    """

    train: Pool
    heldout: Pool
    reserve: Pool | None
    possible: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    calibration: Pool | None = None
    joined: Pool | None = None

    @property
    def believed(self) -> Pool:
        """The pool that the chain treats as real and trains on: `joined` for a newcomer, otherwise `train`."""
        return self.joined or self.train


def load_real(config: DataConfig) -> RealData:
    """Return the real items, split the same way in every run; images have the resolution `config.resolution`.

    Logs how many items were converted or enlarged, and how many held-out items are identical to a training item. Raises
    `DataError` if the data are missing, unreadable, of a wrong shape, or too few.
    """
    module, own = registry.module_and_config("data", config, VERBS)
    subset = _subset(module, own)
    source = module.open_source(own)
    rows = np.arange(len(source)) if subset is None else select(source, subset)
    if hasattr(module, "split"):
        parts = module.split(own)
    else:
        ids = [source.source_ids[row] for row in rows]
        is_test = None if source.is_test is None else source.is_test[rows]
        parts = split(ids, own.num_heldout, own.num_train, own.split_seed, is_test)
        parts = Split(rows[parts.heldout], rows[parts.train], rows[parts.reserve])
    train, heldout = _pool(source, parts.train, own), _pool(source, parts.heldout, own)
    train.notes.update({name: count for name, count in source.notes.items() if count})
    shared = count_shared(heldout.items, train.items)
    if shared:
        log.warning("%d of %d held-out items have an identical twin among the training items", shared, len(heldout))
    heldout.notes["num_identical_to_training"] = shared
    reserve = _pool(source, parts.reserve, own) if len(parts.reserve) else None
    drawn = module.calibration(own) if hasattr(module, "calibration") else None
    calibration = _pool(drawn, np.arange(len(drawn)), own) if drawn else None
    return RealData(train, heldout, reserve, possible_pairs(config), calibration)


def look(config: DataConfig) -> int:
    """Return the number of items in a source, without reading any of them. The source is downloaded if needed. Raises
    `DataError` if it is not available."""
    module, own = registry.module_and_config("data", config, VERBS)
    return len(module.open_source(own))


def possible_pairs(config: DataConfig) -> dict[tuple[str, str], np.ndarray]:
    """Return which pairs of labels exist in the data: two attributes -> bool (classes, classes). The mapping is empty
    if the data set does not define it."""
    module, own = registry.module_and_config("data", config, VERBS)
    return module.possible_pairs(own) if hasattr(module, "possible_pairs") else {}


def true_risk(config: DataConfig, items: Items) -> np.ndarray:
    """Return minus the log-likelihood of each of N items under the true distribution, float64 (N,): in nats per point,
    or for tokens in nats per token. It is +inf for an impossible item. Only for data sets that offer it
    (`truth_spec`)."""
    module, own = registry.module_and_config("data", config, VERBS)
    values = np.asarray(module.true_risk(own, items))
    if values.shape != (len(items),) or np.isnan(values).any():
        raise DataError(f"data={own.name}: true_risk of {len(items)} items has shape {values.shape}, or NaN")
    return values.astype(np.float64)


def truth_spec(config: DataConfig) -> dict[str, Any] | None:
    """Return every input that can change the true risk of an item; None if the data set does not offer it."""
    module, _ = registry.module_and_config("data", config, VERBS)
    if not hasattr(module, "true_risk"):
        return None
    return {"source": data_spec(config), "version": registry.version(module, "true_risk")}


def data_spec(config: DataConfig) -> dict[str, Any]:
    """Return every input that can change the real items, as JSON-compatible values.

    These are the configuration without file locations, the checksum of the content, the rules of the subset, and the
    versions of the code. Raises `DataError` if the data or the subset cannot be read.
    """
    from bench.datasets.shared import resize  # here, because it imports Pillow

    module, own = registry.module_and_config("data", config, VERBS)
    subset = _subset(module, own)
    return {
        "data": own.name,
        "config": stage_values(own, "real", "real"),
        "schema": SCHEMA,
        "content": module.checksum(own) if hasattr(module, "checksum") else None,
        "subset": subset.rules() if subset else None,
        "version": registry.version(module, "real"),
        "resize_version": resize.VERSION,
    }


def _pool(source: Source, rows: np.ndarray, config: DataConfig) -> Pool:
    items, notes = source.read(rows)
    notes = {name: count for name, count in notes.items() if count}
    if notes:
        log.warning("data=%s: %s of %d items", config.name, json.dumps(notes), len(rows))
    labels = {name: values[rows] for name, values in source.labels.items()}
    return Pool(items, Records.real([source.source_ids[row] for row in rows], labels), source.label_names, notes)


def _subset(module: Any, config: DataConfig) -> Subset | None:
    name = getattr(config, "subset", None)
    return find_subset(name, _manifest(module, config)) if name is not None else None


def _manifest(module: Any, config: DataConfig) -> Manifest | None:
    """Return the shipped manifest with the name of this source, or else one that lists the checksum of its file, or
    None."""
    manifests = shipped()
    if config.name in manifests:
        return manifests[config.name]
    own = module.checksum(config)
    return next((manifest for manifest in manifests.values() if own in manifest.checksums.values()), None)
