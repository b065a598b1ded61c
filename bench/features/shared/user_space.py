"""User-defined feature spaces: `metrics.feature_space=my_module:make_extractor`.

`make_extractor(weights)` gets `metrics.weights` (a path or None) and returns a `torch.nn.Module` that maps uint8 (n, 3,
H, H) to float (n, d). This network has two integer attributes: `dimension`, which is d, and `input_size`, its working
resolution. It is called on the device of the run, in float32, in evaluation mode, with 64 images at a time. A space for
items other than images lists their kinds in `KINDS` of `my_module`. The contents of the file of `my_module` and of the
weights file are part of the identity of every score. Files that `my_module` imports are not, so raise its `VERSION` (1
if absent) when they change.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bench import registry
from bench.errors import MetricError
from bench.features.shared.weights import sha256_of


@dataclass(frozen=True)
class CustomSpace:
    """A user-defined feature space, with the functions of the module of a built-in space. `path` is
    "module:function"."""

    path: str

    def identity(self, weights: str | None) -> dict[str, Any]:
        """Return the values that identify the features: checksums of the module's file and of the weights, and
        `VERSION`."""
        module, _ = self._find()
        return {
            "source_sha256": registry.source_sha256(module),
            "weights_sha256": sha256_of(Path(weights)) if weights else "",
            "version": int(getattr(module, "VERSION", 1)),
        }

    def prefetch(self, weights: str | None) -> Path | None:
        """Return the path of the weights, if any, after checking that the module can be imported."""
        self._find()
        return Path(weights) if weights else None

    def load(self, weights: str | None) -> nn.Module:
        """Return the network. Raises `MetricError` if the function returns something else, or a network without the two
        attributes."""
        network = self._find()[1](weights)
        if not isinstance(network, nn.Module):
            raise MetricError(f"{self.path} returned a {type(network).__name__}, expected a torch.nn.Module")
        for name in ("dimension", "input_size"):
            if not isinstance(getattr(network, name, None), int):
                raise MetricError(f"the network of {self.path} has no integer attribute {name!r}")
        return network

    @property
    def KINDS(self) -> tuple[str, ...]:
        """Return the kinds of items that the space describes."""
        return getattr(self._find()[0], "KINDS", ("images",))

    def _find(self) -> tuple[Any, Any]:
        return registry.user_function(self.path, "metrics.feature_space")
