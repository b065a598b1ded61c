"""Inception-v3 with drawn weights, for tests of what is computed from them on machines without the published ones."""

from pathlib import Path
from typing import Any

import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


class RandomInception(FeatureExtractorInceptionV3):
    """The original layout with random weights; the constructor's own `load_state_dict` is skipped."""

    def load_state_dict(self, state: Any, *args: Any, **kwargs: Any) -> Any:
        return None


def write(path: Path) -> Path:
    """Write weights in torch-fidelity's format, always the same, and return their path."""
    torch.manual_seed(0)
    torch.save({}, path)
    network = RandomInception("inception-v3-compat", ["2048"], str(path))
    for parameter in network.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter)  # keeps the signal alive through the depth
    torch.save(network.state_dict(), path)
    return path
