"""Feature space `identity`: the points themselves, with one feature per coordinate.

FID in this space is the squared 2-Wasserstein distance between the Gaussians fitted to both sets.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

VERSION = 1
KINDS = ("points",)
CITATION = ""


def identity(weights: str | None) -> dict[str, Any]:
    """Return the values that identify the features in store keys and ledger rows."""
    return {"weights_sha256": "", "version": VERSION}


def prefetch(weights: str | None) -> Path | None:
    """Return None, because there are no weights."""
    return None


def load(weights: str | None) -> "nn.Module":
    """Return the network, on the CPU."""
    from bench.features.shared.networks import Identity

    return Identity()
