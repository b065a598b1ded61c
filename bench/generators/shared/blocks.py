"""Sampling in blocks that outlive a killed process: a finished block is stored and not drawn again."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.files import write_aside
from bench.machine import distributed

log = logging.getLogger(__name__)


def sample_in_blocks(
    seeds: np.ndarray,
    draw: Callable[[np.ndarray, Callable[[int], None]], np.ndarray],
    *,
    shape: tuple[int, ...],
    dtype: type,
    block: int,
    work: Path,
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """Draw one item per seed, block by block. Processes that run a chain together divide the blocks among them.

    Args:
        seeds: int64 (n,), the noise seed of each item.
        draw: Returns the items of a block, (b, *shape) of `dtype`, given their seeds, int64 (b,), and a function to
            call with the number of items drawn so far. An item must depend only on its seed.
        shape: Shape of one item.
        dtype: Data type of the items.
        block: Number of items per block.
        work: Directory that outlives a killed process, for finished blocks.
        progress: Called with (items done, total items).

    Returns:
        The items, (n, *shape) of `dtype`.
    """
    work.mkdir(parents=True, exist_ok=True)
    items: np.ndarray = np.empty((len(seeds), *shape), dtype)
    starts = range(0, len(seeds), block)
    with distributed.agreed():
        for start in distributed.shard(starts):
            part = seeds[start : start + block]
            name = f"block-{start:08d}-{_digest(part)}"
            drawn = _read(work, name)
            if drawn is None:
                drawn = draw(part, lambda done, start=start: progress(start + done, len(seeds)))  # type: ignore[misc]
                _write(work, name, drawn)
            items[start : start + block] = drawn
            progress(start + len(part), len(seeds))
    distributed.all_gather_blocks(items, starts, block)
    return items


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _read(work: Path, name: str) -> np.ndarray | None:
    """Return a finished block, or None if there is no file whose content matches the digest in its name."""
    for path in work.glob(f"{name}-*.npy"):
        try:
            block = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            log.warning("%s is not a readable block (%s): sampling it again", path, error)
            continue
        if path.stem == f"{name}-{_digest(block)}":
            return block
        log.warning("%s does not match its checksum: sampling it again", path)
    return None


def _write(work: Path, name: str, block: np.ndarray) -> None:
    with write_aside(work / f"{name}-{_digest(block)}.npy") as partial, partial.open("wb") as file:
        np.save(file, block, allow_pickle=False)
