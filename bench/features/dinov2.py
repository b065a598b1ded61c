"""Feature space `dinov2`: the class token of DINOv2 ViT-L/14 (Oquab et al. 2023), the space of FD-DINOv2 (Stein et al.
2023), which agrees better with human judgement of diffusion samples than Inception does.

The space is an optional extra: it needs the package timm and 1.2 GB of weights, which are downloaded once into torch's
hub folder or read from a local file, in the original layout (.pth) or timm's (.safetensors). Images are resized to 224
px with a bicubic, antialiased filter.
"""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MetricError
from bench.features.shared.weights import download, fill, hub_folder, load_tensors, sha256_of

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

URL = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth"
ARCHITECTURE = "vit_large_patch14_dinov2"
VERSION = 1
CITATION = """@misc{oquab2023dinov2,
  title         = {{DINOv2}: Learning Robust Visual Features without Supervision},
  author        = {Oquab, Maxime and Darcet, Timoth{\\'e}e and Moutakanni, Th{\\'e}o and others},
  year          = {2023},
  eprint        = {2304.07193},
  archivePrefix = {arXiv},
}"""
DIMENSION = 1024
INPUT_SIZE = 224
PATCH = 14
OFFSET = 0.1
"""Offset that is added to the grid size before the position embedding is resampled, as in the original code, to avoid
rounding errors."""


def identity(weights: str | None) -> dict[str, Any]:
    """Return the values that identify the features in store keys and ledger rows."""
    return {
        "dimension": DIMENSION,
        "input_size": INPUT_SIZE,
        "resize": "bicubic-antialias",
        "weights_sha256": sha256_of(prefetch(weights)),
        "version": VERSION,
    }


def prefetch(weights: str | None) -> Path:
    """Return the path of the weights, after downloading them if `weights` is None and they are absent.

    The publisher states no checksum, so the download is not verified; the ledger records the checksum of the file that
    was used. Raises `MetricError` if the download fails or the package timm is missing.
    """
    if find_spec("timm") is None:
        raise MetricError("feature space dinov2 needs the package timm: pip install 'diffusion-collapse-bench[dinov2]'")
    if weights is not None:
        return Path(weights)
    path = hub_folder() / URL.rpartition("/")[2]
    if not path.is_file():
        log.info("downloading the DINOv2 weights (1.2 GB) to %s", path)
        download(URL, path)
    return path


def load(weights: str | None) -> "nn.Module":
    """Return the network, on the CPU."""
    from bench.features.shared.networks import DINOFeatures, resample_positions

    path = prefetch(weights)
    import timm

    sha256_of(path)  # raises a clear error if the file is absent
    backbone = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0, img_size=INPUT_SIZE)
    state = load_tensors(path)
    state.pop("mask_token", None)  # only training uses it
    if "pos_embed" in state:
        state["pos_embed"] = resample_positions(state["pos_embed"])
    fill(backbone, state, path)
    return DINOFeatures(backbone)
