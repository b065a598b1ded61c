"""From uint8 images to float32 features, in a declared feature space.

Features are always computed in float32, without autocast and without TF32, and the network is always called
on a full tile of `TILE` images. So a score depends on the images and the space alone: on one machine no batch
size, order or precision setting changes a feature by one bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.errors import ConfigError, MetricError
from bench.features.shared.custom import CustomSpace
from bench.features.shared.weights import sha256_of
from bench.machine import distributed
from bench.machine.device import Progress, Runtime, silent
from bench.pool import check_images

SPACES = {
    "efficientnet_lite0": "bench.features.efficientnet_lite0",
    "inception_v3": "bench.features.inception_v3",
    "dinov2": "bench.features.dinov2",
}
"""Modules, loaded when first asked for: the networks that a run does not use cost it no time. Each offers
`identity(weights)`, cheap and JSON-able; `prefetch(weights)`, which downloads what is missing and returns the path; and
`load(weights)`, the network itself."""

TILE = 64
"""Images per call of the network. Fixed: the last bits of a convolution depend on how many images share a
call.
"""


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """A loaded extractor. network: uint8 (TILE, 3, H, H) on `device` to float (TILE, dimension)."""

    name: str
    dimension: int
    input_size: int
    weights_sha256: str
    version: int
    network: nn.Module
    device: torch.device


def feature_space_spec(name: str, weights: str | None = None) -> dict[str, Any]:
    """What identifies a feature space in store keys and ledger rows; does not run or load the network."""
    return {"name": name, **_module(name).identity(weights)}


def prefetch(name: str, weights: str | None = None) -> Path | None:
    """Makes sure that the weights are there, by downloading them if need be; to be called before long work.

    Returns their path, None for a space of your own without any. Raises as `load_feature_space` does.
    """
    path = _module(name).prefetch(weights)
    if path is not None:
        sha256_of(path)  # says clearly if the file is absent
    return path


def load_feature_space(name: str, runtime: Runtime, weights: str | None = None) -> FeatureSpace:
    """The extractor, on the runtime's device. weights: a local file; None: the default weights of that space.

    Raises `ConfigError` for an unknown name, `MetricError` for weights that are absent, damaged or of another network.
    """
    network = _module(name).load(weights).to(runtime.device).float().eval().requires_grad_(False)
    spec = {"dimension": network.dimension, "input_size": network.input_size, **feature_space_spec(name, weights)}
    kept = {key: spec[key] for key in ("name", "dimension", "input_size", "weights_sha256", "version")}
    return FeatureSpace(**kept, network=network, device=runtime.device)


def extract(
    space: FeatureSpace,
    images: np.ndarray,
    progress: Progress = silent,
    rows: np.ndarray | None = None,
    shared: bool = True,
) -> np.ndarray:
    """Features of uint8 (N, 3, H, H), possibly memory-mapped, as float32 (N, space.dimension).

    rows: int (M,), the images that are wanted, in that order: to draw from a large array without copying it. shared:
    where several processes run, all call this for the same images and divide the work; False: each has its own images.

    Raises `DataError` for images of another kind, `MetricError` if a feature is NaN or infinite.
    """
    check_images(images)
    rows = np.arange(len(images)) if rows is None else rows
    features = np.empty((len(rows), space.dimension), np.float32)
    with torch.inference_mode(), _plain_float32():
        starts = range(0, len(rows), TILE)
        for start in distributed.share(starts) if shared else starts:
            tile = torch.from_numpy(np.array(images[rows[start : start + TILE]]))
            filler = tile[-1:].expand(TILE - len(tile), -1, -1, -1)
            result = space.network(torch.cat([tile, filler]).to(space.device))[: len(tile)]
            if result.shape[1:] != (space.dimension,):
                raise MetricError(f"{space.name} returned shape {tuple(result.shape)}, expected (n, {space.dimension})")
            features[start : start + TILE] = result.float().cpu().numpy()
            progress(min(start + TILE, len(rows)), len(rows))
        if shared:
            distributed.fill(features, starts, TILE)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise MetricError(f"{space.name} features of {len(bad)} images are not finite, first image {bad[0]}")
    return features


def _module(name: str) -> ModuleType | CustomSpace:
    if name.count(":") == 1:
        return CustomSpace(name)
    if name not in SPACES:
        raise ConfigError("metrics.feature_space", name, f"must be one of {', '.join(SPACES)}, or module:function")
    return import_module(SPACES[name])


@contextmanager
def _plain_float32() -> Iterator[None]:
    """No autocast, no TF32, and cuDNN's deterministic kernels, whatever the rest of the run has set."""
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
