"""Exact nearest neighbours: bounds decide most pairs, distances in float64 decide the rest.

Distances are squared Euclidean. `Bounds` encloses all distances of a block of points, from one product of features
rounded to bf16 (float32 if the hardware has no bf16). A pair that its bounds do not decide is computed from the
differences of its features in float64, so the rounding of the product never changes a result. If the bounds decide
nothing, as for many points in a few tight clusters, every pair is computed: this is slower but takes no more memory.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from bench.machine.device import has_bf16

BLOCK = 2**21
"""Number of distances that are held in memory at a time."""

FEW = {"cpu": 256, "cuda": 16384}
"""Number of rows that are held in float64 at a time. On the CPU, this number of rows fits into its cache."""

CENTRED_ON = 100
"""Largest number of points from which the median for the centre is computed."""

ROUNDING = 1e-12
"""Tolerance for the rounding of a squared distance in comparisons, relative to the distance or to the squared norms."""


@dataclass(frozen=True, eq=False)
class Points:
    """Features, float (n, d) on a device. `known_own_distances` caches at most one tensor, which `own_distances` has
    computed for these features."""

    features: Tensor
    known_own_distances: list[Tensor] = field(default_factory=list)

    @staticmethod
    def of(
        features: "Features", device: str | torch.device = "cpu", own_distances: np.ndarray | None = None
    ) -> "Points":
        """Return features as points on `device`; `Points` are returned unchanged.

        features: float (n, d), possibly memory-mapped, or `Points`. own_distances: float64 (n, k), an earlier result of
        the function `own_distances` for these features.
        """
        if isinstance(features, Points):
            return features
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # the tensor is only read
            values = torch.from_numpy(features).to(device)
        return Points(values, [] if own_distances is None else [torch.from_numpy(own_distances).to(device)])

    def __len__(self) -> int:
        return len(self.features)


Features = np.ndarray | Points


class Bounds:
    """Lower and upper bounds of the squared distances |x - y|² of all x (n, d) and y (m, d), times scale².

    Let the origin be a median of y, which outliers do not move, and let x', y' be x, y rounded: |x' - x| <= r |x|.
    Their product, a sum of d terms with machine epsilon e, rounded once more with unit roundoff u, satisfies

        |fl(x'·y') - x·y| <= b |x| |y|,  b = (1 + r)² (1 + d e) (1 + u) - 1   (Higham 2002, sec. 3.1).

    Because 2 |x| |y| <= |x|² + |y|², the error of |x|² + |y|² - 2 x'·y' is at most b |x|² + b |y|². This bound has one
    term for each point, so an outlier widens only its own bounds.

    Attributes:
        x_slack: float64 (n,). The distance of i and j lies in [lower[i, j], lower[i, j] + x_slack[i] + y_slack[j]].
        y_slack: float64 (m,).
        scale: A power of two that keeps squares within the range of float32.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        dtype = torch.bfloat16 if has_bf16(x.device) else torch.float32
        largest = max(float(bound.abs()) for z in (x, y) for bound in torch.aminmax(z))
        self.scale = math.ldexp(1.0, -max(math.frexp(largest)[1], -400))
        some = y[:: -(-len(y) // CENTRED_ON)].double()
        centre = some.sort(dim=0).values[(len(some) - 1) // 2]  # torch.median fails on CUDA in deterministic mode
        self.y, y_norms, y_loss = self._rounded(y, centre, dtype)
        self.x, x_norms, x_loss = (self.y, y_norms, y_loss) if x is y else self._rounded(x, centre, dtype)
        eps, tiny = torch.finfo(torch.float32).eps, torch.finfo(torch.float32).tiny
        d, loss = x.shape[1], max(x_loss, y_loss)
        product = (1 + loss) ** 2 * (1 + d * eps) * (1 + torch.finfo(dtype).eps / 2) - 1
        # 8 eps: rounding of the sums in `lower` and of the values they are compared with; tiny: underflow in float32
        x_slack, y_slack = ((product + 8 * eps) * norms + 16 * d * tiny for norms in (x_norms, y_norms))
        self.x_low, self.y_low = (x_norms - x_slack).float(), (y_norms - y_slack).float()
        self.x_slack, self.y_slack = 2 * x_slack, 2 * y_slack

    def _rounded(self, z: Tensor, centre: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, float]:
        """Return z - centre in `dtype` (n, d), the squared norms of its rows before rounding, float64 (n,), and the
        largest relative rounding error of a row. All are in units of `scale`."""
        values, norms = torch.empty_like(z, dtype=dtype), torch.empty(len(z), dtype=torch.float64, device=z.device)
        lost = torch.empty_like(norms)
        for rows in slices(len(z), FEW[z.device.type]):
            exact = (z[rows] - centre) * self.scale
            values[rows] = exact
            norms[rows] = exact.square().sum(1)
            lost[rows] = (exact - values[rows]).square().sum(1)
        return values, norms, float((lost / norms.clamp(min=1e-60)).max().sqrt())

    def blocks(self) -> Iterator[slice]:
        """Yield slices of the rows of x, such that a block of distances to all y has about `BLOCK` entries."""
        return slices(len(self.x), max(1, BLOCK // len(self.y)))

    def lower(self, rows: slice) -> Tensor:
        """Return lower bounds of the distances of some rows of x to all y, float32 (rows, m)."""
        return (self.x_low[rows, None] + self.y_low).sub_(product(self.x[rows], self.y), alpha=2)


def nearest(queries: Points, points: Points, k: int) -> tuple[Tensor, Tensor]:
    """Return the k nearest points of each query: squared distances float64 (n, k), ascending, and indices int64 (n, k).

    Among equally near points, the one with the smaller index comes first. For neighbours within one set, use k + 1: the
    first neighbour of every point is the point itself or an equal point.
    """
    if _all_equal(points.features):  # no bound would decide a pair
        first = torch.zeros(len(queries), dtype=torch.int64, device=points.features.device)
        each = torch.arange(len(queries), device=first.device)
        distances = pair_distances(queries.features, each, points.features, first)
        return distances[:, None].repeat(1, k), torch.arange(k, device=first.device).repeat(len(queries), 1)
    bounds, neighbours = Bounds(queries.features, points.features), []
    for rows in bounds.blocks():
        lower = bounds.lower(rows)
        likely = lower.topk(k, dim=1, largest=False).indices
        each = torch.arange(rows.start, rows.stop, device=likely.device).repeat_interleave(k)
        reach = pair_distances(queries.features, each, points.features, likely.flatten()).view(-1, k).amax(1)
        # k points lie within this reach, so a point with a larger lower bound is not among the k nearest
        i, j = (lower <= (reach * bounds.scale**2).float()[:, None]).nonzero(as_tuple=True)
        distances = pair_distances(queries.features, i + rows.start, points.features, j)
        order = distances.argsort(stable=True)
        order = order[i[order].argsort(stable=True)]  # by query, then distance, then index
        first = torch.searchsorted(i, torch.arange(len(lower), device=i.device))
        chosen = order[first[:, None] + torch.arange(k, device=i.device)]
        neighbours.append((distances[chosen], j[chosen]))
    distances, indices = (torch.cat(parts) for parts in zip(*neighbours, strict=True))
    return distances, indices


def own_distances(points: Points, k: int) -> Tensor:
    """Return the squared distances of each point to its k nearest other points of the set, float64 (n, k), ascending.

    The result is cached in `points`: a second call with the same or a smaller k computes nothing.
    """
    known = points.known_own_distances
    if not known or known[0].shape[1] < k:
        known[:] = [nearest(points, points, k + 1)[0][:, 1:]]  # without the point itself, or an equal point
    return known[0][:, :k]


def _all_equal(features: Tensor) -> bool:
    return all(bool((features[q] == features[0]).all()) for q in slices(len(features), BLOCK // features.shape[1] + 1))


def pair_distances(x: Tensor, i: Tensor, y: Tensor, j: Tensor) -> Tensor:
    """Return the squared distances of pairs of points, from their differences in float64.

    Args:
        x: float (n, d).
        i: int64 (p,), the row of x in each pair.
        y: float (m, d).
        j: int64 (p,), the row of y in each pair.

    Returns:
        float64 (p,).
    """
    distances = torch.empty(len(i), dtype=torch.float64, device=x.device)
    count = FEW[x.device.type]
    # Reused buffers stay in the cache, which is several times faster on the CPU.
    near, far = (z.new_empty(min(count, len(i)), z.shape[1]) for z in (x, y))
    a, b = (torch.empty_like(near, dtype=torch.float64) for _ in range(2))
    for q in slices(len(i), count):
        rows = slice(q.stop - q.start)
        a[rows] = torch.index_select(x, 0, i[q], out=near[rows])
        b[rows] = torch.index_select(y, 0, j[q], out=far[rows])
        torch.sum(a[rows].sub_(b[rows]).square_(), 1, out=distances[q])
    return distances


def squared_norms(features: Tensor, centre: Tensor) -> Tensor:
    """Return the squared distances of all features, float (n, d), to one centre, float64 (d,), as float64 (n,)."""
    return torch.cat([(features[q] - centre).square().sum(1) for q in slices(len(features), FEW[features.device.type])])


def slices(n: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices of at most `size` that cover the rows 0 to n - 1."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return a bᵀ, accumulated in float32 or better, and without TF32 for float32 factors on CUDA."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction = False, False
    try:
        return a @ b.T
    finally:
        matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction = before
