"""The loss and the features of a trained model on given blocks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from bench.generators.language_model import network
from bench.generators.language_model.settings import Config
from bench.generators.language_model.training import check_tokens
from bench.kinds import Items
from bench.machine.device import Runtime, silent

TILE = 64
"""Blocks per network evaluation. The last bits of the results depend on it, so it is part of the versions of risk and
features."""


def risk(
    config: Config,
    model: Path,
    items: Items,
    seeds: np.ndarray,
    *,
    runtime: Runtime,
    progress: Callable[[int, int], None],
) -> dict[str, np.ndarray]:
    """Return minus the log-likelihood of each block, including its first token, in nats per token, as "total", float64
    (N,). Its exponential is the perplexity. `seeds` is not used."""
    own = network.load(model, runtime)
    total = np.empty(len(items))
    for rows, tokens in _tiles(own, items, runtime):
        with torch.inference_mode(), runtime.mixed_precision():
            logits = own(input_ids=tokens[:, :-1], use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(logits.float().mT, tokens[:, 1:], reduction="none")
        total[rows] = losses.double().mean(dim=1).cpu().numpy()[: len(rows)]
        progress(int(rows[-1]) + 1, len(items))
    return {"total": total}


def features(
    config: Config,
    model: Path,
    items: Items,
    *,
    runtime: Runtime,
    progress: Callable[[int, int], None] = silent,
) -> np.ndarray:
    """Return the mean of the last hidden states over the tokens of each block, float32 (N, d)."""
    own = network.load(model, runtime)
    found = []
    for rows, tokens in _tiles(own, items, runtime):
        with torch.inference_mode(), runtime.mixed_precision():
            hidden = own.base_model(input_ids=tokens, use_cache=False).last_hidden_state
        found.append(hidden[:, 1:].float().mean(dim=1).cpu().numpy()[: len(rows)])
        progress(int(rows[-1]) + 1, len(items))
    return np.concatenate(found)


def _tiles(own: network.Network, items: Items, runtime: Runtime) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield row numbers and `TILE` blocks, int64 (TILE, L + 1), each after the start token. The first blocks are those
    of the rows, and the rest is padding."""
    check_tokens(items, own)
    start = network.start_token(own)
    for first in range(0, len(items), TILE):
        rows = np.arange(first, min(first + TILE, len(items)))
        blocks = np.asarray(items[np.resize(rows, TILE)])  # fill the tile by repetition
        yield rows, network.with_start(torch.from_numpy(blocks).long().to(runtime.device), start)
