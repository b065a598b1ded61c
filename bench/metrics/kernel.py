"""Kernel distance between two sets of features: no Gaussian assumed, and no bias in N (Binkowski et al. 2018)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.errors import MetricError
from bench.metrics.checks import canonical_order, check_pair


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
    device: str | torch.device = "cpu",
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
    values = np.empty(num_subsets)
    for i in range(num_subsets):
        x = _take(subject, rng, subset_size, device)
        y = _take(reference, rng, subset_size, device)
        values[i] = _unbiased_mmd2(x, y)
    return KernelDistance(float(values.mean()), float(values.std()), values)


def _take(features: np.ndarray, rng: np.random.Generator, size: int, device: str | torch.device) -> Tensor:
    rows = rng.choice(len(features), size, replace=False)
    return torch.from_numpy(features[rows].astype(np.float64)).to(device)


def _unbiased_mmd2(x: Tensor, y: Tensor) -> float:
    m = len(x)
    xx, yy, xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    within = xx.sum() - xx.trace() + yy.sum() - yy.trace()
    return float(within / (m * (m - 1)) - 2 * xy.sum() / m**2)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3
