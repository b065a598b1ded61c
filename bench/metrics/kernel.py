"""Kernel distance between two sets of features: no Gaussian assumed, and no bias in N (Binkowski et al. 2018)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.errors import MetricError
from bench.metrics.checks import canonical_order, check_pair

Device = str | torch.device


@dataclass(frozen=True)
class KernelDistance:
    """mean: over the subsets; the score. sd: standard deviation over the subsets. values: float64 (num_subsets,)."""

    mean: float
    sd: float
    values: np.ndarray


def kernel_distance(
    subject: np.ndarray,
    reference: np.ndarray,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
    device: Device = "cpu",
) -> KernelDistance:
    """KID: the squared maximum mean discrepancy with kernel k(x, y) = (x·y / d + 1)³, its unbiased estimate
    (Gretton et al. 2012, eq. 3) averaged over subsets drawn without replacement (Binkowski et al. 2018, sec. 4).

    Lower is better; 0 in expectation for equal distributions at any N, so single values may be negative. sd is what
    published KIDs print after ±: the spread of one subset, not the error of the mean (the subsets share images).
    Blind to moments beyond the third, to copying, and, at small subset sizes, to rare modes.

    Raises `MetricError` for unsound features and for subsets larger than either set.
    """
    check_pair(subject, reference, equal_n=False)
    if not 2 <= subset_size <= min(len(subject), len(reference)):
        raise MetricError(
            f"KID subsets of {subset_size} images: there are {len(subject)} and {len(reference)}; allowed is 2 to "
            f"{min(len(subject), len(reference))}"
        )
    subject, reference = canonical_order(subject), canonical_order(reference)
    rng = np.random.default_rng(seed)
    draws = [[rng.choice(len(x), subset_size, replace=False) for x in (subject, reference)] for _ in range(num_subsets)]
    rows, columns = (np.stack(side) for side in zip(*draws, strict=True))
    if num_subsets * subset_size**2 < len(subject) * len(reference):
        values = _subset_by_subset(subject, reference, rows, columns, device)
    else:
        values = _from_whole_kernels(subject, reference, rows, columns, device)
    return KernelDistance(float(values.mean()), float(values.std()), values)


BLOCK = 1024
"""Rows of a kernel matrix held at a time."""


def _subset_by_subset(
    subject: np.ndarray, reference: np.ndarray, rows: np.ndarray, columns: np.ndarray, device: Device
) -> np.ndarray:
    """The estimate for each subset, float64 (S,). rows, columns: int (S, m), the subsets of either side."""
    values = np.empty(len(rows))
    for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
        x, y = (torch.from_numpy(f.astype(np.float64)).to(device) for f in (subject[row], reference[column]))
        xx, yy, xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)
        values[i] = float(_unbiased_mmd2(xx.sum() - xx.trace(), yy.sum() - yy.trace(), xy.sum(), len(x)))
    return values


def _from_whole_kernels(
    subject: np.ndarray, reference: np.ndarray, rows: np.ndarray, columns: np.ndarray, device: Device
) -> np.ndarray:
    """The same, with every kernel value computed once for all subsets: cheaper where the subsets overlap much.

    With u, v in {0, 1} marking who is in a subset, its sums are uᵀK(x, x)u, vᵀK(y, y)v and uᵀK(x, y)v.
    """
    x, y = (torch.from_numpy(f.astype(np.float64)).to(device) for f in (subject, reference))
    u, v = (
        torch.zeros(len(f), len(chosen), dtype=torch.float64)
        .scatter_(0, torch.from_numpy(chosen.T.copy()), 1)
        .to(device)
        for f, chosen in ((x, rows), (y, columns))
    )
    xx, yy, xy = _sums(x, u, x, u), _sums(y, v, y, v), _sums(x, u, y, v)
    own_x, own_y = (((f.square().sum(1) / f.shape[1] + 1) ** 3) @ marks for f, marks in ((x, u), (y, v)))
    return _unbiased_mmd2(xx - own_x, yy - own_y, xy, rows.shape[1]).cpu().numpy()


def _sums(x: Tensor, u: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """Σ u[i, s] K(x_i, y_j) v[j, s] for each s: float64 (S,). Of a set with itself half of the kernel is computed."""
    total = torch.zeros(u.shape[1], dtype=torch.float64, device=x.device)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        first = start if y is x else 0
        kernel = _kernel(x[rows], y[first:])
        total += (u[rows] * (kernel @ v[first:])).sum(0)
        if y is x:
            total += (u[rows] * (kernel[:, BLOCK:] @ v[first + BLOCK :])).sum(0)
    return total


def _unbiased_mmd2(within_x: Any, within_y: Any, between: Any, m: int) -> Any:
    """From sums of the kernel: over pairs of different images on either side, and over all pairs across."""
    return (within_x + within_y) / (m * (m - 1)) - 2 * between / m**2


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3
