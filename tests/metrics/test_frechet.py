import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

from bench.errors import MetricError
from bench.metrics.shared import frechet_distance as frechet
from bench.metrics.shared.frechet_distance import Statistics, frechet_distance, frechet_infinity


def torch_fidelity(a: np.ndarray, b: np.ndarray) -> float:
    statistics = [fid_features_to_statistics(torch.from_numpy(x.astype(np.float64))) for x in (a, b)]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


def torchmetrics_fid(a: np.ndarray, b: np.ndarray) -> float:
    moments = [
        m for x in (a, b) for m in (x.mean(axis=0, dtype=np.float64), np.cov(x.astype(np.float64), rowvar=False))
    ]
    return float(_compute_fid(*map(torch.from_numpy, moments)))


def with_moments(rng, n, mean, covariance):
    """Return points with exactly this sample mean and covariance."""
    x = rng.standard_normal((n, len(mean)))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return x @ np.linalg.cholesky(covariance).T + mean


@pytest.mark.parametrize(("n", "m", "d"), [(500, 500, 40), (60, 60, 100), (50, 300, 80), (100, 100, 100)])
def test_agrees_with_torch_fidelity(n, m, d):
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((d, d))
    a = (rng.standard_normal((n, d)) @ mix).astype(np.float32)
    b = (rng.gamma(2.0, 1.0, (m, d))).astype(np.float32)
    assert frechet_distance(a, b) == pytest.approx(torch_fidelity(a, b), rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(torchmetrics_fid(a, b), rel=1e-6)


@pytest.mark.parametrize("n", [30, 400])
def test_gaussians_with_a_closed_form(n):
    """Check diagonal covariances, with the closed form |m1 - m2|² + Σ (σ1 - σ2)²."""
    rng = np.random.default_rng(1)
    s1, s2 = rng.uniform(0.5, 3, 8), rng.uniform(0.5, 3, 8)
    m1, m2 = rng.standard_normal(8), rng.standard_normal(8)
    a, b = with_moments(rng, n, m1, np.diag(s1**2)), with_moments(rng, n, m2, np.diag(s2**2))
    expected = ((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_features_that_vary_little_on_one_side_count_with_what_they_vary():
    """Check diagonal covariances over twelve orders of magnitude against the same in reverse order."""
    rng = np.random.default_rng(10)
    s = 10.0 ** np.arange(1, -6, -1)
    a, b = (with_moments(rng, 200, np.zeros(7), np.diag(sd**2)) for sd in (s, s[::-1]))
    assert frechet_distance(a, b) == pytest.approx(((s - s[::-1]) ** 2).sum(), rel=1e-8)


def test_sets_that_hardly_differ_are_distinguished_whatever_their_spread():
    """Check sets scaled by 1 + c about their mean, with distance c² tr S: far below what roots of eigenvalues near zero
    would lose."""
    s = 10.0 ** np.arange(1, -7, -1)
    x = with_moments(np.random.default_rng(11), 200, np.zeros(8), np.diag(s**2))
    for c in (1e-2, 1e-3):
        assert frechet_distance(x * (1 + c), x) == pytest.approx(c**2 * (s**2).sum(), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(9, 12), (60, 12)])
def test_rounding_makes_no_distance_negative(n, d):
    for seed in range(20):
        x = np.random.default_rng(seed).standard_normal((n, d)) * 100
        assert 0 <= frechet_distance(x, x[::-1]) < 1e-4


def test_both_routes_agree():
    """Check that moments (n > d) and centred features (n <= d) lead to the same number."""
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((40, 60)), rng.standard_normal((40, 60)) * 2
    moments = [Statistics(x.mean(axis=0), 1000, np.cov(x, rowvar=False)) for x in (a, b)]
    assert frechet_distance(*moments) == pytest.approx(frechet_distance(a, b), rel=1e-6)
    np.testing.assert_allclose(Statistics.of(a).covariance, np.cov(a, rowvar=False), atol=1e-12)


@pytest.mark.parametrize(("n", "d"), [(50, 200), (5000, 20)])
def test_identical_sets_score_zero_in_any_order(n, d):
    x = np.random.default_rng(3).standard_normal((n, d)).astype(np.float32) * 5 + 100
    assert frechet_distance(x, x) < 1e-6
    assert frechet_distance(x, x[::-1].copy()) < 1e-6


def test_symmetric_and_grows_with_the_shift():
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((200, 10)), rng.standard_normal((200, 10)) * 1.5
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, b + 1) > frechet_distance(a, b)


def test_dead_features_are_fine():
    """Check columns without any variance, which make the covariance singular for every N."""
    rng = np.random.default_rng(6)
    a, b = (np.hstack([rng.standard_normal((90, 6)) * s, np.zeros((90, 3))]) for s in (1, 2))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(a[:, :6], b[:, :6]), rel=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_infinity_takes_away_the_bias_in_n(scale):
    """Check Gaussians in 60 dimensions: the true distance is 60 (1 - scale)², and FID at N = 300 is far above it."""
    rng = np.random.default_rng(7)
    truth = 60 * (1 - scale) ** 2
    plain, extrapolated = [], []
    for _ in range(10):
        a, b = rng.standard_normal((300, 60)), rng.standard_normal((300, 60)) * scale
        plain.append(frechet_distance(a, b) - truth)
        extrapolated.append(frechet_infinity(a, b) - truth)
    assert np.mean(plain) > 5
    assert abs(np.mean(extrapolated)) < 0.2 * np.mean(plain)


def test_infinity_needs_no_order_and_enough_images():
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal((80, 20)), rng.standard_normal((80, 20))
    assert frechet_infinity(a, b) == pytest.approx(frechet_infinity(a[::-1], b), rel=1e-9)
    with pytest.raises(MetricError, match=r"N >= 1\.5 x 20"):
        frechet_infinity(a[:29], b[:29])


def test_infinity_is_where_a_line_through_one_over_n_ends(monkeypatch):
    """Check that distances linear in 1 / N give their intercept, for any slope, from six sizes that include N and N /
    2."""
    sizes: list[tuple[int, int]] = []

    def biased(a: np.ndarray, b: np.ndarray, device: object) -> float:
        sizes.append((len(a), len(b)))
        return 7 + 100 / len(a)

    monkeypatch.setattr(frechet, "frechet_distance", biased)
    x = np.random.default_rng(9).standard_normal((80, 20))
    assert frechet_infinity(x, x + 1) == pytest.approx(7)
    assert sizes == [(n, n) for n in (40, 48, 56, 64, 72, 80)]


def test_bad_features_are_refused():
    good = np.random.default_rng(5).standard_normal((10, 4))
    bad = good.copy()
    bad[3, 1] = np.nan
    with pytest.raises(MetricError, match="first row 3"):
        frechet_distance(bad, good)
    with pytest.raises(MetricError, match="reference 3"):
        frechet_distance(good, good[:, :3])
    with pytest.raises(MetricError, match="N = 1"):
        frechet_distance(good[:1], good)
