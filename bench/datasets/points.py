"""Points drawn from a known distribution: a Gaussian, or two of them (as in Shumailov et al. 2305.17493).

Point i is a function of (shape, seed, i) alone, so a larger set begins with the points of a smaller one. The effect of
a training loop on them can be computed, which is what `python -m bench.certify` does.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.config import DataConfig
from bench.datasets.shared.source import BYTES_PER_ID, Source
from bench.datasets.shared.split import Split
from bench.errors import ConfigError
from bench.kinds import Items
from bench.machine.memory import check_memory
from bench.options import option
from bench.pool import REAL
from bench.seeds import derive_seed

VERSION = 1
"""Must be raised by any change that alters a point, a label or a true risk."""
KIND = "points"
CITATION = ""

COMPONENTS = ["left", "right"]


@dataclass
class Config(DataConfig):
    """Points of a known distribution, deterministic by index: N(mean, sd²) in every coordinate, or two such Gaussians
    with equal weights whose centres are `separation` apart along the first axis. `num_reserve` is the number of points
    beyond training and held-out points. Endless data need no split: `split_seed` selects the points. `resolution`
    applies only to images and has no effect here."""

    name: str = "points"
    shape: str = option("gaussian", one_of=("gaussian", "two_gaussians"))
    dimension: int = option(2, at_least=1, at_most=1024)
    mean: float = 0.0
    sd: float = option(1.0, above=0)
    separation: float = option(8.0, at_least=0)
    num_train: int | None = option(1000, at_least=2)
    num_heldout: int = option(1000, at_least=2)
    num_reserve: int = option(0, at_least=0)

    def validate(self) -> None:
        if self.num_train is None:
            raise ConfigError("num_train", None, "drawn points are endless: give a number of them")


def checksum(config: Config) -> str:
    """Return a constant, because the configuration and the version of the code determine the content."""
    return "drawn"


def draw(config: Config, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `num` points, float64 (num, d), and the component of each point, int64 (num,)."""
    d = config.dimension
    uniforms = _uniforms(derive_seed(config.split_seed, REAL, f"draw/{config.shape}"), num, 1 + 2 * d)
    radius, angle = np.sqrt(-2 * np.log(1 - uniforms[:, 1 : 1 + d])), 2 * np.pi * uniforms[:, 1 + d :]
    points = config.mean + config.sd * radius * np.cos(angle)
    component = np.zeros(num, np.int64)
    if config.shape == "two_gaussians":
        component = (uniforms[:, 0] >= 0.5).astype(np.int64)
        points[:, 0] += config.separation * (component - 0.5)
    return points, component


def true_risk(config: Config, items: Items) -> np.ndarray:
    """Return minus the log-density of each point, in nats, float64 (n,)."""
    points = items[np.arange(len(items))]
    shifts = (0.0,) if config.shape == "gaussian" else (-config.separation / 2, config.separation / 2)
    log_densities = []
    for shift in shifts:
        away = points - config.mean
        away[:, 0] -= shift
        log_densities.append(-0.5 * (away**2).sum(axis=1) / config.sd**2)
    constant = np.log(len(shifts)) + config.dimension * (np.log(config.sd) + 0.5 * np.log(2 * np.pi))
    return constant - np.logaddexp.reduce(log_densities, axis=0)


def open_source(config: Config) -> Source:
    """Return a source of all points that the configuration asks for."""
    num = config.num_heldout + (config.num_train or 0) + config.num_reserve
    check_memory(num * (8 * 5 * config.dimension + BYTES_PER_ID), f"data={config.name}: {num} items")
    points, component = draw(config, num)

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        return points[rows], {}

    source_ids = [f"{config.shape}-{index:08d}" for index in range(num)]
    if config.shape == "gaussian":
        return Source(source_ids, read)
    return Source(source_ids, read, {"component": component}, {"component": COMPONENTS})


def split(config: Config) -> Split:
    """Return the parts as ranges of indices, in the order held-out, train, reserve, because the points are
    independent."""
    first, second = config.num_heldout, config.num_heldout + (config.num_train or 0)
    rows = np.arange(second + config.num_reserve, dtype=np.int64)
    return Split(rows[:first], rows[first:second], rows[second:])


def _uniforms(seed: int, num: int, width: int) -> np.ndarray:
    """Return numbers in [0, 1) from a hash, float64 (num, width). They are the same in every version of NumPy, and the
    first rows are the same for any `num`."""
    words = np.frombuffer(hashlib.shake_128(str(seed).encode()).digest(8 * num * width), dtype="<u8")
    return ((words >> np.uint64(11)) * 2.0**-53).reshape(num, width)
