"""Procedural images as real items: drawings of flowers or birds whose species, colour and pose are known exactly.

Image i is a function of (kind, seed, i) alone, so its pixels are the same alone or in a batch and on any machine.
Species follow Zipf's law, P(rank k) proportional to 1/k; colours and poses have common and rare values. The rare values
are the tails that a collapsing model loses.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from bench.config import DataConfig
from bench.datasets.shared.drawings import birds, flowers
from bench.datasets.shared.drawings.canvas import Canvas
from bench.datasets.shared.source import BYTES_PER_ID, Source
from bench.datasets.shared.split import Split
from bench.errors import ConfigError
from bench.machine.memory import check_memory
from bench.options import option
from bench.pool import REAL
from bench.seeds import derive_seed

VERSION = 1
"""Must be raised by any change that alters a pixel or a label."""
CITATION = ""

KINDS: dict[str, ModuleType] = {"flowers": flowers, "birds": birds}
COLOUR_SHARES = (0.6, 0.3, 0.1)

Attributes = tuple[int, str, int, Iterator[float]]
"""Species, name of the colour, pose, and random numbers for the small differences between drawings with equal
attributes."""


@dataclass
class Config(DataConfig):
    """Drawings that are deterministic by index, with species, colour and pose as labels. `num_reserve` is the number of
    images beyond training and held-out images, for policies that use fresh real images. `num_calibration` is the number
    of drawings of all pairs of species and colour, from which classifiers learn to recognise the pairs that do not
    exist. Endless data need no split: `split_seed` selects the drawings."""

    name: str = "procedural"
    kind: str = option("flowers", one_of=("flowers", "birds"))
    resolution: int = option(16, at_least=8, at_most=1024)
    num_train: int | None = option(1024, at_least=2)
    num_reserve: int = option(0, at_least=0)
    num_calibration: int = option(1024, at_least=0)

    def validate(self) -> None:
        if self.num_train is None:
            raise ConfigError("num_train", None, "procedural data is endless: give a number of images")


def checksum(config: Config) -> str:
    """Return a constant, because the configuration and the version of the code determine the content."""
    return "drawn"


def species_shares(kind: str) -> np.ndarray:
    """Return the share of each species, float64 (num_species,): Zipf's law over the ranks, with sum 1."""
    shares = 1 / np.arange(1, len(KINDS[kind].SPECIES) + 1)
    return shares / shares.sum()


def draw(kind: str, seed: int, index: int, resolution: int) -> np.ndarray:
    """Return one drawing. What it shows does not depend on the resolution.

    Args:
        kind: "flowers" or "birds".
        seed: Seed of the data set (`data.split_seed`).
        index: Index of the image.
        resolution: Side of the image, in pixels.

    Returns:
        uint8 (3, resolution, resolution).
    """
    return _drawn(kind, resolution, *_attributes(kind, seed, index))


def choose(kind: str, seed: int, index: int) -> dict[str, int]:
    """Return the attributes of image `index`: species, colour and pose, as indices into `label_names`."""
    return _labels(kind, _attributes(kind, seed, index))


def label_names(kind: str) -> dict[str, list[str]]:
    """Return attribute -> names of all its values, for species, colour and pose."""
    room = KINDS[kind]
    return {"species": list(room.SPECIES), "colour": list(room.COLOURS), "pose": list(room.POSES)}


def possible_pairs(config: Config) -> dict[tuple[str, str], np.ndarray]:
    """Return which colours a species may have: ("species", "colour") -> bool (species, colours), 24 of them True."""
    room = KINDS[config.kind]
    possible = [[colour in colours for colour in room.COLOURS] for colours in room.SPECIES.values()]
    return {("species", "colour"): np.array(possible)}


def open_source(config: Config) -> Source:
    """Return a source of all images that the configuration asks for. They are drawn when they are read."""
    num = config.num_heldout + (config.num_train or 0) + config.num_reserve
    check_memory(num * (3 * config.resolution**2 + BYTES_PER_ID), f"data={config.name}: {num} items")
    return _source(config, num, config.kind, lambda index: _attributes(config.kind, config.split_seed, index))


def calibration(config: Config) -> Source | None:
    """Return a source of `num_calibration` drawings in which species and colour are independent and uniform, so that
    all pairs occur; None if it is 0. They are the same for every `split_seed`, and differ from all images of
    `open_source`."""
    num = config.num_calibration
    check_memory(num * (3 * config.resolution**2 + BYTES_PER_ID), f"data={config.name}: {num} calibration items")
    attributes = functools.partial(_calibration_attributes, config.kind)
    return _source(config, num, f"calibration-{config.kind}", attributes) if num else None


def _source(config: Config, num: int, name: str, attributes: Callable[[int], Attributes]) -> Source:
    """Return a source of `num` images, given a function from the index of an image to its attributes."""
    kind, size = config.kind, config.resolution
    chosen = [_labels(kind, attributes(index)) for index in range(num)]
    labels = {name: np.asarray([row[name] for row in chosen], np.int64) for name in label_names(kind)}

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        images = np.empty((len(rows), 3, size, size), np.uint8)
        for at, row in enumerate(rows):
            images[at] = _drawn(kind, size, *attributes(int(row)))
        return images, {}

    return Source([f"{name}-{index:08d}" for index in range(num)], read, labels, label_names(kind))


def split(config: Config) -> Split:
    """Return the parts as ranges of indices, in the order held out, train, reserve.

    Drawings are endless and independent, so they need no hash. A larger training set does not change the held-out
    images, and another `split_seed` gives other drawings.
    """
    first, second = config.num_heldout, config.num_heldout + (config.num_train or 0)
    rows = np.arange(second + config.num_reserve, dtype=np.int64)
    return Split(rows[:first], rows[first:second], rows[second:])


def _drawn(kind: str, resolution: int, species: int, colour: str, pose: int, random: Iterator[float]) -> np.ndarray:
    """Return the image, uint8 (3, resolution, resolution), of the attributes that `_attributes` returns."""
    room = KINDS[kind]
    canvas = Canvas(resolution, factor=4 if resolution < 32 else 2)
    room.draw(canvas, list(room.SPECIES)[species], colour, room.POSES[pose], random)
    return canvas.image()


def _labels(kind: str, attributes: Attributes) -> dict[str, int]:
    species, colour, pose, _ = attributes
    return {"species": species, "colour": list(KINDS[kind].COLOURS).index(colour), "pose": pose}


def _attributes(kind: str, seed: int, index: int) -> Attributes:
    """Return the species, the name of the colour, the pose, and the remaining random numbers, for the small
    differences."""
    room = KINDS[kind]
    random = _uniforms(derive_seed(seed, REAL, f"draw/{kind}", index))
    species = _choose(species_shares(kind), next(random))
    colour = list(room.SPECIES.values())[species][_choose(COLOUR_SHARES, next(random))]
    return species, colour, _choose(room.POSE_SHARES, next(random)), random


def _calibration_attributes(kind: str, index: int) -> Attributes:
    """Return attributes like `_attributes`, but with any colour for any species."""
    room = KINDS[kind]
    random = _uniforms(derive_seed(0, REAL, f"calibrate/{kind}", index))
    species, colour = (int(next(random) * len(values)) for values in (room.SPECIES, room.COLOURS))
    return species, list(room.COLOURS)[colour], _choose(room.POSE_SHARES, next(random)), random


def _uniforms(seed: int) -> Iterator[float]:
    """Return an iterator over 64 numbers in [0, 1) from a hash, the same on every platform and in every version of
    NumPy."""
    words = np.frombuffer(hashlib.shake_128(str(seed).encode()).digest(8 * 64), dtype="<u8")
    return iter(((words >> np.uint64(11)) * 2.0**-53).tolist())


def _choose(shares: "np.ndarray | tuple[float, ...]", chance: float) -> int:
    """Return the index that a uniform number in [0, 1) selects, with probabilities `shares`."""
    return min(int(np.searchsorted(np.cumsum(shares), chance, side="right")), len(shares) - 1)
