"""Feature space `own_network`: features from the network of the chain's own generation 0.

Shumailov et al. (2305.17493) follow a VAE in this space: the encoder of generation 0 describes the samples of every
generation. The function `features` of the generator defines which output of the network is used. Chains with different
seeds have different models and therefore different spaces, and there is no such space outside of a chain. The stages
call the generator, and the key of the model is part of the identity of the space.
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
    """Return the values that identify the features, apart from the model, in store keys and ledger rows."""
    return {"weights_sha256": "", "version": VERSION}


def prefetch(weights: str | None) -> Path | None:
    """Return None, because the weights are those of generation 0. Raises `MetricError` if other weights are given."""
    if weights is not None:
        raise MetricError(f"feature space {NAME} uses the weights of generation 0 and accepts no others: {weights}")
    return None


def load(weights: str | None) -> "nn.Module":
    """Raise `MetricError`, because there is no such network outside of a chain."""
    raise MetricError(f"feature space {NAME} is the network of generation 0, which exists only in a chain")
