"""Equivalent sizes: exact without noise, covering with it, and never extrapolated."""

import numpy as np
import pytest

from bench.analysis.exchange_rate import Estimate, equivalent_size
from bench.errors import MetricError

SIZES = np.array([100.0, 250.0, 500.0, 750.0, 900.0, 1000.0])


def log_score(size: np.ndarray | float) -> np.ndarray:
    return np.log(100 + 2e4 * np.asarray(size) ** -0.5)


def study(rng: np.random.Generator, num_seeds: int, size: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of real images alone and of a condition that equals `size` of them; seeds share half of the variance."""
    common = noise * rng.standard_normal((num_seeds, 1))
    alone = log_score(SIZES) + common + noise * rng.standard_normal((num_seeds, len(SIZES)))
    return alone, log_score(size) + common[:, 0] + noise * rng.standard_normal(num_seeds)


def test_without_noise_a_size_that_was_run_is_found_exactly() -> None:
    alone = np.tile(log_score(SIZES), (3, 1))
    found = equivalent_size(SIZES, alone, np.full(3, log_score(500.0)))
    assert found.value == pytest.approx(500) and found.side == ""
    assert found.low == pytest.approx(500, rel=2e-3) and found.high == pytest.approx(500, rel=2e-3)


def test_between_two_sizes_the_logarithm_is_interpolated() -> None:
    found = equivalent_size([100, 400], np.array([[3.0, 1.0]] * 3), np.array([2.0, 2.0, 2.0]))
    assert found.value == pytest.approx(200)


@pytest.mark.parametrize(("num_seeds", "worth"), [(3, 0.3), (5, 0.3), (10, 0.3), (5, -0.3)])
def test_the_interval_covers_a_worth_that_is_known(num_seeds: int, worth: float) -> None:
    """Of n = 1000: at r = .75 a worth of .3 equals 475 real images, at r = .5 one of -.3 equals 350."""
    rng = np.random.default_rng(num_seeds)
    ratio = 0.75 if worth > 0 else 0.5
    num_real, num_synthetic = 1000 * (1 - ratio), 1000 * ratio
    size = num_real + worth * num_synthetic
    found = [
        equivalent_size(SIZES, *study(rng, num_seeds, size, 0.05)).mapped(lambda m: (m - num_real) / num_synthetic)
        for _ in range(500)
    ]
    covered = [(e.low is None or e.low <= worth) and (e.high is None or worth <= e.high) for e in found]
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.median([e.value for e in found if e.value is not None]) == pytest.approx(worth, abs=0.03)


def test_beyond_the_sizes_that_were_run_there_are_only_bounds() -> None:
    rng = np.random.default_rng(0)
    alone, _ = study(rng, 5, 500.0, 0.01)
    better = equivalent_size(SIZES, alone, log_score(5000.0) + 0.01 * rng.standard_normal(5))
    assert (better.value, better.low, better.high, better.side) == (None, 1000.0, None, "above")
    assert better.text(0) == "> 1000", "the whole interval is beyond"
    worse = equivalent_size(SIZES, alone, log_score(10.0) + 0.01 * rng.standard_normal(5))
    assert (worse.value, worse.low, worse.high, worse.side) == (None, None, 100.0, "below")
    assert worse.text(0) == "< 100"
    noisy = equivalent_size(SIZES, alone, log_score(900.0) + np.array([-0.3, 0.3, -0.2, 0.2, 0.0]))
    assert noisy.value is not None and noisy.high is None and noisy.low is not None


def test_scores_that_rise_with_the_size_are_pooled() -> None:
    alone = np.tile([3.0, 1.0, 2.0, 0.0], (3, 1))
    found = equivalent_size([100, 200, 400, 800], alone, np.full(3, 2.25))  # halfway between 3 and the pool's 1.5
    assert found.value == pytest.approx(100 * 2**0.5)


def test_what_seeds_share_does_not_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    alone, scores = study(rng, 5, 400.0, 0.01)
    shared = np.array([0.5, -0.4, 0.3, 0.0, -0.2])
    apart, paired = (equivalent_size(SIZES, alone + s[:, None], scores + s) for s in (0 * shared, shared))
    assert (paired.low, paired.high) == pytest.approx((apart.low, apart.high), rel=1e-6)


@pytest.mark.parametrize(("num_seeds", "num_sizes"), [(2, 6), (3, 1)])
def test_too_few_seeds_or_sizes_are_refused(num_seeds: int, num_sizes: int) -> None:
    with pytest.raises(MetricError, match="at least 2 sizes and 3 seeds"):
        equivalent_size(SIZES[:num_sizes], np.ones((num_seeds, num_sizes)), np.ones(num_seeds))


def test_an_estimate_follows_an_increasing_function() -> None:
    found = Estimate(None, 5.0, None, 1.0, 9.0, "above").mapped(lambda m: (m - 5) / 4)
    assert found == Estimate(None, 0.0, None, -1.0, 1.0, "above")
    assert found.text(2) == "> 1.00 (0.00 to > 1.00)"


def test_an_estimate_that_may_be_anywhere_is_not_determined() -> None:
    assert Estimate(None, None, None, 1.0, 9.0, "below").text(2) == "not determined"
    assert Estimate(4.0, None, None, 1.0, 9.0).text(2) == "not determined"
    assert Estimate(4.0, 2.0, None, 1.0, 9.0).text(2) == "4.00 (2.00 to > 9.00)"
