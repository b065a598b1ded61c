"""MAUVE: equal and disjoint sets, areas by hand, and the authors' package."""

import numpy as np
import pytest

from bench import metrics
from bench.config import MetricsConfig, check
from bench.errors import ConfigError
from bench.metrics import mauve as family
from bench.metrics.shared.divergence_frontier import cluster_shares, mauve

pytest.importorskip("sklearn", reason="scikit-learn is not installed")


def clouds(n: int, d: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    q, p = rng.standard_normal((2, n, d)).astype(np.float32) * np.linspace(0.2, 2, d, dtype=np.float32) + 1
    q[:, -3:] += shift
    return q, p


def value(q: np.ndarray, p: np.ndarray) -> float:
    (row,) = metrics.score((q, p), MetricsConfig(num_images=len(q), scores=["mauve"]))
    assert row["parameters"] == {"num_clusters": len(q) // 10, "scale": 5.0} and row["direction"] == "up"
    return row["value"]


def test_equal_shares_have_1_and_disjoint_ones_nearly_0():
    p = np.array([0.5, 0.3, 0.2, 0])
    assert mauve(p, p, 5.0) == pytest.approx(1)
    assert mauve(np.array([1.0, 0]), np.array([0, 1.0]), 5.0) < 0.01


def test_the_area_is_that_of_the_frontier_on_a_finer_grid():
    q, p = np.array([0.6, 0.3, 0.1]), np.array([0.3, 0.3, 0.4])
    x, y = [], []
    for weight in np.linspace(1e-6, 1 - 1e-6, 5001):
        r = weight * p + (1 - weight) * q
        x.append(np.exp(-2 * (q * np.log(q / r)).sum()))
        y.append(np.exp(-2 * (p * np.log(p / r)).sum()))
    exact = -np.trapezoid(y, x) + x[-1]  # x falls from 1; left of its least value the frontier is at 1
    assert mauve(q, p, 2.0) == pytest.approx(exact, abs=0.01)
    assert mauve(q, p, 2.0) == pytest.approx(mauve(p, q, 2.0))


def test_it_falls_as_one_side_moves_away_and_does_not_depend_on_the_order():
    values = [value(*clouds(200, 8, shift)) for shift in (0, 2, 4, 12)]
    assert values == sorted(values, reverse=True) and values[0] > 0.9 and values[3] < 0.1
    q, p = clouds(200, 8, 2)
    assert value(q[::-1], p) == values[1]


def test_samples_that_are_all_one_are_scored():
    q, p = clouds(100, 4, 0)
    assert 0 <= value(np.ones_like(q), p) < 0.2
    assert value(np.ones_like(q), np.ones_like(q)) == pytest.approx(1)


def test_shares_add_up_and_count_the_items_of_each_cluster():
    q = np.repeat(np.eye(3, 4, dtype=np.float32), [10, 20, 70], axis=0)
    p = np.repeat(np.eye(3, 4, dtype=np.float32), [50, 30, 20], axis=0)
    shares = sorted(zip(*cluster_shares(q, p, 10), strict=True))
    np.testing.assert_allclose(shares, [(0.1, 0.5), (0.2, 0.3), (0.7, 0.2)])


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(family, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"scikit-learn: pip install 'diffusion-collapse-bench\[language\]'"):
        check(family.Config(), "metrics.options.mauve")
    with pytest.raises(ConfigError, match="scikit-learn"):
        metrics.families(MetricsConfig(num_images=20, scores=["mauve"]))


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_it_agrees_with_the_authors_package(shift):
    """Up to the scatter between k-means starts of theirs, which is .03."""
    package = pytest.importorskip("mauve", reason="mauve-text is not installed")
    q, p = clouds(1000, 128, shift)
    seeds = range(5)
    theirs = [package.compute_mauve(p_features=p, q_features=q, verbose=False, seed=seed).mauve for seed in seeds]
    assert value(q, p) == pytest.approx(np.mean(theirs), abs=0.06)
