"""MNIST in small: the four files in the layout of the original, and a manifest that has their checksums."""

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.datasets import mnist
from bench.datasets.shared.manifest import shipped

SIZES = {"train": 40, "t10k": 12}
RNG = np.random.default_rng(0)
PICTURES = {stem: RNG.integers(0, 256, (num, 28, 28)).astype(np.uint8) for stem, num in SIZES.items()}
DIGITS = {stem: RNG.integers(0, 10, num).astype(np.uint8) for stem, num in SIZES.items()}


def idx(values: np.ndarray) -> bytes:
    """The bytes of an IDX file."""
    return bytes([0, 0, 8, values.ndim]) + np.asarray(values.shape, ">u4").tobytes() + values.tobytes()


def publish(folder: Path, patch: pytest.MonkeyPatch, **contents: bytes) -> Path:
    """Write the files below a folder, with the given contents of some, such as `t10k_labels_idx1`, and let the data set
    find them there. Returns where they are."""
    server = folder / "server"
    server.mkdir(exist_ok=True)
    for stem in SIZES:
        for kind, values in ((f"{stem}-images-idx3", PICTURES[stem]), (f"{stem}-labels-idx1", DIGITS[stem])):
            content = contents.get(kind.replace("-", "_"), gzip.compress(idx(values), mtime=0))
            (server / f"{kind}-ubyte.gz").write_bytes(content)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(server.iterdir())}
    own = replace(shipped()["mnist"], url=f"{server.as_uri()}/", checksums=sums)
    patch.setattr(mnist, "shipped", lambda: {"mnist": own})
    return server
