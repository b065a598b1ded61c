"""The rounding of the products behind the bounds never shows in a result: every answer is that of float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.machine.device import has_bf16
from bench.metrics.shared import neighbours
from bench.metrics.shared import precision_recall as manifold
from bench.metrics.shared.neighbours import Bounds, Points, nearest, own_distances, pair_distances, squared_norms
from bench.metrics.shared.precision_recall import manifold_scores


def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None].astype(np.float64) - b[None]) ** 2).sum(-1)


def bounds_of(a: np.ndarray, b: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return lower and upper bounds of all distances, float64 (n, m)."""
    bounds = Bounds(torch.from_numpy(a), torch.from_numpy(b))
    lower = bounds.lower(slice(0, len(a))).double()
    return lower / bounds.scale**2, (lower + bounds.x_slack[:, None] + bounds.y_slack) / bounds.scale**2


def tight(rng: np.random.Generator, n: int, d: int, width: float) -> np.ndarray:
    """Return three clusters whose width is `width` times their distance from the centre."""
    centres = rng.standard_normal((3, d)) * 10
    return (centres[rng.integers(0, 3, n)] + width * 10 * rng.standard_normal((n, d))).astype(np.float32)


@pytest.fixture(params=[True, False], ids=["bf16", "float32"])
def with_bf16(request, monkeypatch) -> bool:
    """Run with both kinds of hardware; all machines compute bf16 correctly, if slowly."""
    monkeypatch.setattr(neighbours, "has_bf16", lambda device: request.param)
    return request.param


@pytest.mark.parametrize("bf16", [True, False])
@given(
    seed=st.integers(0, 10**6),
    d=st.integers(2, 300),
    scale=st.sampled_from([1e-25, 1e-19, 1e-6, 1.0, 1e6, 1e12]),
    shift=st.floats(-100, 100),
)
@settings(max_examples=30, deadline=None)
def test_bounds_enclose_every_distance(bf16, seed, d, scale, shift):
    rng = np.random.default_rng(seed)
    a, b = (((rng.standard_normal((n, d)) + shift) * scale).astype(np.float32) for n in (30, 40))
    a[0] *= 1000  # one far out, whose rounding must not count for the others alone
    b[0] = b.mean(axis=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "has_bf16", lambda device: bf16)
        lower, upper = bounds_of(a, b)
    truth = torch.from_numpy(squared(a, b))
    norms = [squared_norms(torch.from_numpy(x), torch.from_numpy(b).double().mean(0)) for x in (a, b)]
    rounding = 1e-12 * (norms[0][:, None] + norms[1])
    assert (lower <= truth + rounding).all() and (truth <= upper + rounding).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("d", [1, 8, 500])
def test_bounds_enclose_distances_whose_rounding_adds_up(with_bf16, sign, d):
    """Check equal features close to the midpoint between two bf16 numbers, so that each is rounded in the same
    direction by the largest amount. Their products are rounded once more."""
    values = 1 + 2.0**-8 * (1 - 2.0**-12) * np.array([1, 3, 5, 7])
    a = np.repeat(values[:, None], d, axis=1).astype(np.float32)
    b = np.vstack([np.zeros((5, d)), sign * a]).astype(np.float32)  # the zeros are the median
    lower, upper = bounds_of(a, b)
    truth = torch.from_numpy(squared(a, b))
    assert (lower <= truth).all() and (truth <= upper).all()


def test_bounds_are_as_narrow_as_the_rounding_allows(with_bf16):
    """Check the width of the bounds, because the tests above would pass with any slack."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, 256)).astype(np.float32) for n in (30, 40))
    norms = [float(squared_norms(torch.from_numpy(x), torch.zeros(256)).mean()) for x in (a, b)]
    lower, upper = bounds_of(a, b)
    assert float((upper - lower).mean()) < (0.02 if with_bf16 else 1e-4) * sum(norms)
    far = a.copy()
    far[0, 0] = 1e4  # an outlier must not widen the bounds of the others
    low, high = bounds_of(far, b)
    assert float((high - low)[1:].mean()) < 1.3 * float((upper - lower)[1:].mean())


def test_few_pairs_of_high_dimensional_features_are_left_to_float64(monkeypatch):
    """Check the purpose of the bounds: of 600 x 600 pairs within each set and across, only a few per point are
    computed."""
    computed = []

    def counted(x: torch.Tensor, i: torch.Tensor, y: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        computed.append(len(i))
        return pair_distances(x, i, y, j)

    monkeypatch.setattr(neighbours, "pair_distances", counted)
    monkeypatch.setattr(manifold, "pair_distances", counted)
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((16, 256))
    a, b = (np.maximum(rng.standard_normal((600, 16)) @ mix, 0).astype(np.float32) for _ in range(2))
    b[0] *= 1000  # an outlier does not move the centre away from all others
    manifold_scores(a, b, 3)
    assert sum(computed) < 3 * 600 * 20


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_pair_distances_are_those_of_float64(monkeypatch, scale):
    monkeypatch.setitem(neighbours.FEW, "cpu", 7)
    rng = np.random.default_rng(0)
    a, b = ((rng.standard_normal((20, 50)) * scale).astype(np.float32) for _ in range(2))
    i, j = (torch.from_numpy(rng.integers(0, 20, 30)) for _ in range(2))
    distances = pair_distances(torch.from_numpy(a), i, torch.from_numpy(b), j)
    np.testing.assert_allclose(distances, squared(a, b)[i, j], rtol=1e-14)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e18, 1e19])
def test_neighbours_are_exact_at_the_ends_of_float32(monkeypatch, with_bf16, scale):
    monkeypatch.setattr(neighbours, "BLOCK", 16 * 60)
    rng = np.random.default_rng(0)
    a, b = ((rng.standard_normal((n, 64)) * scale).astype(np.float32) for n in (50, 60))
    distances, _ = nearest(Points.of(a), Points.of(b), 3)
    np.testing.assert_allclose(distances.numpy(), np.sort(squared(a, b), axis=1)[:, :3], rtol=1e-12)


def test_far_outliers_change_no_neighbour(monkeypatch, with_bf16):
    monkeypatch.setattr(neighbours, "BLOCK", 16 * 100)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 64)).astype(np.float32)
    x[16:] += 1000 * rng.standard_normal((84, 64)).astype(np.float32)
    own = own_distances(Points.of(x), 3).numpy()
    np.testing.assert_allclose(own, np.sort(squared(x, x), axis=1)[:, 1:4], rtol=1e-12)


@pytest.mark.parametrize("width", [1.0, 1e-2, 1e-4, 1e-6, 0.0])
def test_neighbours_are_exact_however_close_the_points(monkeypatch, with_bf16, width):
    """Check ever narrower clusters, in which the bounds decide fewer pairs, and in the end none within a cluster."""
    monkeypatch.setattr(neighbours, "BLOCK", 64 * 170)
    rng = np.random.default_rng(0)
    a, b = tight(rng, 150, 64, width), tight(rng, 170, 64, width)
    distances, indices = (x.numpy() for x in nearest(Points.of(a), Points.of(b), 4))
    truth = squared(a, b)
    np.testing.assert_allclose(distances, np.sort(truth, axis=1)[:, :4], rtol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(truth, indices, 1), distances, rtol=1e-12)
    own = own_distances(Points.of(a), 3).numpy()
    np.testing.assert_allclose(own, np.sort(squared(a, a), axis=1)[:, 1:4], rtol=1e-12)


def test_among_equally_near_points_the_first_comes_first(with_bf16):
    x = np.repeat(np.random.default_rng(0).standard_normal((10, 5)), 4, axis=0)
    distances, indices = nearest(Points.of(x), Points.of(x), 4)
    assert (distances == 0).all()
    assert (indices.numpy() == 4 * (np.arange(40) // 4)[:, None] + np.arange(4)).all()


@pytest.mark.parametrize("width", [1.0, 1e-2, 1e-4, 1e-6])
def test_manifold_scores_are_those_of_all_distances(monkeypatch, with_bf16, width):
    monkeypatch.setattr(neighbours, "BLOCK", 64 * 160)
    rng = np.random.default_rng(1)
    a, b = tight(rng, 140, 64, width), tight(rng, 160, 64, width)
    b[:100] += a[:100] - b[:100] + 0.3 * width * rng.standard_normal((100, 64)).astype(np.float32)
    assert_scores_are_those_of_all_distances(a, b)


@pytest.mark.parametrize("far", [0.0, 1e3, 1e6])
def test_manifold_scores_of_collapsed_sets_are_those_of_all_distances(with_bf16, far):
    """Check points that are nearly equal, on one side or on both, near the other set or far from it."""
    rng = np.random.default_rng(2)
    point = far + rng.standard_normal(64)
    a, b = ((point + 1e-3 * rng.standard_normal((n, 64))).astype(np.float64) for n in (120, 130))
    wide = rng.standard_normal((130, 64))
    for x, y in ((a, b), (a, wide), (wide, b)):
        assert_scores_are_those_of_all_distances(x, y)


def assert_scores_are_those_of_all_distances(a: np.ndarray, b: np.ndarray, k: int = 3) -> None:
    cross = squared(a, b)
    ball_a, ball_b = (np.sort(squared(x, x), axis=1)[:, k] for x in (a, b))
    result = manifold_scores(a, b, k)
    assert result.precision == pytest.approx((cross <= ball_b).any(1).mean(), abs=1e-12)
    assert result.recall == pytest.approx((cross <= ball_a[:, None]).any(0).mean(), abs=1e-12)
    assert result.density == pytest.approx((cross <= ball_b).sum(1).mean() / k, abs=1e-12)
    assert result.coverage == pytest.approx((cross <= ball_b).any(0).mean(), abs=1e-12)


def test_points_within_rounding_of_a_rim_are_inside():
    """Check points within `ROUNDING` of the distance, in one dimension, where the reference's ball around 0 has radius
    1."""
    reference = np.array([[0.0], [1.0], [10.0], [11.5]])
    for beyond, inside in ((0.0, True), (2e-13, True), (1e-11, False)):
        subject = np.array([[-1 - beyond], [100.0], [103.0]])
        assert manifold_scores(subject, reference, 1).precision == pytest.approx(1 / 3 if inside else 0)


def test_what_is_known_of_a_set_is_not_computed_again(monkeypatch):
    x = np.random.default_rng(2).standard_normal((50, 6)).astype(np.float32)
    distances = own_distances(Points.of(x), 3)
    again = Points.of(x, own_distances=distances.numpy())
    assert Points.of(again) is again
    monkeypatch.setattr(neighbours, "nearest", None)
    assert torch.equal(own_distances(again, 2), distances[:, :2]) and torch.equal(own_distances(again, 3), distances)
    with pytest.raises(TypeError):
        own_distances(again, 4)


def test_this_machine_is_asked_for_bf16(monkeypatch):
    """Check that the rounded copies are in bf16 exactly if the hardware has it."""
    x = torch.zeros(3, 2)
    x[0] = 1
    assert Bounds(x, x).x.dtype is (torch.bfloat16 if has_bf16(torch.device("cpu")) else torch.float32)
