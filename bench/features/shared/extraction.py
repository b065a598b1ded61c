"""Extraction of float32 features from items, in a given feature space.

Features are always computed in float32, without autocast and without TF32, and the network is always called on a full
tile of `TILE` items. A feature therefore depends only on its item and the space: on one machine, no batch size, order
or precision setting changes a bit of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from bench import registry
from bench.errors import ConfigError, DataError, MetricError
from bench.features.shared.user_space import CustomSpace
from bench.features.shared.weights import sha256_of
from bench.kinds import kind_of
from bench.machine import distributed
from bench.machine.device import Progress, Runtime, silent

TILE = 64
"""Number of items per call of the network. It is fixed because the last bits of a convolution depend on the batch
size."""


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """A loaded feature space. `network` maps TILE items on `device`, for images uint8 (TILE, 3, H, H), to float (TILE,
    dimension). dimension: None if it depends on the items. input_size: None if the network takes any size."""

    name: str
    dimension: int | None
    input_size: int | None
    weights_sha256: str
    version: int
    network: nn.Module
    device: torch.device
    kinds: tuple[str, ...] = ("images",)


def feature_space_spec(name: str, weights: str | None = None) -> dict[str, Any]:
    """Return the values that identify a feature space in store keys and ledger rows, without loading the network."""
    return {"name": name, **_module(name).identity(weights)}


def check_kind(name: str, kind: str) -> None:
    """Raise `ConfigError` if a feature space does not describe items of this kind."""
    if kind not in kinds_of(name):
        described = ", ".join(kinds_of(name))
        raise ConfigError("metrics.feature_space", name, f"describes {described}, but the data are {kind}")


def kinds_of(name: str) -> tuple[str, ...]:
    """Return the kinds of items that a feature space describes."""
    return getattr(_module(name), "KINDS", ("images",))


def prefetch(name: str, weights: str | None = None) -> Path | None:
    """Return the path of the weights, after downloading them if needed; None for a space without weights.

    Call this before long work, so that its errors, which are those of `load_feature_space`, occur early.
    """
    path = _module(name).prefetch(weights)
    if path is not None:
        sha256_of(path)  # raises a clear error if the file is absent
    return path


def load_feature_space(name: str, runtime: Runtime, weights: str | None = None) -> FeatureSpace:
    """Return a feature space with its network on the device of the runtime. weights: a local file; None: the default.

    Raises `ConfigError` for an unknown name, and `MetricError` for weights that are missing, damaged or of another
    network.
    """
    network = _module(name).load(weights).to(runtime.device).float().eval().requires_grad_(False)
    spec = {"dimension": network.dimension, "input_size": network.input_size, **feature_space_spec(name, weights)}
    kept = {key: spec[key] for key in ("name", "dimension", "input_size", "weights_sha256", "version")}
    return FeatureSpace(**kept, network=network, device=runtime.device, kinds=kinds_of(name))


def extract(
    space: FeatureSpace,
    images: np.ndarray,
    progress: Progress = silent,
    rows: np.ndarray | None = None,
    shared: bool = True,
) -> np.ndarray:
    """Compute the features of items.

    Args:
        space: A loaded feature space.
        images: uint8 (N, 3, H, H), or items of another kind that the space describes; possibly memory-mapped.
        progress: Called with (items done, items in all).
        rows: int (M,), the items to use, in this order, so that a large array need not be copied. None: all.
        shared: Whether all processes of the run call this function for the same items and divide the work.

    Returns:
        float32 (M, d), with d = space.dimension if the space defines it.

    Raises:
        DataError: The items are of no known kind, or of a kind that the space does not describe.
        MetricError: The network returns another shape, or a feature is NaN or infinite.
    """
    kind = kind_of(images)
    if kind.name not in space.kinds:
        raise DataError(f"feature space {space.name} describes {', '.join(space.kinds)}, but the items are {kind}")
    rows = np.arange(len(images)) if rows is None else rows

    def tile_features(start: int) -> torch.Tensor:
        tile = torch.from_numpy(np.array(images[rows[start : start + TILE]]))
        filler = tile[-1:].expand(TILE - len(tile), *tile.shape[1:])
        return space.network(torch.cat([tile, filler]).to(space.device))[: len(tile)]

    with torch.inference_mode(), plain_float32():
        dimension = space.dimension or tile_features(0).shape[1]  # computed in every process, whatever its tiles
        features = np.empty((len(rows), dimension), np.float32)
        starts = range(0, len(rows), TILE)
        with distributed.agreed() if shared else nullcontext():
            for start in distributed.shard(starts) if shared else starts:
                result = tile_features(start)
                if result.shape[1:] != (dimension,):
                    raise MetricError(f"{space.name} returned shape {tuple(result.shape)}, expected (n, {dimension})")
                features[start : start + TILE] = result.float().cpu().numpy()
                progress(min(start + TILE, len(rows)), len(rows))
        if shared:
            distributed.all_gather_blocks(features, starts, TILE)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise MetricError(f"{space.name} features of {len(bad)} items are not finite, first item {bad[0]}")
    return features


def _module(name: str) -> ModuleType | CustomSpace:
    return CustomSpace(name) if ":" in name else registry.load(registry.FEATURES, name, "metrics.feature_space")


@contextmanager
def plain_float32() -> Iterator[None]:
    """Disable autocast and TF32, and use the deterministic kernels of cuDNN, whatever the settings of the run are."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.autocast("cuda", enabled=False),
            torch.autocast("cpu", enabled=False),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
