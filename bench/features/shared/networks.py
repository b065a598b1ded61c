"""The networks of the built-in feature spaces. They are separate from the modules of the spaces, which do not import
torch."""

import io
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import MetricError
from bench.features import dinov2, efficientnet_lite0, inception_v3


class EfficientNetFeatures(nn.Module):
    """EfficientNet-Lite0, from uint8 (n, 3, H, H) to float32 (n, 1280)."""

    dimension, input_size = efficientnet_lite0.DIMENSION, efficientnet_lite0.INPUT_SIZE

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)  # 10 times faster than NCHW on a CPU

    def forward(self, images: Tensor) -> Tensor:
        x = images.float()
        if x.shape[-1] != self.input_size:
            size = (self.input_size, self.input_size)
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
        return self.backbone.extract_features(x).mean((2, 3))  # type: ignore[operator]  # not of a plain nn.Module


class InceptionFeatures(nn.Module):
    """Inception-v3, from uint8 (n, 3, H, H) to float32 (n, 2048)."""

    dimension, input_size = inception_v3.DIMENSION, inception_v3.INPUT_SIZE

    def __init__(self, state: dict[str, Tensor], path: Path) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        super().__init__()
        checked = io.BytesIO()  # torch-fidelity unpickles any file, so it gets a file with only these tensors
        torch.save(state, checked)
        checked.seek(0)
        try:
            self.extractor = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], checked)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()[:300] if "\n" in str(error) else str(error)
            raise MetricError(f"weights file {path} does not fit Inception-v3: {reason}") from error

    def forward(self, images: Tensor) -> Tensor:
        return self.extractor(images)[0]


def resample_positions(embedding: Tensor) -> Tensor:
    """Return the position embedding (1, 1 + g², d), resampled from the grid of the training resolution to that of
    `dinov2.INPUT_SIZE`. The entry of the class token is unchanged."""
    grid, ours = round((embedding.shape[1] - 1) ** 0.5), dinov2.INPUT_SIZE // dinov2.PATCH
    if grid == ours:
        return embedding
    patches = embedding[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    factor = (ours + dinov2.OFFSET) / grid
    patches = F.interpolate(patches, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
    return torch.cat([embedding[:, :1], patches.flatten(2).transpose(1, 2)], dim=1)


class DINOFeatures(nn.Module):
    """DINOv2, from uint8 (n, 3, H, H) to float32 (n, 1024)."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.dimension, self.input_size = backbone, dinov2.DIMENSION, dinov2.INPUT_SIZE
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        x = images.float()
        if x.shape[-1] != self.input_size:
            size = (self.input_size, self.input_size)
            x = F.interpolate(x, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
        return self.backbone((x / 255 - self.mean) / self.std)


class Identity(nn.Module):
    """The identity on points, (n, d)."""

    dimension, input_size = None, None

    def forward(self, points: Tensor) -> Tensor:
        return points


class Pixels(nn.Module):
    """The pixels, from uint8 (n, 3, H, H) to float32 (n, 3 H²), in [0, 1]."""

    dimension, input_size = None, None

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).float() / 255
