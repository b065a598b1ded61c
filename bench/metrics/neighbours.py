"""Exact nearest neighbours in blocks: whatever N, the working memory stays below 1 GB.

Distances are squared Euclidean, in float64, of features centred on the reference's mean (which keeps the
rounding of |x|² + |y|² - 2xy small). A block of the features is converted when its turn comes; the whole set
is never copied.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

BLOCK = 4096
ROUNDING = 1e-12
"""By how much, relative to |x|² + |y|², the rounding of a squared distance is taken to be less than."""


def blocks(features: np.ndarray, centre: np.ndarray, device: str | torch.device) -> Iterator[tuple[slice, Tensor]]:
    """(rows, float64 (at most BLOCK, d) of features - centre on the device), in order."""
    for start in range(0, len(features), BLOCK):
        rows = slice(start, min(start + BLOCK, len(features)))
        yield rows, torch.from_numpy(features[rows] - centre).to(device)


def squared_norms(features: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """|x - centre|² of each row, float64 (N,)."""
    return np.concatenate([(x**2).sum(dim=1).numpy() for _, x in blocks(features, centre, "cpu")])


def squared_distances(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """float64 (n, d), (m, d) -> squared distances (n, m), and how far rounding may have moved each."""
    norms = (x**2).sum(1)[:, None] + (y**2).sum(1)
    squared = torch.addmm(norms, x, y.T, alpha=-2).clamp_(min=0)
    return squared, norms.mul_(ROUNDING)


def nearest(
    queries: np.ndarray, points: np.ndarray, k: int, centre: np.ndarray, device: str | torch.device = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest points of each query: squared distances float64 (n, k), ascending, and indices int64 (n,
    k).

    For neighbours within one set ask for k + 1: every point is its own first neighbour (or has a twin that
    is).
    """
    distances = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), np.int64)
    for rows, x in blocks(queries, centre, device):
        best = torch.full((len(x), 0), 0.0, dtype=torch.float64, device=device)
        where = torch.full((len(x), 0), 0, dtype=torch.int64, device=device)
        for columns, y in blocks(points, centre, device):
            near, at = squared_distances(x, y)[0].topk(min(k, len(y)), largest=False)
            best, order = torch.cat([best, near], 1).sort(dim=1, stable=True)
            where = torch.cat([where, at + columns.start], 1).gather(1, order)
            best, where = best[:, :k], where[:, :k]
        distances[rows], indices[rows] = best.cpu().numpy(), where.cpu().numpy()
    return distances, indices


def squared_radii(features: np.ndarray, k: int, centre: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """float64 (N,): squared distance of each point to its k-th neighbour in its own set, itself not
    counted.
    """
    return torch.from_numpy(nearest(features, features, k + 1, centre, device)[0][:, k].copy()).to(device)
