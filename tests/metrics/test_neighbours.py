"""Screening in low precision must never be seen in a result: every answer is that of float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics import manifold, neighbours, screening
from bench.metrics.manifold import manifold_scores
from bench.metrics.neighbours import distances_beside, nearest, own_distances, pair_distances, true_entries
from bench.metrics.points import Points, paired
from bench.metrics.screening import FEW_BITS, Screen, levels, product
from bench.runtime import has_int8

CPU = torch.device("cpu")


def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None].astype(np.float64) - b[None]) ** 2).sum(-1)


def tight(rng: np.random.Generator, n: int, d: int, width: float) -> np.ndarray:
    """Three clusters as wide as `width` times their distance from the centre."""
    centres = rng.standard_normal((3, d)) * 10
    return (centres[rng.integers(0, 3, n)] + width * 10 * rng.standard_normal((n, d))).astype(np.float32)


no_int8 = pytest.mark.skipif(not has_int8(CPU), reason="products of int8 may saturate here, and are not used")
INT8 = pytest.param(torch.int8, marks=no_int8)


@pytest.mark.parametrize("level", [INT8, torch.bfloat16, torch.float32, torch.float64])
@given(
    seed=st.integers(0, 10**6),
    d=st.integers(2, 300),
    scale=st.sampled_from([1e-25, 1e-19, 1e-6, 1.0, 1e6, 1e12]),
    shift=st.floats(-100, 100),
)
@settings(max_examples=30, deadline=None)
def test_a_screen_encloses_every_distance(level, seed, d, scale, shift):
    rng = np.random.default_rng(seed)
    a, b = (((rng.standard_normal((n, d)) + shift) * scale).astype(np.float32) for n in (30, 40))
    a[0] *= 1000  # one far out, whose rounding must not count for the others alone
    b[0] = b.mean(axis=0)
    x, y = paired(a, b)
    screen = Screen(x, y, level)
    lower = screen.lower(slice(0, 30), slice(0, 40)).double()
    upper = lower + screen.x_slack[:, None] + screen.y_slack
    truth = torch.from_numpy(squared(a, b))
    rounding = 1e-12 * (x.norms[:, None] + y.norms)
    assert (lower <= truth + rounding).all() and (truth <= upper + rounding).all()


def test_a_screen_is_as_narrow_as_its_level_allows():
    """Else the test above would pass with any slack."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, 256)).astype(np.float32) for n in (30, 40))
    x, y = paired(a, b)
    size = float(x.norms.mean() + y.norms.mean())
    for level, share in ((torch.int8, 0.05), (torch.bfloat16, 0.02), (torch.float32, 1e-4), (torch.float64, 1e-12)):
        if level is torch.int8 and not has_int8(CPU):
            continue
        screen = Screen(x, y, level)
        assert float(screen.x_slack.mean() + screen.y_slack.mean()) < share * size, level
        far = a.copy()
        far[0, 0] = 1e4  # one far out, in which int8 loses all but one entry, must not make it wider for the others
        with_outlier = Screen(*paired(far, b), level)
        assert float(with_outlier.x_slack[1:].mean()) < 1.2 * float(screen.x_slack[1:].mean()), level


@no_int8
@pytest.mark.parametrize("shape", [(3, 64, 7), (64, 2048, 96), (1, 64, 7), (3, 64, 1)])
def test_products_of_int8_are_exact(shape):
    """Also with the largest entries, whose sums a 16-bit accumulator would not hold."""
    rows, d, columns = shape
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-127, 128, (n, d)).astype(np.int8) for n in (rows, columns))
    a[0] = b[0] = 127
    found = product(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert (found == a.astype(np.int64) @ b.T.astype(np.int64)).all()


@pytest.mark.parametrize("shape", [(1, 8), (5, 64), (3, 7), (0, 16)])
def test_true_entries_are_those_of_nonzero(shape):
    mask = torch.from_numpy(np.random.default_rng(0).random(shape) < 0.2)
    for kind in (mask, ~mask, mask.T):
        for found, wanted in zip(true_entries(kind), kind.nonzero(as_tuple=True), strict=True):
            assert torch.equal(found, wanted)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_distances_say_on_which_side_of_a_bound_they_are(scale):
    """Even where float32 has too few digits, or too small an exponent."""
    rng = np.random.default_rng(0)
    x, y = paired(*((rng.standard_normal((20, 50)) * scale).astype(np.float32) for _ in range(2)))
    i = j = torch.arange(20)
    truth = pair_distances(x, i, y, j)
    for factor in (1 - 1e-9, 1.0, 1 + 1e-9, 0.5, 2.0):
        bound = truth * factor
        assert torch.equal(distances_beside(x, i, y, j, bound) <= bound, truth <= bound)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e18, 1e19])
def test_neighbours_are_exact_at_the_ends_of_float32(monkeypatch, scale):
    monkeypatch.setattr(screening, "BLOCK", 16)
    rng = np.random.default_rng(0)
    a, b = ((rng.standard_normal((n, 64)) * scale).astype(np.float32) for n in (50, 60))
    distances, _ = nearest(*paired(a, b), 3)
    np.testing.assert_allclose(distances.numpy(), np.sort(squared(a, b), axis=1)[:, :3], rtol=1e-12)


def test_what_fills_up_a_list_of_candidates_is_no_neighbour(monkeypatch):
    """The first point fills up, also its own list."""
    monkeypatch.setattr(screening, "BLOCK", 16)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 64)).astype(np.float32)
    x[16:] += 1000 * rng.standard_normal((84, 64)).astype(np.float32)
    own = own_distances(Points.of(x, x.mean(axis=0, dtype=np.float64)), 3).numpy()
    np.testing.assert_allclose(own, np.sort(squared(x, x), axis=1)[:, 1:4], rtol=1e-12)


@pytest.mark.parametrize("width", [1.0, 1e-2, 1e-4, 1e-6, 0.0])
def test_neighbours_are_exact_however_close_the_points(monkeypatch, width):
    """The narrower the clusters, the less int8, bf16 and then float32 can tell."""
    monkeypatch.setattr(screening, "BLOCK", 64)
    rng = np.random.default_rng(0)
    a, b = tight(rng, 150, 64, width), tight(rng, 170, 64, width)
    distances, indices = (x.numpy() for x in nearest(*paired(a, b), 4))
    truth = squared(a, b)
    np.testing.assert_allclose(distances, np.sort(truth, axis=1)[:, :4], rtol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(truth, indices, 1), distances, rtol=1e-12)
    own = own_distances(Points.of(a, a.mean(axis=0, dtype=np.float64)), 3).numpy()
    np.testing.assert_allclose(own, np.sort(squared(a, a), axis=1)[:, 1:4], rtol=1e-12)


def test_narrow_clusters_are_screened_again_in_more_digits(monkeypatch):
    """Else the test above would not reach the finer levels."""
    seen = set()
    monkeypatch.setattr(neighbours, "Screen", lambda *a: (seen.add(a[-1]), Screen(*a))[1])
    x = tight(np.random.default_rng(0), 300, 64, 1e-5)
    own_distances(Points.of(x, x.mean(axis=0, dtype=np.float64)), 3)
    assert seen == set(levels(CPU, 64))


@pytest.mark.parametrize(("width", "asked"), [(1.0, 1), (1e-4, 0)])
def test_few_bits_that_tell_little_are_tried_on_some_points_alone(monkeypatch, width, asked):
    """asked: how often a level in few bits screens all the points."""
    monkeypatch.setattr(neighbours, "PROBED", 8)
    all_of: list[torch.dtype] = []
    closest = neighbours._closest

    def counted(screen: Screen, rows: torch.Tensor, k: int):
        if screen.level in FEW_BITS and len(rows) == 300:
            all_of.append(screen.level)
        return closest(screen, rows, k)

    monkeypatch.setattr(neighbours, "_closest", counted)
    x = tight(np.random.default_rng(0), 300, 64, width)
    own = own_distances(Points.of(x, x.mean(axis=0, dtype=np.float64)), 3).numpy()
    np.testing.assert_allclose(own, np.sort(squared(x, x), axis=1)[:, 1:4], rtol=1e-12)
    if levels(CPU, 64)[0] in FEW_BITS:
        assert len(all_of) == asked


@pytest.mark.parametrize(
    ("width", "max_open"), [(w, m) for m in (0, 10**9) for w in (1.0, 1e-2, 1e-4, 1e-6) if m or w > 1e-3]
)
def test_manifold_scores_are_those_of_all_distances(monkeypatch, width, max_open):
    """max_open = 0: blocks with anything left open go to the next level; 10**9: each pair is computed, which
    alone can tell apart what is closer than a float64 product of the norms."""
    monkeypatch.setattr(screening, "BLOCK", 64)
    monkeypatch.setattr(manifold, "MAX_OPEN", max_open)
    rng = np.random.default_rng(1)
    a, b = tight(rng, 140, 64, width), tight(rng, 160, 64, width)
    b[:100] += a[:100] - b[:100] + 0.3 * width * rng.standard_normal((100, 64)).astype(np.float32)
    k, cross = 3, squared(a, b)
    ball_a, ball_b = (np.sort(squared(x, x), axis=1)[:, k] for x in (a, b))
    result = manifold_scores(a, b, k)
    assert result.precision == pytest.approx((cross <= ball_b).any(1).mean(), abs=1e-12)
    assert result.recall == pytest.approx((cross <= ball_a[:, None]).any(0).mean(), abs=1e-12)
    assert result.density == pytest.approx((cross <= ball_b).sum(1).mean() / k, abs=1e-12)
    assert result.coverage == pytest.approx((cross <= ball_b).any(0).mean(), abs=1e-12)


def test_what_is_known_of_a_set_is_not_computed_again(monkeypatch):
    x = np.random.default_rng(2).standard_normal((50, 6)).astype(np.float32)
    centre = x.mean(axis=0, dtype=np.float64)
    found = own_distances(Points.of(x, centre), 3)
    again = Points.of(x, centre, own_distances=found.numpy())
    monkeypatch.setattr(neighbours, "nearest", None)
    assert torch.equal(own_distances(again, 2), found[:, :2]) and torch.equal(own_distances(again, 3), found)
    with pytest.raises(TypeError):
        own_distances(again, 4)
