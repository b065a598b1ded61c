"""Feature space `inception_v3`: the network of the original FID (Heusel et al. 2017), as torch-fidelity runs it.

The features are the 2048 pooled features of the TensorFlow Inception of 2015, with its own resize to 299 px, so that
scores are comparable with published ones. The weights (91 MB) are downloaded once into torch's hub folder, or read from
a local file.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MetricError
from bench.features.shared.weights import download, hub_folder, load_tensors, sha256_of

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

VERSION = 1
CITATION = """@inproceedings{szegedy2016inception,
  title     = {Rethinking the {Inception} Architecture for Computer Vision},
  author    = {Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jon and Wojna, Zbigniew},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2016},
}"""
DIMENSION = 2048
INPUT_SIZE = 299
URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
STANDARD_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def standard_path() -> Path:
    """Return the path of the standard weights. torch-fidelity uses the same path, so one download serves both."""
    return hub_folder() / URL.rpartition("/")[2]


def identity(weights: str | None) -> dict[str, Any]:
    """Return the values that identify the features in store keys and ledger rows."""
    return {
        "dimension": DIMENSION,
        "input_size": INPUT_SIZE,
        "resize": "bilinear-tensorflow1",
        "weights_sha256": STANDARD_SHA256 if weights is None else sha256_of(Path(weights)),
        "version": VERSION,
    }


def prefetch(weights: str | None) -> Path:
    """Return the path of the weights, after downloading the standard ones if `weights` is None and they are absent.

    Raises `MetricError` if the download fails, or if the file at the standard path has another checksum.
    """
    if weights is not None:
        return Path(weights)
    path = standard_path()
    if not path.is_file():
        log.info("downloading the Inception weights (91 MB) to %s", path)
        download(URL, path, STANDARD_SHA256)
    if sha256_of(path) != STANDARD_SHA256:
        raise MetricError(f"{path} has sha256 {sha256_of(path)}, expected {STANDARD_SHA256}: delete it and try again")
    return path


def load(weights: str | None) -> "nn.Module":
    """Return the network, on the CPU."""
    from bench.features.shared.networks import InceptionFeatures

    path = prefetch(weights)
    digest = sha256_of(path)
    if digest != STANDARD_SHA256:
        log.warning("inception_v3 with weights %s (sha256 %s…): not the standard FID weights", path, digest[:12])
    return InceptionFeatures(load_tensors(path), path)
