"""Feature space `dinov2`: the class token of DINOv2 ViT-L/14 (Oquab et al. 2023), the space of FD-DINOv2 (Stein et al.
2023), which agrees better with human judgement of diffusion samples than Inception does.

An optional extra: it needs the package timm and 1.2 GB of weights, which are downloaded once into torch's hub folder or
read from a local file, in the original layout (.pth) or timm's (.safetensors). Images are resized to 224 px with a
bicubic, antialiased filter.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import MetricError
from bench.features.shared.weights import download, fill, load_tensors, sha256_of

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
"""Added to the grid size before the position embedding is resampled, as in the original code, against rounding."""


def identity(weights: str | None) -> dict[str, Any]:
    """Return what identifies the features in store keys and ledger rows."""
    return {
        "dimension": DIMENSION,
        "input_size": INPUT_SIZE,
        "resize": "bicubic-antialias",
        "weights_sha256": sha256_of(prefetch(weights)),
        "version": VERSION,
    }


def prefetch(weights: str | None) -> Path:
    """Return the path of the weights, after downloading them if `weights` is None and they are absent.

    Their publisher states no checksum, so the download is not verified; the ledger records the checksum of the file
    that was used. Raises `MetricError` if the download fails.
    """
    if weights is not None:
        return Path(weights)
    path = Path(torch.hub.get_dir()) / "checkpoints" / URL.rpartition("/")[2]
    if not path.is_file():
        log.info("downloading the DINOv2 weights (1.2 GB) to %s", path)
        download(URL, path)
    return path


def load(weights: str | None) -> nn.Module:
    """Return the network, on the CPU."""
    try:
        import timm
    except ImportError as error:
        raise MetricError(
            "feature space dinov2 needs the package timm: pip install 'diffusion-collapse-bench[dinov2]'"
        ) from error
    path = prefetch(weights)
    sha256_of(path)  # raises a clear error if the file is absent
    backbone = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0, img_size=INPUT_SIZE)
    state = load_tensors(path)
    state.pop("mask_token", None)  # used in training only
    if "pos_embed" in state:
        state["pos_embed"] = _resampled(state["pos_embed"])
    fill(backbone, state, path)
    return _Features(backbone)


def _resampled(embedding: Tensor) -> Tensor:
    """Return the position embedding (1, 1 + g², d), resampled from the grid of the training resolution to that of
    `INPUT_SIZE`; the entry of the class token stays."""
    grid, ours = round((embedding.shape[1] - 1) ** 0.5), INPUT_SIZE // PATCH
    if grid == ours:
        return embedding
    patches = embedding[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    factor = (ours + OFFSET) / grid
    patches = F.interpolate(patches, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
    return torch.cat([embedding[:, :1], patches.flatten(2).transpose(1, 2)], dim=1)


class _Features(nn.Module):
    """The network, from uint8 (n, 3, H, H) to float32 (n, 1024)."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.dimension, self.input_size = backbone, DIMENSION, INPUT_SIZE
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        x = images.float()
        if x.shape[-1] != INPUT_SIZE:
            size = (INPUT_SIZE, INPUT_SIZE)
            x = F.interpolate(x, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
        return self.backbone((x / 255 - self.mean) / self.std)
