import numpy as np
import pytest

from bench.errors import MetricError
from bench.metrics.shared.variety import entropy_estimate, near_duplicate_rate, vendi_score


@pytest.mark.parametrize(("n", "d"), [(50, 20), (20, 50)])
def test_vendi_agrees_with_vendi_score(n, d):
    package = pytest.importorskip("vendi_score.vendi", reason="vendi-score is not installed")
    x = np.random.default_rng(0).gamma(1.0, 1.0, (n, d))
    assert vendi_score(x) == pytest.approx(package.score_dual(x), rel=1e-6)


def test_vendi_counts_what_is_different():
    axes = np.repeat(np.eye(6), 5, axis=0)
    assert vendi_score(axes) == pytest.approx(6)
    assert vendi_score(np.vstack([axes, np.zeros((5, 6))])) == pytest.approx(7), "no direction is one of its own"


@pytest.mark.parametrize("d", [1, 2, 5])
def test_entropy_of_gaussians_has_a_closed_form(d):
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.5, 2, d)
    x = rng.standard_normal((4000, d)) * scales
    expected = 0.5 * np.log(2 * np.pi * np.e) + np.log(scales).mean()
    assert entropy_estimate(x, 3) == pytest.approx(expected, abs=0.05)


def test_entropy_shifts_by_the_log_of_the_scale():
    x = np.random.default_rng(2).standard_normal((300, 40))
    assert entropy_estimate(x * 0.5, 3) == pytest.approx(entropy_estimate(x, 3) + np.log(0.5), abs=1e-9)
    assert np.isfinite(entropy_estimate(np.repeat(x, 5, axis=0), 3))


def test_near_duplicates_are_counted_against_what_is_usual():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((500, 6)), rng.standard_normal((500, 6))
    assert near_duplicate_rate(x, y) < 0.04
    assert near_duplicate_rate(np.repeat(x[:250], 2, axis=0), y) == 1
    assert near_duplicate_rate(np.vstack([x[:450], x[:50] + 1e-6]), y) == pytest.approx(0.2, abs=0.04)
    with pytest.raises(MetricError, match="equal N"):
        near_duplicate_rate(x, y[:100])
