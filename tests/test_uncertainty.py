import numpy as np
import pytest
from scipy import stats

from bench.errors import MetricError
from bench.uncertainty import compare_paired, resample_images, summarise


def test_interval_is_students():
    values = [3.0, 4.0, 8.0]
    result = summarise(values)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))
    assert (result.n, result.mean, result.sd) == (3, 5.0, pytest.approx(np.std(values, ddof=1)))


def test_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        result = summarise(rng.normal(7, 2, 4))
        hits += result.low <= 7 <= result.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def test_one_value_has_no_interval():
    result = summarise([2.0])
    assert (result.mean, result.sd, result.low, result.high) == (2.0, None, None, None)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_bad_values_are_refused(values):
    with pytest.raises(MetricError):
        summarise(values)


def test_pairing_takes_out_what_seeds_share():
    rng = np.random.default_rng(1)
    shared = {seed: float(rng.normal(0, 10)) for seed in range(6)}
    a = {seed: value + 1 + rng.normal(0, 0.1) for seed, value in shared.items()}
    result = compare_paired(a, shared)
    reference = stats.ttest_rel([a[s] for s in range(6)], [shared[s] for s in range(6)])
    assert result.p_value == pytest.approx(reference.pvalue)
    assert result.difference.low > 0.5 and result.seeds == tuple(range(6)) and result.dropped == 0
    assert summarise(list(a.values())).low < 0  # unpaired, the spread between seeds hides it


def test_only_common_seeds_count():
    result = compare_paired({0: 1.0, 1: 2.0, 5: 9.0}, {1: 1.0, 0: 0.0, 7: 3.0})
    assert result.seeds == (0, 1) and result.dropped == 2
    assert result.difference.mean == 1.0 and result.p_value == 0.0
    with pytest.raises(MetricError, match="no common seed"):
        compare_paired({0: 1.0}, {1: 1.0})


def test_half_samples_find_the_spread_over_images():
    """Against the truth: the standard deviation of a mean and of a correlation over freshly drawn sets."""

    def statistic(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        return {"difference": a.mean() - b.mean(), "log_ratio": np.log(a.var() / b.var())}

    rng = np.random.default_rng(2)
    fresh = [statistic(rng.gamma(2, 1, (400, 1)), rng.normal(0, 1, (400, 1))) for _ in range(400)]
    estimates = [
        resample_images(statistic, rng.gamma(2, 1, (400, 1)), rng.normal(0, 1, (400, 1)), 60, seed)
        for seed in range(20)
    ]
    for name in fresh[0]:
        truth = np.std([values[name] for values in fresh])
        assert np.mean([values[name] for values in estimates]) == pytest.approx(truth, rel=0.15)


def test_resampling_is_seeded_and_checked():
    x = np.random.default_rng(3).normal(size=(40, 2))

    def statistic(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        return {"m": float(a.mean())}

    assert resample_images(statistic, x, x, 5) == resample_images(statistic, x, x, 5)
    assert resample_images(statistic, x, x, 5) != resample_images(statistic, x, x, 5, seed=1)
    with pytest.raises(MetricError, match="1 resamples"):
        resample_images(statistic, x, x, 1)
