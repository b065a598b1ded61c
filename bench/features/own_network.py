"""Feature space `own_network`: what the network of the chain's own generation 0 makes of items.

The space in which Shumailov et al. (2305.17493) follow a VAE: samples of every generation are described by the encoder
of generation 0. The generator's `features` says what of the network it is. Chains with different seeds have different
models and so different spaces, and outside of a chain there is none: the stages ask the generator, with the model's key
as part of the space's identity.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MetricError

if TYPE_CHECKING:
    from torch import nn

NAME = "own_network"
VERSION = 1
KINDS = ("images", "points", "tokens")
CITATION = ""


def identity(weights: str | None) -> dict[str, Any]:
    """Return what identifies the features, apart from the model, in store keys and ledger rows."""
    return {"weights_sha256": "", "version": VERSION}


def prefetch(weights: str | None) -> Path | None:
    """Return None: the weights are those of generation 0. Raises `MetricError` where others are given."""
    if weights is not None:
        raise MetricError(f"feature space {NAME} has the weights of generation 0 and takes no others: {weights}")
    return None


def load(weights: str | None) -> "nn.Module":
    """Raise `MetricError`: there is no such network outside of a chain."""
    raise MetricError(f"feature space {NAME} is generation 0's own network: there is none outside of a chain")
