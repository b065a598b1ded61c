"""Kernel distance between two sets of features, without a Gaussian assumption or a bias in N (Binkowski et al.
2018)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.errors import MetricError
from bench.metrics.shared.checks import canonical_indices, check_pair
from bench.metrics.shared.neighbours import product, slices

Device = str | torch.device


BLOCK = 1024
"""Side of the square blocks in which the kernel matrix is computed."""


@dataclass(frozen=True)
class KernelDistance:
    """The result of `kernel_distance`.

    Attributes:
        mean: Mean over the subsets, the score.
        sd: Standard deviation over the subsets.
        values: float64 (num_subsets,), the estimate of each subset.
    """

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
    """Return KID: the squared maximum mean discrepancy with kernel k(x, y) = (x·y / d + 1)³, its unbiased estimate
    (Gretton et al. 2012, eq. 3) averaged over subsets drawn without replacement (Binkowski et al. 2018, sec. 4).

    Every kernel value is computed once for all subsets, in blocks: if u, v in {0, 1} mark the items of a subset, the
    sums of the subset are uᵀK(x, x)u, vᵀK(y, y)v and uᵀK(x, y)v.

    Lower is better; 0 in expectation for equal distributions at any N, so single values may be negative. `sd` is the
    number after ± in published KIDs: the spread of one subset, not the error of the mean (the subsets share items).
    Blind to moments beyond the third, to copying, and, at small subset sizes, to rare modes.

    Args:
        subject: float (N, d) features.
        reference: float (M, d) features.
        num_subsets: Number of subsets.
        subset_size: Items per subset on each side.
        seed: Seed of the draws.
        device: The device to compute on.

    Returns:
        Mean, standard deviation and values over the subsets.

    Raises:
        MetricError: The features are invalid, or a subset would be larger than either set.
    """
    check_pair(subject, reference, equal_n=False)
    if not 2 <= subset_size <= min(len(subject), len(reference)):
        raise MetricError(
            f"KID subsets of {subset_size} images: there are {len(subject)} and {len(reference)}, so the size must lie "
            f"in [2, {min(len(subject), len(reference))}]"
        )
    rng = np.random.default_rng(seed)
    draws = [[rng.choice(len(x), subset_size, replace=False) for x in (subject, reference)] for _ in range(num_subsets)]
    rows, columns = (torch.from_numpy(np.stack(side)).to(device) for side in zip(*draws, strict=True))
    orders = [canonical_indices(side) for side in (subject, reference)]
    centre = _mean(reference, orders[1])
    x, y = (Centred.of(side, order, centre, device) for side, order in zip((subject, reference), orders, strict=True))
    u, v = (
        torch.zeros(len(side), num_subsets, dtype=torch.float64, device=device).scatter_(0, chosen.T, 1)
        for side, chosen in ((x, rows), (y, columns))
    )
    within = _sums(x, u, x, u) + _sums(y, v, y, v)
    estimates = within / (subset_size * (subset_size - 1)) - 2 * _sums(x, u, y, v) / subset_size**2
    values = estimates.cpu().numpy()
    return KernelDistance(float(values.mean()), float(values.std()), values)


def _mean(features: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the mean of the features, float64 (d,), summed row by row in the given order without copying the set."""
    total = np.zeros((1, features.shape[1]))
    for rows in slices(len(features), BLOCK):
        total = np.concatenate([total, features[order[rows]]]).sum(axis=0, keepdims=True)
    return total[0] / len(features)


@dataclass(frozen=True, eq=False)
class Centred:
    """Features as differences x' = x - c from a common centre c of both sides. In float32, products of these
    differences keep digits that products of features far from the origin would lose: x·y = x'·y' + c·x' + c·y' + c·c.

    Attributes:
        differences: float32 (n, d), x'.
        rest: float64 (n,), this side's share of the other terms of the kernel's base, with c·c and the 1 divided
            equally between the sides: (c·x' + c·c / 2) / d + 1 / 2.
    """

    differences: Tensor
    rest: Tensor

    @staticmethod
    def of(features: np.ndarray, order: np.ndarray, centre: np.ndarray, device: Device) -> "Centred":
        """Return the centred features, with their rows reordered.

        Args:
            features: float (n, d).
            order: int64 (n,), the rows in their new order.
            centre: float64 (d,).
            device: The device to keep them on.
        """
        differences = torch.empty(features.shape, dtype=torch.float32)
        rest = np.empty(len(features))
        for rows in slices(len(features), BLOCK):
            exact = features[order[rows]] - centre
            differences[rows] = torch.from_numpy(exact)
            rest[rows] = (exact @ centre + centre @ centre / 2) / len(centre) + 0.5
        return Centred(differences.to(device), torch.from_numpy(rest).to(device))

    def __len__(self) -> int:
        return len(self.differences)

    def __getitem__(self, rows: slice) -> "Centred":
        return Centred(self.differences[rows], self.rest[rows])


def _sums(x: Centred, u: Tensor, y: Centred, v: Tensor) -> Tensor:
    """Return the sums Σ u[i, s] K(x_i, y_j) v[j, s] over i and j for each subset s.

    If x is y, only half of the kernel matrix is computed, and pairs i = j are left out.

    Args:
        x: Features of n points.
        u: float64 (n, S), 1 for the points of x in subset s, else 0.
        y: Features of m points.
        v: float64 (m, S), 1 for the points of y in subset s, else 0.

    Returns:
        float64 (S,).
    """
    total = torch.zeros(u.shape[1], dtype=torch.float64, device=u.device)
    for rows in slices(len(x), BLOCK):
        for columns in slices(len(y), BLOCK):
            if y is x and columns.start < rows.start:
                continue  # counted twice in the transposed block
            kernel = _kernel(x[rows], y[columns])
            if y is x and columns.start == rows.start:
                kernel.fill_diagonal_(0)
            times = 2 if y is x and columns.start > rows.start else 1
            total += times * (u[rows] * (kernel @ v[columns])).sum(0)
    return total


def _kernel(x: Centred, y: Centred) -> Tensor:
    """Return the kernel values of all pairs, float64 (n, m), from products in float32."""
    base = product(x.differences, y.differences).double().div_(x.differences.shape[1])
    return base.add_(x.rest[:, None]).add_(y.rest).pow_(3)
