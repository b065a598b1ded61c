import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.analysis.uncertainty import compare_paired, resample_images, resplit_intervals, summarise
from bench.errors import MetricError


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
    assert (result.n, result.mean, result.sd, result.low, result.high) == (1, 2.0, None, None, None)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")], [[1.0, 2.0]]])
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


def test_a_paired_interval_is_that_of_the_t_test_in_the_right_direction():
    a = {4: 2.0, 0: 1.0, 2: 4.5, 9: 100.0}  # in no order, and one seed that the other side lacks
    b = {2: 6.0, 4: 5.0, 0: 1.5, 7: -100.0, 8: -100.0}
    reference = stats.ttest_rel([a[s] for s in (0, 2, 4)], [b[s] for s in (0, 2, 4)])
    result = compare_paired(a, b)
    assert (result.seeds, result.dropped, result.difference.n) == ((0, 2, 4), 3, 3)
    assert result.difference.mean == pytest.approx(-5 / 3)  # a is the smaller one
    interval = reference.confidence_interval(0.95)
    assert (result.difference.low, result.difference.high) == (
        pytest.approx(interval.low),
        pytest.approx(interval.high),
    )
    assert result.p_value == pytest.approx(reference.pvalue) and 0 < result.p_value < 1
    swapped = compare_paired(b, a)
    assert swapped.difference.mean == pytest.approx(5 / 3) and swapped.p_value == pytest.approx(result.p_value)


def test_pairs_without_spread_are_told_apart_or_not():
    assert compare_paired({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}).p_value == 1.0
    assert compare_paired({0: 1.0, 1: 2.0}, {0: 3.0, 1: 4.0}).p_value == 0.0
    single = compare_paired({0: 1.0}, {0: 3.0, 1: 5.0})
    assert (single.p_value, single.difference.mean, single.difference.low, single.dropped) == (None, -2.0, None, 1)
    with pytest.raises(MetricError, match="not finite"):
        compare_paired({0: float("nan")}, {0: 1.0})


def test_p_values_are_uniform_where_there_is_no_difference():
    rng = np.random.default_rng(4)
    p_values = [
        compare_paired(dict(enumerate(rng.normal(0, 1, 4))), dict(enumerate(rng.normal(0, 1, 4)))).p_value
        for _ in range(1000)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=6, unique=True), st.floats(-10, 10), st.floats(0.1, 10))
def test_another_unit_moves_and_stretches_the_interval(values, shift, scale):
    before, after = summarise(values), summarise([shift + scale * v for v in values])
    assert (before.n, after.n) == (len(values), len(values))
    assert after.sd == pytest.approx(scale * before.sd, abs=1e-6)
    moved = [shift + scale * v for v in (before.low, before.mean, before.high)]
    assert [after.low, after.mean, after.high] == pytest.approx(moved, abs=1e-5)
    assert [before.low, before.high] == pytest.approx(
        stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values)), abs=1e-6
    )


def test_resampling_draws_halves_of_each_side_without_replacement():
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def statistic(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        seen.append((a[:, 0], b[:, 0]))
        return {"subject": float(a.mean()), "reference": float(b.mean())} | ({"odd": 1.0} if len(seen) == 2 else {})

    subject, reference = np.arange(20.0)[:, None], np.arange(100.0, 112.0)[:, None]
    result = resample_images(statistic, subject, reference, 4)
    assert len(seen) == 4
    for a, b in seen:
        assert len(a) == len(set(a)) == 10 and set(a) <= set(range(20))
        assert len(b) == len(set(b)) == 6 and set(b) <= set(range(100, 112))
    assert len({tuple(a) for a, _ in seen}) == 4 and len({tuple(b) for _, b in seen}) > 1
    assert result == {  # what some halves could not be scored for is left out
        "subject": pytest.approx(np.std([a.mean() for a, _ in seen], ddof=1)),
        "reference": pytest.approx(np.std([b.mean() for _, b in seen], ddof=1)),
    }


def test_resampling_draws_the_two_sides_apart():
    seen = []
    x = np.arange(30.0)[:, None]
    resample_images(lambda a, b: seen.append(set(a.ravel()) == set(b.ravel())) or {"m": 0.0}, x, x, 5)
    assert not any(seen)  # one draw for both would hide the spread that the sides do not share


@pytest.mark.parametrize(("num_subject", "num_reference", "num_resamples"), [(3, 9, 2), (9, 3, 2), (9, 9, 1)])
def test_too_little_to_resample_is_refused(num_subject, num_reference, num_resamples):
    def statistic(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        return {"m": float(a.mean())}

    with pytest.raises(MetricError, match="resampling needs"):
        resample_images(statistic, np.ones((num_subject, 1)), np.ones((num_reference, 1)), num_resamples)
    assert resample_images(statistic, np.ones((4, 1)), np.ones((4, 1)), 2) == {"m": 0.0}


def split_floor(a, b):
    return {"distance": float(((a.mean(0) - b.mean(0)) ** 2).sum()), "size": len(a)}


def test_other_splits_of_the_same_items_lie_in_the_interval_in_95_of_100():
    rng = np.random.default_rng(3)
    items = rng.standard_normal((200, 40))
    inside = []
    for seed in range(60):
        low, high = resplit_intervals(split_floor, items, 100, 10, seed)["distance"]
        order = rng.permutation(200)
        inside.append(low <= split_floor(items[order[:100]], items[order[100:]])["distance"] <= high)
    assert 0.88 <= np.mean(inside) <= 1


def test_the_interval_of_resplits_is_students_for_one_more_split():
    """Check two splits by hand: t(1) = 12.706, sd = |a - b| / √2, and √(1 + 1/2)."""
    seen = []

    def statistic(a, b):
        assert len(a) == len(b) == 3 and not set(a[:, 0]) & set(b[:, 0])
        seen.append(float(a.mean() - b.mean()))
        return {"x": seen[-1]}

    low, high = resplit_intervals(statistic, np.arange(8.0)[:, None], 3, 2)["x"]
    half = 12.7062 * abs(seen[0] - seen[1]) / np.sqrt(2) * np.sqrt(1.5)
    assert (low, high) == pytest.approx((np.mean(seen) - half, np.mean(seen) + half), rel=1e-4)


@pytest.mark.parametrize(("num_items", "n", "num_resplits"), [(7, 4, 2), (8, 4, 1), (8, 0, 2)])
def test_too_little_to_split_again_is_refused(num_items, n, num_resplits):
    with pytest.raises(MetricError, match=f"sets of {n} items are needed, but there are {num_resplits} of {num_items}"):
        resplit_intervals(split_floor, np.ones((num_items, 2)), n, num_resplits)
