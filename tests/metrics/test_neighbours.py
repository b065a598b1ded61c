"""Screening in low precision must never be seen in a result: every answer is that of float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics import manifold, neighbours
from bench.metrics.manifold import manifold_scores
from bench.metrics.neighbours import Points, bracket, nearest, paired

CPU = torch.device("cpu")


def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None].astype(np.float64) - b[None]) ** 2).sum(-1)


def tight(rng: np.random.Generator, n: int, d: int, width: float) -> np.ndarray:
    """Three clusters as wide as `width` times their distance from the centre."""
    centres = rng.standard_normal((3, d)) * 10
    return (centres[rng.integers(0, 3, n)] + width * 10 * rng.standard_normal((n, d))).astype(np.float32)


@pytest.mark.parametrize("level", [torch.bfloat16, torch.float32, torch.float64])
@given(seed=st.integers(0, 10**6), d=st.integers(1, 300), scale=st.floats(1e-6, 1e6), shift=st.floats(-100, 100))
@settings(max_examples=30, deadline=None)
def test_the_bracket_encloses_every_distance(level, seed, d, scale, shift):
    rng = np.random.default_rng(seed)
    a, b = (((rng.standard_normal((n, d)) + shift) * scale).astype(np.float32) for n in (30, 40))
    x, y = paired(a, b)
    if level is torch.bfloat16:  # also where the machine's own screening starts at float32
        x, y = rough(x), rough(y)
    lower, error = bracket(x, slice(0, 30), y, slice(0, 40), level)
    upper = lower.double() + error * (x.norms[:, None] + y.norms)
    truth = torch.from_numpy(squared(a, b))
    rounding = 1e-12 * (x.norms[:, None] + y.norms)
    assert (lower.double() <= truth + rounding).all() and (truth <= upper + rounding).all()


def rough(points: Points) -> Points:
    exact = points.features.double() - points.centre
    values = exact.bfloat16()
    loss = ((exact - values).square().sum(1) / points.norms).max().sqrt()
    return Points(points.features, points.centre, points.norms, values, float(loss))


@pytest.mark.parametrize("width", [1.0, 1e-2, 1e-4, 1e-6, 0.0])
def test_neighbours_are_exact_however_close_the_points(monkeypatch, width):
    """The narrower the clusters, the less bf16 and then float32 can tell."""
    monkeypatch.setattr(neighbours, "BLOCK", 64)
    rng = np.random.default_rng(0)
    a, b = tight(rng, 150, 24, width), tight(rng, 170, 24, width)
    distances, indices = (x.numpy() for x in nearest(*paired(a, b), 4))
    truth = squared(a, b)
    np.testing.assert_allclose(distances, np.sort(truth, axis=1)[:, :4], rtol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(truth, indices, 1), distances, rtol=1e-12)
    own = Points.of(a, a.mean(axis=0, dtype=np.float64)).own_distances(3).numpy()
    np.testing.assert_allclose(own, np.sort(squared(a, a), axis=1)[:, 1:4], rtol=1e-12)


def test_narrow_clusters_are_screened_again_in_more_digits(monkeypatch):
    """Else the test above would not reach the finer levels."""
    seen = set()
    bracket_ = neighbours.bracket
    monkeypatch.setattr(neighbours, "bracket", lambda *a: (seen.add(a[-1]), bracket_(*a))[1])
    x = tight(np.random.default_rng(0), 300, 24, 1e-5)
    Points.of(x, x.mean(axis=0, dtype=np.float64)).own_distances(3)
    assert seen == set(neighbours.levels(CPU))


@pytest.mark.parametrize(
    ("width", "max_open"), [(w, m) for m in (0, 10**9) for w in (1.0, 1e-2, 1e-4, 1e-6) if m or w > 1e-3]
)
def test_manifold_scores_are_those_of_all_distances(monkeypatch, width, max_open):
    """max_open = 0: blocks with anything left open go to the next level; 10**9: each pair is computed, which
    alone can tell apart what is closer than a float64 product of the norms."""
    monkeypatch.setattr(neighbours, "BLOCK", 64)
    monkeypatch.setattr(manifold, "MAX_OPEN", max_open)
    rng = np.random.default_rng(1)
    a, b = tight(rng, 140, 24, width), tight(rng, 160, 24, width)
    b[:100] += a[:100] - b[:100] + 0.3 * width * rng.standard_normal((100, 24)).astype(np.float32)
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
    found = Points.of(x, centre).own_distances(3)
    again = Points.of(x, centre, own_distances=found.numpy())
    monkeypatch.setattr(neighbours, "nearest", None)
    assert torch.equal(again.own_distances(2), found[:, :2]) and torch.equal(again.own_distances(3), found)
    with pytest.raises(TypeError):
        again.own_distances(4)
