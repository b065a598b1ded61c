"""Exact nearest neighbours: screened in int8 or bf16, decided in float64. Beside copies of the features in these,
one to three bytes a feature, the working memory is that of one block of distances and a few candidates per point.

A `Screen` encloses every distance, with a bound that holds for each pair. The few pairs that the bound leaves open are
computed anew from their differences, in float64. Where points lie so close together that a level leaves too much open,
the next one screens again, up to float64.

Distances are squared Euclidean. Features are centred first: rounding is relative to their norm.
"""

import torch
from torch import Tensor

from bench.metrics.points import FEW, Points
from bench.metrics.screening import FEW_BITS, Screen, levels_for, slices

FIRST = 512
"""Points from which the first distance to the k-th nearest is estimated."""

SPARE = 28
"""Candidates kept beside the k nearest: enough that the bound of the first level seldom cuts between them."""

PROBED = 128
"""The most queries, evenly spread, that a level in few bits is tried on first."""

WORTHWHILE = 0.5
"""Share of these that it must decide."""

ROUNDING = 1e-12
"""By how much, relative to |x|² + |y|², the rounding of a squared distance is taken to be less than."""


def own_distances(points: Points, k: int) -> Tensor:
    """float64 (n, k): squared distances of each point to its k nearest others of its own set, ascending. Kept: asked
    again for no more than k it costs nothing."""
    known = points.known_own_distances
    if not known or known[0].shape[1] < k:
        known[:] = [nearest(points, points, k + 1)[0][:, 1:]]  # without the point itself, or a twin of it
    return known[0][:, :k]


def pair_distances(x: Points, i: Tensor, y: Points, j: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """dtype (p,): squared distance of x[i[q]] and y[j[q]], from differences in dtype: in that of the features, or a
    finer one, it has all digits but the last few."""
    found = torch.empty(len(i), dtype=dtype, device=i.device)
    count, d = FEW[i.device.type], x.features.shape[1]
    a, b = (z.features.new_empty(min(count, len(i)), d) for z in (x, y))  # used again and again: they stay in the cache
    apart, other = (torch.empty(a.shape, dtype=dtype, device=i.device) for _ in range(2))
    for q in range(0, len(i), count):
        part = slice(q, min(q + count, len(i)))
        rows = slice(part.stop - part.start)
        torch.index_select(x.features, 0, i[part], out=a[rows])
        torch.index_select(y.features, 0, j[part], out=b[rows])
        if apart.dtype == a.dtype:
            torch.sub(a[rows], b[rows], out=apart[rows])
        else:
            apart[rows].copy_(a[rows]).sub_(other[rows].copy_(b[rows]))  # of mixed types it takes half as long again
        torch.sum(apart[rows].square_(), 1, out=found[part])
    return found


def distances_beside(x: Points, i: Tensor, y: Points, j: Tensor, *bounds: Tensor) -> Tensor:
    """float64 (p,): squared distance of x[i[q]] and y[j[q]], as exact as is needed to say on which side of each of the
    bounds (float64 (p,)) it is: half of the work in most cases."""
    if x.features.dtype is not torch.float32 or y.features.dtype is not torch.float32:
        return pair_distances(x, i, y, j)
    distances = pair_distances(x, i, y, j, torch.float32).double()
    limits = torch.finfo(torch.float32)
    d = x.features.shape[1]
    error = (d + 4) * (limits.eps * distances + limits.tiny)
    close = torch.stack([(distances - bound).abs() <= error for bound in bounds]).any(0) | ~distances.isfinite()
    which = close.nonzero()[:, 0]
    distances[which] = pair_distances(x, i[which], y, j[which])
    return distances


def nearest(queries: Points, points: Points, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest points of each query: squared distances float64 (n, k), ascending, and indices int64 (n, k).

    Among equally near ones the first of the set comes first. For neighbours within one set ask for k + 1: every point
    is its own first neighbour (or has a twin that is).
    """
    device = points.features.device
    distances = torch.empty(len(queries), k, dtype=torch.float64, device=device)
    indices = torch.empty(len(queries), k, dtype=torch.int64, device=device)
    rows = torch.arange(len(queries), device=device)
    for level in levels_for(queries, points):
        screen = Screen(queries, points, level)
        if level in FEW_BITS and len(rows) > PROBED:
            lower, _, reach = _closest(screen, rows[:: -(-len(rows) // PROBED)], k)
            if (lower.amax(1) > reach).double().mean() < WORTHWHILE:
                continue
        lower, where, reach = _closest(screen, rows, k)
        sure = lower.amax(1) > reach  # so nothing nearer was left out
        if level is torch.float64 or lower.shape[1] == len(points):
            sure = torch.ones_like(sure)
        done = rows[sure]
        distances[done], indices[done] = _decide(queries, done, points, k, where[sure], (lower <= reach[:, None])[sure])
        rows = rows[~sure]
        if len(rows) == 0:
            break
    return distances, indices


def _closest(screen: Screen, rows: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each of the x at `rows`: lower bounds float64 (n, c) and indices int64 (n, c) of y that may be among the k
    nearest, filled up with infinity; and reach, float64 (n,), which the k-th nearest is no further than. Of more than
    k + SPARE such y those with the smallest lower bounds."""
    queries, points = screen.x, screen.y
    count = min(k + SPARE, len(points))
    device = points.features.device
    lowest = torch.full((len(rows), count), torch.inf, dtype=torch.float64, device=device)
    where = torch.zeros(len(rows), count, dtype=torch.int64, device=device)
    reach = torch.full((len(rows),), torch.inf, dtype=torch.float64, device=device)

    def look(into: slice, lower: Tensor, first: int, dim: int) -> None:
        """A first reach, from some of the y: to select the nearest of a whole block takes ten times as long."""
        some = lower[:, :FIRST] if dim == 1 else lower[:FIRST].T.contiguous()
        if some.shape[1] >= k:
            values, at = some.topk(k, dim=1, largest=False)
            upper = values + screen.x_slack[rows[into], None] + screen.y_slack[at + first]
            reach[into] = torch.minimum(reach[into], upper.amax(1))

    def keep(into: slice, lower: Tensor, first: int, dim: int) -> None:
        if device.type == "cpu" and not bool(reach[into].isfinite().all()):
            look(into, lower, first, dim)
        values, at = _below(lower, torch.minimum(lowest[into].amax(1), reach[into]), count, dim)
        values, at = torch.cat([lowest[into], values], 1), torch.cat([where[into], at + first], 1)
        lowest[into], order = values.topk(count, dim=1, largest=False, sorted=False)
        where[into] = at.gather(1, order)
        upper = lowest[into] + screen.x_slack[rows[into], None] + screen.y_slack[where[into]]
        reach[into] = upper.topk(k, dim=1, largest=False).values.amax(1)

    symmetric = queries is points and len(rows) == len(points)
    for block in slices(len(rows)):
        of = block if len(rows) == len(queries) else rows[block]
        for columns in slices(len(points)):
            if symmetric and columns.start < block.start:
                continue  # seen from the other side
            lower = screen.lower(of, columns)
            keep(block, lower, columns.start, dim=1)
            if symmetric and columns.start > block.start:
                keep(columns, lower, block.start, dim=0)
    return lowest, where, reach


def _below(lower: Tensor, reach: Tensor, count: int, dim: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest values along `dim` of a matrix or, where these are fewer, all that are not above `reach`:
    values and positions, (the other dimension, c), filled up with infinity."""
    if lower.device.type == "cpu" and bool(reach.isfinite().all()):
        # Not the first block: few are below, and to find those is cheaper than to select. CUDA would be waited for.
        bound = reach.to(lower.dtype).nextafter(lower.new_tensor(torch.inf))
        rows, columns = true_entries(lower <= bound.unsqueeze(dim))
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


def true_entries(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns, int64 (p,), of the true entries of a bool matrix, row by row."""
    if mask.device.type != "cpu" or mask.shape[1] % 8 or not mask.numel() or not mask.is_contiguous():
        rows, columns = mask.nonzero(as_tuple=True)
        return rows, columns
    # On the CPU, where few are true, eight at a time: several times faster.
    rows, words = mask.view(torch.int64).nonzero(as_tuple=True)
    which, place = mask.unflatten(1, (-1, 8))[rows, words].nonzero(as_tuple=True)
    return rows[which], 8 * words[which] + place


def _decide(
    queries: Points, rows: Tensor, points: Points, k: int, where: Tensor, near: Tensor
) -> tuple[Tensor, Tensor]:
    """The k nearest of the candidates where[near], by their exact distances."""
    where, order = where.sort(dim=1)
    near = near.gather(1, order)
    exact = torch.full(where.shape, torch.inf, dtype=torch.float64, device=where.device)
    if queries is points:
        itself = near & (where == rows[:, None])  # what only fills the list up is the first point, and not near
        exact[itself], near = 0.0, near & ~itself
    i, j = near.nonzero(as_tuple=True)
    exact[i, j] = pair_distances(queries, rows[i], points, where[i, j])
    exact, order = exact.sort(dim=1, stable=True)
    return exact[:, :k], where.gather(1, order)[:, :k]
