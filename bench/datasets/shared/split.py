"""Split items into held-out, training and reserve parts, by a seeded hash of their source ids.

The hash makes the split a property of an item's name: it is the same in every run, for every chain seed, and for every
order of the files. Adding or removing items never changes the relative order of the others.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """The row numbers of each part, int64, in hash order unless the data set has its own `split`. The parts are
    disjoint. They cover all rows except those rows of a published test part that are not held out."""

    heldout: np.ndarray
    train: np.ndarray
    reserve: np.ndarray


def hash_order(source_ids: Sequence[str], seed: int | str) -> np.ndarray:
    """Return the rows sorted by the SHA-256 of "seed/source id", int64 (N,).

    Raises `DataError` if an id occurs twice, because the part of each such item would depend on the order of the files.
    """
    repeated = [name for name, count in Counter(source_ids).items() if count > 1]
    if repeated:
        shown = ", ".join(map(repr, repeated[:3]))
        raise DataError(f"{len(repeated)} source ids occur more than once, e.g. {shown}: names must be unique")
    keys = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in source_ids]
    return np.asarray(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def split(
    source_ids: Sequence[str],
    num_heldout: int,
    num_train: int | None,
    seed: int,
    is_test: np.ndarray | None = None,
) -> Split:
    """Return the split: in hash order, first the held-out items, then the training items, then the reserve.

    Args:
        source_ids: One unique id per item.
        num_heldout: Number of held-out items.
        num_train: Number of training items; None: all that are not held out.
        seed: Seed of the hash.
        is_test: bool (N,), True for the items of the test part, if the data set is published in two parts. Held-out
            items are the first items of the test part, and all others are from the training part. None: one part.

    Returns:
        The row numbers of each part.

    Raises:
        DataError: There are too few items, or an id occurs twice.
    """
    order = hash_order(source_ids, seed)
    if is_test is not None:
        return _of_two_parts(order[is_test[order]], order[~is_test[order]], num_heldout, num_train)
    needed = num_heldout + (2 if num_train is None else num_train)
    if len(order) < needed:
        half = max(2, len(order) // 2)
        raise DataError(
            f"{len(order)} items are too few for data.num_heldout={num_heldout} and data.num_train="
            f"{'null, at least 2' if num_train is None else num_train}: {needed} are needed. All of them are used with "
            f"data.num_heldout={half} data.num_train=null and metrics.num_images of at most {half}"
        )
    end = len(order) if num_train is None else num_heldout + num_train
    return Split(order[:num_heldout], order[num_heldout:end], order[end:])


def _of_two_parts(test: np.ndarray, train: np.ndarray, num_heldout: int, num_train: int | None) -> Split:
    """Return the split of the rows of a test and a training part, each in hash order."""
    if len(test) < num_heldout:
        raise DataError(
            f"data.num_heldout={num_heldout}: the test part of these data has {len(test)} items. All of them are used "
            f"with data.num_heldout={len(test)} and metrics.num_images of at most {len(test)}"
        )
    end = len(train) if num_train is None else num_train
    if len(train) < max(end, 2):
        raise DataError(f"data.num_train={num_train}: the training part of these data has {len(train)} items")
    return Split(test[:num_heldout], train[:end], train[end:])


def count_shared(first: np.ndarray, second: np.ndarray) -> int:
    """Return how many items of `first` are identical, byte for byte, to an item of `second`."""
    fingerprints = {_fingerprint(item) for item in second}
    return sum(_fingerprint(item) in fingerprints for item in first)


def _fingerprint(item: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(item).tobytes(), digest_size=16).digest()
