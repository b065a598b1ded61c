"""Real images that are drawn, not photographed: flowers or birds whose species, colour and pose are known exactly.

Image i is a function of (kind, seed, i) alone, so the same pixels come out alone or in a batch, here or elsewhere.
Species follow Zipf's law, P(rank k) proportional to 1/k; colours and poses have common and rare values: tails to lose.
"""

import hashlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from bench.config import ProceduralConfig
from bench.datasets.drawings import birds, flowers
from bench.datasets.drawings.canvas import Canvas
from bench.datasets.shared.source import Source
from bench.datasets.shared.split import Split
from bench.pool import REAL
from bench.seeds import derive_seed

VERSION = 1
"""Raised by any change that moves a pixel or a label."""

KINDS: dict[str, ModuleType] = {"flowers": flowers, "birds": birds}
COLOUR_SHARES = (0.6, 0.3, 0.1)


def species_shares(kind: str) -> np.ndarray:
    """float64 (num_species,): Zipf's law over the ranks, sums to 1."""
    shares = 1 / np.arange(1, len(KINDS[kind].SPECIES) + 1)
    return shares / shares.sum()


def draw(kind: str, seed: int, index: int, resolution: int) -> np.ndarray:
    """Image `index`: uint8 (3, resolution, resolution). What it shows does not depend on the resolution."""
    room = KINDS[kind]
    species, colour, pose, random = _attributes(kind, seed, index)
    canvas = Canvas(resolution, factor=4 if resolution < 32 else 2)
    room.draw(canvas, list(room.SPECIES)[species], colour, room.POSES[pose], random)
    return canvas.image()


def choose(kind: str, seed: int, index: int) -> dict[str, int]:
    """Attributes of image `index`: species, colour and pose, as indices into `label_names`."""
    species, colour, pose, _ = _attributes(kind, seed, index)
    return {"species": species, "colour": list(KINDS[kind].COLOURS).index(colour), "pose": pose}


def label_names(kind: str) -> dict[str, list[str]]:
    room = KINDS[kind]
    return {"species": list(room.SPECIES), "colour": list(room.COLOURS), "pose": list(room.POSES)}


def open_source(config: ProceduralConfig) -> Source:
    """As many images as the config asks for in all; `read` draws the rows it is given."""
    num = config.num_heldout + (config.num_train or 0) + config.num_reserve
    attributes = [choose(config.kind, config.split_seed, index) for index in range(num)]
    labels = {name: np.asarray([row[name] for row in attributes], np.int64) for name in label_names(config.kind)}

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        made = np.empty((len(rows), 3, config.resolution, config.resolution), np.uint8)
        for at, row in enumerate(rows):
            made[at] = draw(config.kind, config.split_seed, int(row), config.resolution)
        return made, {}

    source_ids = [f"{config.kind}-{index:08d}" for index in range(num)]
    return Source(source_ids, read, labels, label_names(config.kind))


def parts(config: ProceduralConfig) -> Split:
    """Drawings are endless and drawn independently, so that the parts are plain ranges of indices: held out, train,
    reserve. More training images leave the held-out ones as they are; another `split_seed` draws other pictures."""
    first, second = config.num_heldout, config.num_heldout + (config.num_train or 0)
    rows = np.arange(second + config.num_reserve, dtype=np.int64)
    return Split(rows[:first], rows[first:second], rows[second:])


def _attributes(kind: str, seed: int, index: int) -> tuple[int, str, int, Iterator[float]]:
    """Species, colour name, pose, and the numbers left for the small differences."""
    room = KINDS[kind]
    random = _uniforms(derive_seed(seed, REAL, f"draw/{kind}", index))
    species = _choose(species_shares(kind), next(random))
    colour = list(room.SPECIES.values())[species][_choose(COLOUR_SHARES, next(random))]
    return species, colour, _choose(room.POSE_SHARES, next(random)), random


def _uniforms(seed: int) -> Iterator[float]:
    """64 numbers in [0, 1), from a hash: the same on every platform and in every version of NumPy."""
    words = np.frombuffer(hashlib.shake_128(str(seed).encode()).digest(8 * 64), dtype="<u8")
    return iter(((words >> np.uint64(11)) * 2.0**-53).tolist())


def _choose(shares: "np.ndarray | tuple[float, ...]", chance: float) -> int:
    return min(int(np.searchsorted(np.cumsum(shares), chance, side="right")), len(shares) - 1)
