import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.analysis.collapse import (
    COLLAPSED,
    INCONCLUSIVE,
    STABLE,
    CriticalRatio,
    Rate,
    classify,
    critical_ratio,
    half_life,
    log_slope,
)
from bench.errors import MetricError


def noise(rng: np.random.Generator, num_seeds: int, num_generations: int, sd: float, carry: float = 0.0) -> np.ndarray:
    """Log-normal noise around a constant; carry: correlation from one generation to the next."""
    e = rng.standard_normal((num_seeds, num_generations))
    for g in range(1, num_generations):
        e[:, g] = carry * e[:, g - 1] + np.sqrt(1 - carry**2) * e[:, g]
    return np.exp(5 + sd * e)


def false_alarms(num_seeds: int, num_generations: int, sd: float, num_chains: int, carry: float = 0.0) -> float:
    rng = np.random.default_rng(num_seeds * 100 + num_generations)
    curves = (noise(rng, num_seeds, num_generations, sd, carry) for _ in range(num_chains))
    return float(np.mean([classify(log_slope(curve)) == COLLAPSED for curve in curves]))


def test_one_seed_is_plain_regression():
    curve = [100.0, 130.0, 150.0, 240.0, 260.0]
    rate = log_slope([curve])
    line = stats.linregress(range(5), np.log(curve))
    assert rate.slope == pytest.approx(line.slope) and rate.standard_error == pytest.approx(line.stderr)
    assert rate.low == pytest.approx(line.slope - stats.t.ppf(0.975, 3) * line.stderr)
    assert (rate.degrees, rate.num_seeds, rate.num_generations) == (3, 1, 5)


def test_seeds_that_disagree_widen_the_interval():
    g = np.arange(5)
    curves = [100 * np.exp(0.1 * g), 100 * np.exp(0.3 * g), 100 * np.exp(0.2 * g)]
    rate = log_slope(curves)
    assert rate.slope == pytest.approx(0.2) and rate.degrees == 2
    assert rate.standard_error == pytest.approx(0.1 / np.sqrt(3))


@pytest.mark.parametrize(("num_seeds", "num_generations"), [(1, 5), (3, 4)])
def test_the_interval_covers_the_true_slope(num_seeds, num_generations):
    rng = np.random.default_rng(0)
    growth = np.exp(0.15 * np.arange(num_generations))
    rates = [log_slope(noise(rng, num_seeds, num_generations, 0.1) * growth) for _ in range(1000)]
    covered = np.mean([rate.low <= 0.15 <= rate.high for rate in rates])
    assert covered >= 0.93  # one seed: 95 %; several: more, as the larger variance estimate is taken


def test_verdicts():
    g = np.arange(6)
    rng = np.random.default_rng(1)
    assert classify(log_slope(noise(rng, 3, 6, 0.05) * np.exp(0.4 * g))) == COLLAPSED
    assert classify(log_slope(noise(rng, 3, 6, 0.02))) == STABLE
    assert classify(log_slope(noise(rng, 1, 4, 0.4))) == INCONCLUSIVE
    slow_but_sure = log_slope([100 * np.exp(0.01 * g + s * 1e-4 * g) for s in range(3)])
    assert slow_but_sure.low > 0 and classify(slow_but_sure) == STABLE
    assert classify(slow_but_sure, margin=0.005) == COLLAPSED


@pytest.mark.parametrize(("num_seeds", "num_generations"), [(1, 4), (1, 10), (2, 6), (3, 4), (5, 6)])
def test_false_alarms_are_as_rare_as_the_rule_says(num_seeds, num_generations):
    assert false_alarms(num_seeds, num_generations, 0.3, 1000) <= 0.04


@pytest.mark.slow
def test_measured_false_alarm_rates(capsys):
    """The numbers in the docstring of `classify`, measured again."""
    for carry, most in ((0.0, 0.03), (0.5, 0.11)):
        worst: dict[int, float] = {}
        for num_seeds in (1, 2, 3, 5):
            for num_generations in (4, 6, 10):
                for sd in (0.02, 0.05, 0.1, 0.3):
                    rate = false_alarms(num_seeds, num_generations, sd, 4000, carry)
                    worst[num_seeds] = max(worst.get(num_seeds, 0), rate)
        with capsys.disabled():
            print(f"\ncarry {carry}: highest false-alarm rate by number of seeds {worst}")
        assert max(worst.values()) <= most


def test_half_life_of_an_exponential():
    g = np.arange(6)
    result = half_life([0.8 * 0.5 ** (g / 2), 0.6 * 0.5 ** (g / 2)], floor=0.001)
    assert result.generations == pytest.approx(2) and result.low == pytest.approx(2) and result.high == pytest.approx(2)


def test_half_life_without_decay_or_with_zeros():
    rng = np.random.default_rng(2)
    flat = half_life(noise(rng, 3, 5, 0.1) / 500, floor=0.001)
    assert flat.high == np.inf and flat.low > 2
    lost = half_life([[0.5, 0.1, 0.0, 0.0]], floor=0.5 / 1000)
    assert 0 < lost.generations < 1


def rate(slope: float, error: float, degrees: int = 20) -> Rate:
    half = stats.t.ppf(0.975, degrees) * error
    return Rate(slope, slope - half, slope + half, error, degrees, 3, 6)


def test_critical_ratio_lies_where_the_lower_end_leaves_zero():
    rates = {r: rate(0.4 * r - 0.05, 0.01) for r in (0.0, 0.25, 0.5, 0.75, 1.0)}
    result = critical_ratio(rates)
    half = rates[0.0].slope - rates[0.0].low
    assert result.ratio == pytest.approx((0.05 + half) / 0.4)
    assert result.low < result.ratio < result.high and result.high - result.low < 0.2 and result.crossing_share > 0.99
    assert not result.always


def test_critical_ratio_interval_covers_under_repetition():
    truth = (0.05 + stats.t.ppf(0.975, 20) * 0.02) / 0.4
    rng = np.random.default_rng(3)
    results = []
    for _ in range(150):
        rates = {r: rate(0.4 * r - 0.05 + rng.normal(0, 0.02), 0.02) for r in (0.0, 0.25, 0.5, 0.75, 1.0)}
        results.append(critical_ratio(rates, num_redraws=300))
    known = [r for r in results if r.ratio is not None and r.low is not None]
    assert len(known) > 120
    assert np.mean([r.low <= truth <= r.high for r in known]) > 0.85


def test_no_critical_ratio_within_what_was_run():
    never = critical_ratio({0.0: rate(0.0, 0.05), 1.0: rate(0.01, 0.05)})
    assert never.ratio is None and not never.always
    always = critical_ratio({0.0: rate(0.5, 0.01), 1.0: rate(0.6, 0.01)})
    assert always.ratio is None and always.always
    with pytest.raises(MetricError, match="two synthetic ratios"):
        critical_ratio({0.5: rate(0.1, 0.01)})


@pytest.mark.parametrize(
    "curves",
    [
        [[1.0, 2.0]],
        [[1.0, 2.0, 3.0], [1.0, 2.0]],
        [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]],
        [[1.0, 0.0, 2.0]],
        [[1.0, -1.0, 2.0]],
        [[1.0, np.nan, 2.0]],
        [[1.0, np.inf, 2.0]],
        [],
    ],
)
def test_bad_curves_are_refused(curves):
    with pytest.raises(MetricError):
        log_slope(curves)


def one_regression(curves: np.ndarray) -> tuple[float, float, int]:
    """Mean slope, its standard error and degrees of freedom, from one least-squares problem in which every seed has an
    intercept and a slope of its own and all share the noise."""
    num_seeds, num_generations = curves.shape
    g = np.arange(num_generations)
    design = np.kron(np.eye(num_seeds), np.stack([np.ones_like(g), g], axis=1))
    observed = np.log(curves).ravel()
    fitted, *_ = np.linalg.lstsq(design, observed, rcond=None)
    degrees = observed.size - design.shape[1]
    noise_variance = ((observed - design @ fitted) ** 2).sum() / degrees
    mean_slope = np.tile([0.0, 1.0 / num_seeds], num_seeds)
    variance = noise_variance * mean_slope @ np.linalg.inv(design.T @ design) @ mean_slope
    return float(mean_slope @ fitted), float(np.sqrt(variance)), degrees


def student(slope: float, error: float, degrees: int) -> tuple[float, float]:
    return stats.t.interval(0.95, degrees, slope, error)


@pytest.mark.parametrize(("num_seeds", "num_generations"), [(2, 3), (3, 4), (4, 7)])
def test_seeds_that_agree_are_one_regression(num_seeds, num_generations):
    """Around a common slope the noise lies within the lines: every residual of every seed counts."""
    wiggle = 0.2 * np.array([1, -2, 1, 0, 0, 0, 0][:num_generations])  # no slope of its own in three generations
    wiggle = wiggle - np.polyval(np.polyfit(range(num_generations), wiggle, 1), range(num_generations))
    g = np.arange(num_generations)
    curves = np.exp([5 + s + (0.1 + 0.001 * s) * g + (s + 1) * wiggle for s in range(num_seeds)])
    slope, error, degrees = one_regression(curves)
    rate = log_slope(curves)
    assert (rate.slope, rate.standard_error) == (pytest.approx(slope), pytest.approx(error))
    assert rate.degrees == degrees == num_seeds * (num_generations - 2)
    assert (rate.low, rate.high) == pytest.approx(student(slope, error, degrees))
    assert (rate.num_seeds, rate.num_generations) == (num_seeds, num_generations)


def test_seeds_that_disagree_are_a_sample_of_slopes():
    slopes = [0.1, 0.35, 0.15, 0.2]
    rate = log_slope([(50 + s) * np.exp(slope * np.arange(6)) for s, slope in enumerate(slopes)])
    assert (rate.slope, rate.standard_error) == (pytest.approx(0.2), pytest.approx(stats.sem(slopes)))
    assert rate.degrees == 3
    assert (rate.low, rate.high) == pytest.approx(student(0.2, float(stats.sem(slopes)), 3))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.integers(3, 8),
    st.floats(0.001, 0.5),
    st.sampled_from([0.0, 0.03, 0.3]),
)
def test_the_larger_spread_makes_the_interval(seed, num_seeds, num_generations, within, between):
    rng = np.random.default_rng(seed)
    growth = between * rng.standard_normal((num_seeds, 1)) * np.arange(num_generations)
    curves = noise(rng, num_seeds, num_generations, within) * np.exp(growth)
    slope, error, degrees = one_regression(curves)
    if num_seeds > 1:
        slopes = [stats.linregress(range(num_generations), np.log(curve)).slope for curve in curves]
        error, degrees = max((error, degrees), (float(stats.sem(slopes)), num_seeds - 1))
    rate = log_slope(curves)
    assert (rate.slope, rate.standard_error, rate.degrees) == (pytest.approx(slope), pytest.approx(error), degrees)
    assert (rate.low, rate.high) == pytest.approx(student(slope, error, degrees))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(3, 7))
def test_neither_the_unit_nor_the_order_of_seeds_matters_and_time_reversed_is_recovery(
    seed, num_seeds, num_generations
):
    rng = np.random.default_rng(seed)
    curves = noise(rng, num_seeds, num_generations, 0.2) * np.exp(0.1 * np.arange(num_generations))
    rate = log_slope(curves)

    def numbers(curves: np.ndarray, sign: int = 1) -> list[float]:
        refitted = log_slope(curves)
        return [sign * refitted.slope, *sorted([sign * refitted.low, sign * refitted.high]), refitted.degrees]

    expected = pytest.approx([rate.slope, rate.low, rate.high, rate.degrees], rel=1e-6, abs=1e-9)
    assert numbers(curves * rng.uniform(0.1, 10, (num_seeds, 1))) == expected
    assert numbers(curves[::-1]) == expected
    assert numbers(curves[:, ::-1], -1) == expected
    assert rate.low <= rate.slope <= rate.high


@pytest.mark.parametrize("num_generations", [3, 4, 9])
def test_one_seed_covers_exactly_as_often_as_it_says(num_generations):
    """Also where there is a single degree of freedom, in which a normal quantile would cover 70 %."""
    rng = np.random.default_rng(num_generations)
    rates = [log_slope(noise(rng, 1, num_generations, 0.1)) for _ in range(1500)]
    assert np.mean([r.low <= 0 <= r.high for r in rates]) == pytest.approx(0.95, abs=0.02)


def test_slopes_that_differ_by_seed_are_covered_as_often_as_it_says():
    """The slope of all possible seeds is meant, not the mean of these few."""
    rng = np.random.default_rng(8)
    g = np.arange(5)
    rates = [log_slope(noise(rng, 3, 5, 0.01) * np.exp(rng.normal(0.1, 0.2, (3, 1)) * g)) for _ in range(1500)]
    assert np.mean([r.low <= 0.1 <= r.high for r in rates]) == pytest.approx(0.95, abs=0.02)


def test_growth_of_five_percent_a_generation_is_where_none_ends():
    """Curves without noise: only the margin decides."""
    g = np.arange(6)
    assert classify(log_slope([100 * 1.0499**g])) == STABLE
    assert classify(log_slope([100 * 1.0501**g])) == COLLAPSED
    assert classify(log_slope([100 * 0.5**g])) == STABLE


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.2, -0.1, STABLE),
        (-0.1, 0.09, STABLE),
        (0.02, 0.09, STABLE),  # growth is sure, and that it is less than the margin
        (-0.1, 0.1, INCONCLUSIVE),
        (0.0, 0.1, INCONCLUSIVE),
        (0.0, 0.5, INCONCLUSIVE),
        (-0.1, 0.5, INCONCLUSIVE),
        (0.01, 0.1, COLLAPSED),
        (0.05, 0.5, COLLAPSED),
        (0.3, 0.5, COLLAPSED),
    ],
)
def test_the_ends_of_the_interval_decide_and_not_its_middle(low, high, word):
    for slope in (low, (low + high) / 2, high):
        assert classify(Rate(slope, low, high, 0.1, 3, 1, 5), margin=0.1) == word


def test_half_life_has_the_ends_of_the_slopes_interval():
    curves = np.array([[0.8, 0.5, 0.42, 0.2, 0.16], [0.7, 0.55, 0.3, 0.25, 0.1]])
    slope, error, degrees = one_regression(curves)
    fastest, slowest = student(slope, error, degrees)
    result = half_life(curves, floor=1e-6)
    assert result.rate == log_slope(curves)
    assert result.generations == pytest.approx(np.log(2) / -slope)
    assert (result.low, result.high) == (pytest.approx(np.log(2) / -fastest), pytest.approx(np.log(2) / -slowest))
    assert result.low < result.generations < result.high


def test_half_life_raises_what_lies_below_the_floor_and_nothing_else():
    floor = 0.01
    lost = half_life([[0.5, 0.1, 0.004, 0.0]], floor)
    assert lost == half_life([[0.5, 0.1, floor, floor]], floor=1e-9)
    assert lost != half_life([[0.5, 0.1, 0.02, 0.02]], floor)


def test_what_does_not_decay_has_no_half_life():
    flat = half_life([[1.0] * 4], floor=0.001)
    assert (flat.generations, flat.low, flat.high) == (np.inf, np.inf, np.inf)
    growing = half_life([[0.1, 0.3, 0.1, 0.4]], floor=0.001)
    assert growing.rate.slope > 0 > growing.rate.low
    assert (growing.generations, growing.high) == (np.inf, np.inf)
    assert growing.low == pytest.approx(np.log(2) / -growing.rate.low)


@pytest.mark.parametrize(("degrees", "other"), [(2, 500), (500, 2)])
def test_the_interval_of_a_critical_ratio_is_students(degrees, other):
    """One slope without error and one with: the crossing is a function of a single t variable, so that its quantiles
    and the share of redraws with a crossing have closed forms."""
    a, error = 0.3, 0.05
    half = stats.t.ppf(0.975, degrees) * error
    b = 1.5 * half + 0.2
    result = critical_ratio({0.2: rate(-a, 0.0, other), 0.7: rate(b, error, degrees)}, num_redraws=40_000)

    def crossing(t: float) -> float:
        return 0.2 + 0.5 * a / (a + b + error * t - half)

    smallest = (half - b) / error  # below it, collapse is not established at the upper ratio
    share = stats.t.sf(smallest, degrees)
    assert result.crossing_share == pytest.approx(share, abs=0.005)
    assert result.ratio == pytest.approx(crossing(0.0))
    assert result.low == pytest.approx(crossing(stats.t.isf(0.025 * share, degrees)), abs=0.01)
    assert result.high == pytest.approx(crossing(stats.t.isf(0.975 * share, degrees)), abs=0.01)
    assert not result.always


def test_a_critical_ratio_is_where_collapse_is_established_for_good():
    """Established at 0.25, not at 0.5, and from there on: it is the last crossing that counts. No noise, so every
    redraw is the same."""
    slopes = {0.5: -0.1, 0.0: -0.3, 1.0: 0.5, 0.25: 0.2, 0.75: 0.3}  # in no order
    result = critical_ratio({r: rate(s, 0.0) for r, s in slopes.items()}, num_redraws=50)
    assert result == CriticalRatio(pytest.approx(0.5625), pytest.approx(0.5625), pytest.approx(0.5625), False, 1.0)
    touching = critical_ratio({0.0: rate(0.0, 0.0), 1.0: rate(0.2, 0.0)}, num_redraws=50)
    assert (touching.ratio, touching.always) == (0.0, False)


def test_a_critical_ratio_that_is_not_there_has_no_interval():
    unsure = critical_ratio({0.0: rate(0.0, 0.02), 1.0: rate(0.03, 0.02)})
    assert unsure.crossing_share > 0.1  # some redraws cross, but what was observed does not
    assert (unsure.ratio, unsure.low, unsure.high, unsure.always) == (None, None, None, False)
    ends_at_zero = critical_ratio({0.0: rate(0.1, 0.0), 1.0: rate(0.0, 0.0)}, num_redraws=10)
    assert (ends_at_zero.ratio, ends_at_zero.always, ends_at_zero.crossing_share) == (None, False, 0.0)


def test_redraws_of_a_critical_ratio_are_seeded():
    rates = {0.0: rate(-0.1, 0.05), 1.0: rate(0.3, 0.05)}
    first = critical_ratio(rates, num_redraws=100, seed=1)
    assert first == critical_ratio(rates, num_redraws=100, seed=1)
    assert first.low != critical_ratio(rates, num_redraws=100, seed=2).low
