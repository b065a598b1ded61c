"""Read results from the store without the store's own code."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


def sha256(body: bytes) -> str:
    """Return the SHA-256 of some bytes as hex digits."""
    return hashlib.sha256(body).hexdigest()


def read_result(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (manifest, spec) of a result. Raises `ValueError` if a file differs from the manifest's checksum."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, about in manifest["files"].items():
        if sha256((folder / name).read_bytes()) != about["sha256"]:
            raise ValueError(f"{folder / name} does not match its checksum")
    return manifest, json.loads((folder / "spec.json").read_text())["spec"]


def find_features(store: Path, keys: list[str], pool_id: str, space: str) -> np.ndarray:
    """Return the features of a pool in a space, float32 (N, d), from the results that a score was computed from.

    Raises `ValueError` if there are none.
    """
    for stage, digest in (key.split("/") for key in keys):
        folder = store / stage / digest[:2] / digest
        spec = read_result(folder)[1] if stage == "features" else {}
        if spec and (spec["pool"], spec["space"]["name"]) == (pool_id, space):
            return np.load(folder / "features.npy", allow_pickle=False)
    raise ValueError(f"the scores were not made from features of pool {pool_id[:12]} in {space}")
