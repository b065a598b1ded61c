"""Which images are held out, which are trained on, which are kept back: by a seeded hash of their source ids.

The hash makes the split a property of the image's name: the same in every run, for every chain seed, in whatever order
the files are listed. An image's place in the queue never changes when others are added or removed.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers (int64) of each part, in the order of their hashes. Disjoint; together every row."""

    heldout: np.ndarray
    train: np.ndarray
    reserve: np.ndarray


def hash_order(source_ids: Sequence[str], seed: int | str) -> np.ndarray:
    """int64 (N,): rows sorted by sha256 of "seed/source id". Raises `DataError` where an id occurs twice, because equal
    names could then fall on either side depending on the order of the files."""
    repeated = [name for name, count in Counter(source_ids).items() if count > 1]
    if repeated:
        shown = ", ".join(map(repr, repeated[:3]))
        raise DataError(f"{len(repeated)} source ids occur more than once, e.g. {shown}: names must be unique")
    keys = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in source_ids]
    return np.asarray(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def split(source_ids: Sequence[str], num_heldout: int, num_train: int | None, seed: int) -> Split:
    """The first `num_heldout` in hash order are held out, the next `num_train` (None: all that are left) train.

    Raises `DataError` naming the numbers where there are too few.
    """
    order = hash_order(source_ids, seed)
    wanted = num_heldout + (2 if num_train is None else num_train)
    if len(order) < wanted:
        train = "at least 2" if num_train is None else num_train
        raise DataError(
            f"{len(order)} images are too few for data.num_heldout={num_heldout} and {train} to train on "
            f"(data.num_train={'null' if num_train is None else num_train}): {wanted} are needed"
        )
    end = len(order) if num_train is None else num_heldout + num_train
    return Split(order[:num_heldout], order[num_heldout:end], order[end:])


def count_shared(first: np.ndarray, second: np.ndarray) -> int:
    """How many images of `first` have an identical twin, pixel for pixel, in `second`; uint8 (N, 3, H, W) both."""
    twins = {_fingerprint(image) for image in second}
    return sum(_fingerprint(image) in twins for image in first)


def _fingerprint(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()
