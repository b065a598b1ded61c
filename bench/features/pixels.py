"""Feature space `pixels`: the pixels of small pictures, divided by 255 and flattened.

There is no network and no resize: each picture has 3 H² features. Suitable only for pictures that are so small that N
can exceed this number.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

VERSION = 1
CITATION = ""


def identity(weights: str | None) -> dict[str, Any]:
    """Return the values that identify the features in store keys and ledger rows."""
    return {"resize": "none", "weights_sha256": "", "version": VERSION}


def prefetch(weights: str | None) -> Path | None:
    """Return None, because there are no weights."""
    return None


def load(weights: str | None) -> "nn.Module":
    """Return the network, on the CPU."""
    from bench.features.shared.networks import Pixels

    return Pixels()
