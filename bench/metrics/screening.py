"""Bounds of distances from products in few bits.

In bf16 they run on tensor cores; on a CPU they are several times faster than in float64, in int8 the most. They are too
rough to say which point is nearest, but not to say which points cannot be.
"""

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from bench.metrics.points import Points
from bench.runtime import has_bf16, has_int8

BLOCK = 1024
"""Points on either side of one matrix of distances, which then stays in a cache of the processor."""

FEW_BITS = (torch.int8, torch.bfloat16)

INT8_WIDTHS = range(64, 2**17)
"""Fewer features are not worth products of int8, and those of a single one are wrong in torch 2.14; the sums of more do
not fit int32."""


@functools.cache
def levels(device: torch.device, width: int) -> tuple[torch.dtype, ...]:
    """The precisions to screen in, roughest first. width: number of features."""
    few_bits = ((torch.int8, has_int8(device) and width in INT8_WIDTHS), (torch.bfloat16, has_bf16(device)))
    return (*(level for level, is_fast in few_bits if is_fast), torch.float32, torch.float64)


def levels_for(x: Points, y: Points) -> tuple[torch.dtype, ...]:
    """The levels that may screen these: where float32 has no numbers as large as the distances, float64 alone."""
    largest = max(float(z.norms.max()) for z in (x, y))
    if 8 * largest > torch.finfo(torch.float32).max:
        return (torch.float64,)
    return levels(x.features.device, x.features.shape[1])


def slices(n: int) -> Iterator[slice]:
    """0 … n in blocks, in order."""
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))


class Screen:
    """Bounds of all squared distances between two sets, from products at one level: that of x_i and y_j lies between
    lower[i, j] and lower[i, j] + x_slack[i] + y_slack[j].

    With x = x' + r and y = y' + s, x·y - x'·y' = r·y + x·s - r·s. For any t > 0, 2|r·y| <= |r|²/t + t|y|²
    (Cauchy–Schwarz, and the two means), likewise for x·s, and 2|r·s| <= |r|² + |s|²; so twice all three is at most the
    sum over x and y of vectors = t|x|² + (1 + 1/t)|r|², and |x'|² <= |x|² + vectors. t is the median of |r|/|x|: the
    bound is the narrowest where it is that of the row. The product of the rough vectors itself is rounded d times at
    the precision of the accumulator, and once at that of its result; in int8 it is exact, and rounded when it is
    scaled.
    """

    def __init__(self, x: Points, y: Points, level: torch.dtype) -> None:
        self.x, self.y, self.level = x, y, level
        self.accumulator = torch.float64 if level is torch.float64 else torch.float32
        eps = torch.finfo(self.accumulator).eps
        summed = x.features.shape[1] * eps + torch.finfo(level).eps / 2 if level.is_floating_point else 0.0
        rounding = summed + 2 * eps
        lost_x, lost_y = self._lost(x), self._lost(y)
        norms, lost = torch.cat([x.norms, y.norms]), torch.cat([lost_x, lost_y])
        t = torch.where(norms > 0, lost / norms, 0.0).median().sqrt().clamp(min=torch.finfo(torch.float64).eps)
        vanished = (x.features.shape[1] + 4) * torch.finfo(self.accumulator).tiny  # of numbers too small for the sum

        def slack(norms: Tensor, lost: Tensor) -> Tensor:
            vectors = t * norms + (1 + 1 / t) * lost
            return vectors + rounding * (norms + vectors) + 4 * eps * norms + vanished

        x_slack, y_slack = slack(x.norms, lost_x), slack(y.norms, lost_y)
        self.x_low, self.y_low = (x.norms - x_slack).to(self.accumulator), (y.norms - y_slack).to(self.accumulator)
        self.x_slack, self.y_slack = 2 * x_slack, 2 * y_slack

    def lower(self, rows: slice | Tensor, columns: slice | Tensor) -> Tensor:
        """Lower bounds of the distances of these x and these y; float32, at the finest level float64."""
        low = self.x_low[rows, None] + self.y_low[columns]
        if self.level not in FEW_BITS:
            a, b = (z.features[at] - z.centre for z, at in ((self.x, rows), (self.y, columns)))
            return low.sub_(product(a.to(self.level), b.to(self.level)), alpha=2)
        x, y = self.x.rough(self.level), self.y.rough(self.level)
        found = product(x.values[rows], y.values[columns])
        if x.scale is not None and y.scale is not None:
            found = found.float().mul_(x.scale[rows]).mul_(y.scale[columns, 0])
        return low.sub_(found, alpha=2)

    def _lost(self, z: Points) -> Tensor:
        if self.level in FEW_BITS:
            return z.rough(self.level).lost
        return torch.finfo(self.level).eps ** 2 * z.norms


def product(a: Tensor, b: Tensor) -> Tensor:
    """a bᵀ, with sums in float32 at least, and float32 as such: no TF32. Of int8 in int32, exact for d up to 2^17."""
    if a.dtype is torch.int8:
        return torch._int_mm(a, b.T)
    if a.device.type == "cpu":
        return a @ b.T
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction = False, False
    try:
        return a @ b.T
    finally:
        matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction = before
