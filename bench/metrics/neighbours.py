"""Exact nearest neighbours: screened in bf16, decided in float64; whatever N, the working memory stays below 1 GB.

Matrix products in bf16 run on tensor cores, and on a CPU several times faster than in float64. They are too rough to
say which point is nearest, but not to say which points cannot be: `bracket` encloses every distance, with a bound that
holds for each pair. The few pairs that the bound leaves open are computed anew from their differences, in float64.
Where points lie so close together that bf16 leaves too much open, float32 screens again, then float64.

Distances are squared Euclidean. Features are centred first: rounding is relative to their norm.
"""

import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from bench.runtime import has_bf16

BLOCK = 1024
"""Points on either side of one matrix of distances, which then stays in a cache of the processor."""

SPARE = 12
"""Candidates kept beside the k nearest: enough that the bound of bf16 seldom cuts between them."""

FEW = {"cpu": 128, "cuda": 16384}
"""Rows that are computed with in float64 at a time: on the CPU as many as stay in its cache (2 to 4 times faster than
1024)."""

ROUNDING = 1e-12
"""By how much, relative to |x|² + |y|², the rounding of a squared distance is taken to be less than."""


@dataclass(frozen=True, eq=False)
class Points:
    """A set of features, ready to be compared with another of the same centre.

    features: float (n, d) as given, on the device. centre: float64 (d,). norms: float64 (n,), squared, of features -
    centre. rough: (n, d), features - centre in the first of `levels`. loss: the largest |x - rough x| / |x|.
    """

    features: Tensor
    centre: Tensor
    norms: Tensor
    rough: Tensor
    loss: float
    _own: list[Tensor] = field(default_factory=list)  # at most one: what `own_distances` has found

    @staticmethod
    def of(
        features: np.ndarray,
        centre: np.ndarray,
        device: str | torch.device = "cpu",
        own_distances: np.ndarray | None = None,
    ) -> "Points":
        """features: float (n, d), possibly memory-mapped and not copied on the CPU; centre: float64 (d,).
        own_distances: what `own_distances` returned for these features earlier, where it is known."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor is it written
            values = torch.from_numpy(features).to(device)
        middle = torch.from_numpy(centre).to(device)
        n, d = features.shape
        norms = torch.empty(n, dtype=torch.float64, device=device)
        rough = torch.empty(n, d, dtype=levels(values.device)[0], device=device)
        loss = 0.0
        count = FEW[values.device.type]
        for start in range(0, n, count):
            rows = slice(start, start + count)
            x = values[rows] - middle
            rough[rows] = x
            norms[rows] = x.square().sum(1)
            lost = (x - rough[rows]).square_().sum(1) / norms[rows]
            loss = max(loss, float(lost.nan_to_num(0.0).max().sqrt()))  # a point at the centre loses nothing
        own = [] if own_distances is None else [torch.from_numpy(own_distances).to(device)]
        return Points(values, middle, norms, rough, loss, own)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def spread(self) -> Tensor:
        """Mean squared distance to the set's own mean, float64 ()."""
        offset = self.features.mean(dim=0, dtype=torch.float64) - self.centre
        return self.norms.mean() - offset.square().sum()

    def own_distances(self, k: int) -> Tensor:
        """float64 (n, k): squared distances of each point to its k nearest others of its own set, ascending. Kept:
        asked again for no more than k it costs nothing."""
        if not self._own or self._own[0].shape[1] < k:
            self._own[:] = [nearest(self, self, k + 1)[0][:, 1:]]  # without the point itself, or a twin of it
        return self._own[0][:, :k]

    def at(self, rows: slice | Tensor, level: torch.dtype) -> tuple[Tensor, float]:
        """These rows, centred, at a level; and how much of its norm each may have lost."""
        if level is self.rough.dtype:
            return self.rough[rows], self.loss
        return (self.features[rows] - self.centre).to(level), torch.finfo(level).eps


Features = np.ndarray | Points


def paired(subject: Features, reference: Features, device: str | torch.device = "cpu") -> tuple[Points, Points]:
    """Both sets ready to be compared, centred on the reference's mean; as they are where both are `Points` already."""
    if isinstance(subject, Points) and isinstance(reference, Points):
        return subject, reference
    a, b = (x.features.cpu().numpy() if isinstance(x, Points) else x for x in (subject, reference))
    centre = b.mean(axis=0, dtype=np.float64)
    return Points.of(a, centre, device), Points.of(b, centre, device)


@functools.cache
def levels(device: torch.device) -> tuple[torch.dtype, ...]:
    """The precisions to screen in, roughest first."""
    fine = (torch.float32, torch.float64)
    return (torch.bfloat16, *fine) if has_bf16(device) else fine


def slices(n: int) -> Iterator[slice]:
    """0 … n in blocks, in order."""
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))


def bracket(
    x: Points, rows: slice | Tensor, y: Points, columns: slice | Tensor, level: torch.dtype
) -> tuple[Tensor, float]:
    """(lower, error): each squared distance lies between lower[i, j] and lower[i, j] + error (|x_i|² + |y_j|²).

    With x = x' + r, |r| <= ρ|x|, and likewise for y, the product of the rough vectors is within
    (ρx + ρy + ρxρy) |x||y| of x·y (Cauchy–Schwarz); its sum is rounded d times, at the precision of the accumulator,
    and its result once, at that of the level. |x||y| <= (|x|² + |y|²) / 2, so twice the sum of the three bounds the
    distance.
    """
    a, loss_a = x.at(rows, level)
    b, loss_b = y.at(columns, level)
    accumulator = torch.float64 if level is torch.float64 else torch.float32
    rounding = a.shape[1] * torch.finfo(accumulator).eps + torch.finfo(level).eps / 2
    vectors = loss_a + loss_b + loss_a * loss_b
    error = vectors + rounding * (1 + loss_a) * (1 + loss_b) + 4 * torch.finfo(accumulator).eps
    shrunk = 1 - error
    norms = (x.norms[rows, None] * shrunk).to(accumulator) + (y.norms[columns] * shrunk).to(accumulator)
    return norms.sub_(product(a, b), alpha=2), 2 * error


def product(a: Tensor, b: Tensor) -> Tensor:
    """a bᵀ, with sums in float32 at least, and float32 as such: no TF32."""
    if a.device.type == "cpu":
        return a @ b.T
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction = False, False
    try:
        return a @ b.T
    finally:
        matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction = before


def pair_distances(x: Points, i: Tensor, y: Points, j: Tensor) -> Tensor:
    """float64 (p,): squared distance of x[i[q]] and y[j[q]], to the last digits."""
    found = torch.empty(len(i), dtype=torch.float64, device=i.device)
    count, d = FEW[i.device.type], x.features.shape[1]
    a, b = (z.features.new_empty(min(count, len(i)), d) for z in (x, y))  # used again and again: they stay in the cache
    apart = torch.empty(a.shape, dtype=torch.float64, device=i.device)
    for q in range(0, len(i), count):
        part = slice(q, min(q + count, len(i)))
        rows = slice(part.stop - part.start)
        torch.index_select(x.features, 0, i[part], out=a[rows])
        torch.index_select(y.features, 0, j[part], out=b[rows])
        torch.sum(apart[rows].copy_(a[rows]).sub_(b[rows]).square_(), 1, out=found[part])
    return found


def nearest(queries: Points, points: Points, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest points of each query: squared distances float64 (n, k), ascending, and indices int64 (n, k).

    Among equally near ones the first of the set comes first. For neighbours within one set ask for k + 1: every point
    is its own first neighbour (or has a twin that is).
    """
    device = points.features.device
    distances = torch.empty(len(queries), k, dtype=torch.float64, device=device)
    indices = torch.empty(len(queries), k, dtype=torch.int64, device=device)
    rows = torch.arange(len(queries), device=device)
    for level in levels(device):
        lower, where, error = _closest(queries, rows, points, k + SPARE, level)
        upper = lower + error * (queries.norms[rows, None] + points.norms[where])
        reach = upper.kthvalue(k, dim=1).values  # the k-th neighbour is no further than this
        sure = lower.amax(1) > reach  # so nothing nearer was left out
        if level is torch.float64 or lower.shape[1] == len(points):
            sure = torch.ones_like(sure)
        done = rows[sure]
        distances[done], indices[done] = _decide(queries, done, points, k, where[sure], (lower <= reach[:, None])[sure])
        rows = rows[~sure]
        if len(rows) == 0:
            break
    return distances, indices


def _closest(
    queries: Points, rows: Tensor, points: Points, count: int, level: torch.dtype
) -> tuple[Tensor, Tensor, float]:
    """Lower bounds float64 (n, c) and indices int64 (n, c) of the c = `count` points with the smallest lower bounds for
    each of the queries at `rows`, fewer where there are fewer points; and the error of `bracket`."""
    count = min(count, len(points))
    device = points.features.device
    lowest = torch.full((len(rows), count), torch.inf, dtype=torch.float64, device=device)
    where = torch.zeros(len(rows), count, dtype=torch.int64, device=device)

    def keep(into: slice, lower: Tensor, first: int, dim: int) -> None:
        values, at = _below(lower, lowest[into].amax(1), count, dim)
        values, at = torch.cat([lowest[into], values], 1), torch.cat([where[into], at + first], 1)
        lowest[into], order = values.topk(count, dim=1, largest=False, sorted=False)
        where[into] = at.gather(1, order)

    symmetric = queries is points and len(rows) == len(points)
    error = 0.0
    for block in slices(len(rows)):
        of = block if len(rows) == len(queries) else rows[block]
        for columns in slices(len(points)):
            if symmetric and columns.start < block.start:
                continue  # seen from the other side
            lower, error = bracket(queries, of, points, columns, level)
            keep(block, lower, columns.start, dim=1)
            if symmetric and columns.start > block.start:
                keep(columns, lower, block.start, dim=0)
    return lowest, where, error


def _below(lower: Tensor, reach: Tensor, count: int, dim: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest values along `dim` of a matrix or, where these are fewer, all that are below `reach`: values
    and positions, (the other dimension, c), filled up with infinity."""
    if lower.device.type == "cpu" and bool(reach.isfinite().all()):
        # Not the first block: few are below, and to find those is cheaper than to select. CUDA would be waited for.
        rows, columns = (lower < reach.to(lower.dtype).unsqueeze(dim)).nonzero(as_tuple=True)
        if len(rows) <= len(reach) * count:
            found = lower[rows, columns]
            if dim == 0:
                (rows, order), columns = columns.sort(stable=True), rows
                columns, found = columns[order], found[order]
            sizes = rows.bincount(minlength=len(reach))
            place = torch.arange(len(rows), device=rows.device) - (sizes.cumsum(0) - sizes)[rows]
            values = lower.new_full((len(reach), int(sizes.max())), torch.inf)
            at = torch.zeros_like(values, dtype=torch.int64)
            values[rows, place], at[rows, place] = found, columns
            return values, at
    values, at = lower.topk(min(count, lower.shape[dim]), dim=dim, largest=False, sorted=False)
    return (values, at) if dim == 1 else (values.T, at.T)


def _decide(
    queries: Points, rows: Tensor, points: Points, k: int, where: Tensor, near: Tensor
) -> tuple[Tensor, Tensor]:
    """The k nearest of the candidates where[near], by their exact distances."""
    where, order = where.sort(dim=1)
    near = near.gather(1, order)
    exact = torch.full(where.shape, torch.inf, dtype=torch.float64, device=where.device)
    if queries is points:
        itself = where == rows[:, None]
        exact[itself], near = 0.0, near & ~itself
    i, j = near.nonzero(as_tuple=True)
    exact[i, j] = pair_distances(queries, rows[i], points, where[i, j])
    exact, order = exact.sort(dim=1, stable=True)
    return exact[:, :k], where.gather(1, order)[:, :k]
