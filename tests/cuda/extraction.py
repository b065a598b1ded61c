"""The feature spaces at full size on CUDA tensors without contents; run by test_extraction.py. Prints JSON.

`extract` runs as it is, on 100 images of 64 px. A tensor of the CPU in a network, a value that the host reads, or a
shape that depends on values raises an error. Weights are drawn, because nothing here depends on their values.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pretended
import timm
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from bench.config import RuntimeConfig
from bench.features import dinov2
from bench.features.shared import extraction
from bench.machine.device import Runtime, resolve_runtime

SPACES = ("inception_v3", "dinov2", "efficientnet_lite0")
PUBLISHED_SIZE = 518
"""Pixels that the published weights of DINOv2 were trained at; their position embedding has to be resampled."""
WEIGHTS = Path("drawn.pth")


class Copies(TorchDispatchMode):
    """Counts the copies from one device to the other while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.to_device = self.to_host = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and args and isinstance(args[0], Tensor) and args[0].device != result.device:
            self.to_device += result.device.type == "cuda"
            self.to_host += result.device.type == "cpu"
        return result


def state_of(name: str) -> dict[str, Tensor]:
    """Return weights of the published shapes."""
    if name == "dinov2":
        network = timm.create_model(dinov2.ARCHITECTURE, pretrained=False, num_classes=0, img_size=PUBLISHED_SIZE)
        return {**network.state_dict(), "mask_token": torch.zeros(1, dinov2.DIMENSION)}
    nothing = mock.patch("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", return_value={})
    unread = mock.patch.object(nn.Module, "load_state_dict")
    with nothing, unread, unset_fake_temporarily():  # fake tensors cannot be saved
        return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict()


@contextlib.contextmanager
def drawn_weights(name: str) -> Iterator[None]:
    """Let a space load drawn weights; that of the package's own weights loads them."""
    if name == "efficientnet_lite0":
        yield
        return
    module = f"bench.features.{name}"
    with contextlib.ExitStack() as stack:
        for function, result in (("prefetch", WEIGHTS), ("sha256_of", "drawn"), ("load_tensors", state_of(name))):
            stack.enter_context(mock.patch(f"{module}.{function}", return_value=result))
        yield


def features(name: str, runtime: Runtime, change: Callable[[nn.Module], Any] = lambda network: None) -> list[Any]:
    """Extract the features of 100 images. Return what `extract` turns into arrays, its copies to the device and to the
    host, and what it returns.

    change: what is done to the network before it is called.
    """
    read: list[Any] = []

    def numpy(tensor: Tensor) -> np.ndarray:
        read.append([str(tensor.device), str(tensor.dtype), list(tensor.shape)])
        return np.zeros(tensor.shape, np.float32)

    images = np.zeros((100, 3, 64, 64), np.uint8)
    with drawn_weights(name):
        space = extraction.load_feature_space(name, runtime)
    change(space.network)
    with Copies() as copies, mock.patch.object(Tensor, "numpy", numpy):
        result = extraction.extract(space, images)
    return [read, [copies.to_device, copies.to_host], [str(result.dtype), list(result.shape)]]


def forgets(network: Any) -> None:
    """Leave the mean on the CPU."""
    network.mean = network.mean.cpu()


def reads(network: Any) -> None:
    """Let the host read the output."""
    network.register_forward_hook(lambda module, images, output: output * output.mean().item())


def copies_back(network: Any) -> None:
    """Let the host have the output, and send it back."""
    network.register_forward_hook(lambda module, images, output: output.cpu().to(output.device))


def without_drops(rate: float, depth: int) -> list[float]:
    """Stand for a function of timm that reads a tensor."""
    assert rate == 0.0
    return [0.0] * depth


def main() -> dict[str, Any]:
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with pretended.device():
        runtime = resolve_runtime(RuntimeConfig(device="cuda"))
        no_rates = mock.patch("timm.models.vision_transformer.calculate_drop_path_rates", without_drops)
        with FakeTensorMode(allow_non_fake_inputs=True), no_rates:
            for name in SPACES:
                found[name] = features(name, runtime)
            found["host"] = pretended.failure(lambda: features("dinov2", runtime, forgets))
            found["read_twice"] = features("dinov2", runtime, copies_back)
            found["reading"] = pretended.failure(lambda: features("dinov2", runtime, reads))
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
