"""Locate and read the stored results that a ledger's rows point to: their paths, loss curves and probes."""

import json
from pathlib import Path

import numpy as np

from bench.errors import DataError
from bench.files import sha256_of
from bench.kinds import kind_of
from bench.ledger import Chain, Row


def artifact_path(chain: Chain, row: Row, name: str) -> Path | None:
    """Return the path of a row's stored result, or None if the row has no such result or the file is missing.

    The store that the row names is searched first and then, in case the outputs were moved, the store next to the
    sweep. A key `stage/hash` is stored under `stage/ha/hash`.
    """
    if name not in row.artifacts:
        return None
    stage, digest, *rest = Path(row.artifacts[name]).parts
    inside = [Path(row.artifacts[name]), Path(stage, digest[:2], digest, *rest)]
    for store in (Path(row.store_dir), chain.directory.parent.parent / "store"):
        for path in inside:
            if (store / path).exists():
                return store / path
    return None


def load_losses(chain: Chain, row: Row) -> list[tuple[int, float]]:
    """Return the stored loss curve of a generation's training: (step, mean loss since the previous entry).

    Return [] if the file is missing or damaged, or if the generator takes no steps.
    """
    model = artifact_path(chain, row, "model")
    try:
        entries = json.loads((model / "losses.json").read_text()) if model else []
        return [(int(entry["step"]), float(entry["mean_loss"])) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def load_probes(chain: Chain, row: Row) -> np.ndarray | None:
    """Return the stored probes of a generation, an array of items of any kind, or None if the file is missing.

    Raises:
        DataError: the file is not an array of items, is damaged, is empty, or is not the one that was recorded.
    """
    path = artifact_path(chain, row, "probes")
    if path is None:
        return None
    try:
        if row.checksums and sha256_of(path) != row.checksums.get("probes"):
            raise DataError(f"not the probes that generation {row.generation} of {row.chain} was recorded with")
        probes = np.load(path, allow_pickle=False)
        kind_of(probes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a readable array: {error}") from error
    if not len(probes):
        raise DataError(f"{path} has no items")
    return probes
