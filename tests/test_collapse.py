import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.analysis import collapse
from bench.analysis.collapse import (
    BOUNDED,
    DIVERGING,
    INCONCLUSIVE,
    RISING,
    STABLE,
    CriticalRatio,
    Growth,
    Interval,
    classify,
    critical_ratio,
    growth,
    half_life,
    log_slope,
    rises,
)
from bench.errors import MetricError


def noise(rng: np.random.Generator, num_seeds: int, num_generations: int, sd: float, carry: float = 0.0) -> np.ndarray:
    """Log-normal noise around a constant; carry: correlation from one generation to the next."""
    e = rng.standard_normal((num_seeds, num_generations))
    for g in range(1, num_generations):
        e[:, g] = carry * e[:, g - 1] + np.sqrt(1 - carry**2) * e[:, g]
    return np.exp(5 + sd * e)


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


def halves(num_generations: int) -> tuple[list[int], list[int]]:
    """The generations after 0, in halves; the one in the middle belongs to the second."""
    num_early = (num_generations - 1) // 2
    return list(range(1, num_early + 1)), list(range(num_early + 1, num_generations))


def by_hand(x: np.ndarray) -> dict[str, np.ndarray]:
    """Rise, rate and bend of each line of x (seeds, generations)."""
    early, late = halves(x.shape[1])
    start, end = x[:, early].mean(axis=1), x[:, late].mean(axis=1)
    rate = (end - start) / (np.mean(late) - np.mean(early))
    return {"rise": end, "rate": rate, "bend": rate - start / np.mean(early) / 2}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 6), st.integers(3, 9), st.booleans())
def test_growth_is_students_interval_over_seeds(seed, num_seeds, num_generations, paired):
    rng = np.random.default_rng(seed)
    curves = noise(rng, num_seeds, num_generations, 0.1) * np.exp(0.1 * np.arange(num_generations))
    reference = noise(rng, num_seeds, num_generations, 0.1) if paired else None
    found = growth(curves.tolist(), None if reference is None else reference.tolist())
    assert (found.paired, found.num_seeds, found.num_generations) == (paired, num_seeds, num_generations)
    assert found.first == halves(num_generations)[1][0]
    expected = by_hand(curves / (curves[:, :1] if reference is None else reference) - 1)
    for name, values in expected.items():
        interval = getattr(found, name)
        mean, error = values.mean(), stats.sem(values)
        assert (interval.value, interval.standard_error) == (pytest.approx(mean), pytest.approx(error))
        assert interval.degrees == num_seeds - 1
        assert (interval.low, interval.high) == pytest.approx(student(mean, error, num_seeds - 1))
    each = rises(curves.tolist(), None if reference is None else reference.tolist())
    assert each == pytest.approx(expected["rise"])


def test_a_straight_line_bends_by_half_its_pace_and_a_plateau_by_less_than_none():
    g = np.arange(8.0)
    straight = growth([(100 * (1 + 0.2 * g)).tolist()] * 3)
    assert straight.rate.value == pytest.approx(0.2) and straight.bend.value == pytest.approx(0.1)
    level = growth([[100, *[140] * 7]] * 3)
    assert level.rate.value == pytest.approx(0) and level.bend.value == pytest.approx(-0.1)
    assert level.rise.value == pytest.approx(0.4)


def from_residuals(x: np.ndarray, name: str, paired: bool) -> tuple[float, float, int]:
    """Value, standard error and degrees of freedom, from lines fitted by `linregress` to each half."""
    squares, degrees = 0.0, 0
    for line in x:
        for half in halves(x.shape[1]):
            if len(half) > 2:
                fit = stats.linregress(half, line[half])
                squares += float(((line[half] - fit.intercept - fit.slope * np.array(half)) ** 2).sum())
                degrees += len(half) - 2
    weights = np.array([by_hand(unit[None])[name][0] for unit in np.eye(x.shape[1])])[1:]
    share = (weights**2).sum() + (0 if paired else (weights @ (1 + x.mean(axis=0))[1:]) ** 2)
    return float(by_hand(x)[name].mean()), float(np.sqrt(squares / degrees * share / len(x))), degrees


@pytest.mark.parametrize(("num_seeds", "num_generations"), [(1, 9), (1, 12), (2, 7), (2, 10)])
@pytest.mark.parametrize("paired", [True, False])
def test_one_or_two_seeds_have_intervals_from_their_own_scatter(num_seeds, num_generations, paired):
    rng = np.random.default_rng(num_generations)
    curves = noise(rng, num_seeds, num_generations, 0.1) * np.exp(0.05 * np.arange(num_generations))
    reference = noise(rng, num_seeds, num_generations, 0.1)
    found = growth(curves.tolist(), reference.tolist() if paired else None)
    x = curves / (reference if paired else curves[:, :1]) - 1
    for name in ("rise", "rate", "bend"):
        value, error, degrees = from_residuals(x, name, paired)
        interval = getattr(found, name)
        assert (interval.value, interval.standard_error) == (pytest.approx(value), pytest.approx(error))
        assert interval.degrees == degrees >= 4
        assert (interval.low, interval.high) == pytest.approx(student(value, error, degrees))


@pytest.mark.parametrize(("num_seeds", "num_generations"), [(1, 3), (1, 8), (2, 3), (2, 6)])
def test_without_four_degrees_of_freedom_nothing_is_said(num_seeds, num_generations):
    """One seed and three points never get a red badge, however steep."""
    steep = (100 * 3.0 ** np.arange(num_generations)).tolist()
    found = growth([steep] * num_seeds)
    assert (found.rise.low, found.bend.high, found.rise.degrees) == (-np.inf, np.inf, 0)
    assert found.rise.detectable == np.inf and classify(found) == INCONCLUSIVE


def test_what_could_be_seen_is_seen_in_four_of_five_repetitions():
    rng = np.random.default_rng(5)
    reference = np.full((5, 6), 100.0)
    flat = noise(rng, 5, 6, 0.1)
    seen = growth((flat / np.exp(5) * 100).tolist(), reference.tolist()).rise.detectable
    error = seen / float(stats.t.ppf([0.975, 0.8], 4).sum())
    hits = [student(v.mean(), float(stats.sem(v)), 4)[0] > 0 for v in rng.normal(seen, error * 5**0.5, (2000, 5))]
    assert np.mean(hits) == pytest.approx(0.8, abs=0.05)


def judged(rise: tuple[float, float], bend: tuple[float, float]) -> Growth:
    ends = [Interval((low + high) / 2, low, high, 0.1, 2) for low, high in (rise, (0, 0), bend)]
    return Growth(*ends, paired=True, first=3, num_seeds=3, num_generations=6)


@pytest.mark.parametrize(
    ("rise", "bend", "word"),
    [
        ((-0.2, 0.09), (-1, 1), STABLE),
        ((0.02, 0.09), (0.01, 0.02), STABLE),  # a rise is sure, and that it is less than the margin
        ((-0.3, -0.2), (-1, 1), STABLE),
        ((0.02, 0.1), (0.01, 0.02), DIVERGING),
        ((0.02, 0.1), (-0.02, -0.01), BOUNDED),
        ((0.02, 0.1), (0.0, 0.02), RISING),
        ((0.02, 0.1), (-0.02, 0.0), RISING),
        ((0.0, 0.5), (0.01, 0.02), INCONCLUSIVE),
        ((0.0, 0.5), (-0.02, -0.01), INCONCLUSIVE),
        ((-0.1, 0.5), (-0.02, -0.01), INCONCLUSIVE),
    ],
)
def test_the_ends_of_the_intervals_decide(rise, bend, word):
    assert classify(judged(rise, bend)) == word


def test_curves_without_noise_have_the_word_of_their_shape():
    g = np.arange(8.0)
    shapes = {
        STABLE: [0 * g, -0.05 * g, 0.015 * g],
        BOUNDED: [np.cumsum(1 / (g + 1) ** 2) - 1, 0.4 * (1 - np.exp(-g)), np.minimum(g, 1)],
        DIVERGING: [0.1 * g, 3 * g, np.exp(0.2 * g) - 1],
    }
    for word, excesses in shapes.items():
        for excess in excesses:
            curves = [(level * (1 + excess)).tolist() for level in (90, 100, 110)]
            assert classify(growth(curves)) == word
            assert classify(growth(curves, [[level] * 8 for level in (90, 100, 110)])) == word


def test_pairing_removes_what_seeds_share_with_ratio_0():
    rng = np.random.default_rng(6)
    shared = noise(rng, 3, 8, 0.5)
    curves = shared * (1 + 0.1 * np.arange(8))
    assert classify(growth(curves.tolist(), shared.tolist())) == DIVERGING
    assert classify(growth(curves.tolist())) == INCONCLUSIVE


@pytest.mark.parametrize("reference", [[[1.0] * 3] * 2, [[1.0] * 4], [[1.0, 0.0, 1.0]]])
def test_a_reference_of_another_form_is_refused(reference):
    with pytest.raises(MetricError):
        growth([[1.0, 2.0, 3.0]], reference)
    with pytest.raises(MetricError):
        growth([[1.0, 0.0, 2.0]])


def ratio_table(rng: np.random.Generator, num_seeds: int, sd: float = 0.03) -> dict[float, dict[int, float]]:
    """Rises of 0.4 r - 0.02, with noise."""
    return {
        r: {s: 0.4 * r - 0.02 + (sd * rng.standard_normal() if r else 0.0) for s in range(num_seeds)}
        for r in (0.0, 0.25, 0.5, 0.75, 1.0)
    }


def test_a_critical_ratio_is_where_the_mean_rise_passes_the_margin():
    result = critical_ratio(ratio_table(np.random.default_rng(0), 5, 0.0))
    assert result == CriticalRatio(pytest.approx(0.3), pytest.approx(0.3), pytest.approx(0.3), False)


def test_the_estimate_does_not_depend_on_the_number_of_seeds_and_its_interval_does():
    offsets = np.array([-0.03, 0.03, 0.0])
    few = {r: {s: 0.4 * r + o for s, o in enumerate(offsets)} for r in (0.0, 0.25, 0.5, 1.0)}
    many = {r: {s: 0.4 * r + o for s, o in enumerate(np.tile(offsets, 6))} for r in few}
    one, other = critical_ratio(few), critical_ratio(many)
    assert one.ratio == pytest.approx(0.25) and other.ratio == pytest.approx(one.ratio)
    assert one.low < other.low < other.ratio < other.high < one.high


def test_the_interval_of_a_critical_ratio_is_students():
    """All ratios move together with the seed, so that the crossing is a function of one t variable."""
    offsets = [-0.02, 0.03, -0.01]
    error, quantile = float(stats.sem(offsets)), float(stats.t.ppf(0.975, 2))
    found = critical_ratio(
        {r: {s: 0.4 * r + o for s, o in enumerate(offsets)} for r in (0.0, 0.25, 0.5, 1.0)}, num_redraws=40_000
    )
    assert found.ratio == pytest.approx(0.25)
    assert found.low == pytest.approx(max(0, 0.25 - quantile * error / 0.4), abs=0.01)
    assert found.high == pytest.approx(0.25 + quantile * error / 0.4, abs=0.01)


def test_the_interval_of_a_critical_ratio_covers_under_repetition():
    rng = np.random.default_rng(3)
    results = [critical_ratio(ratio_table(rng, 4), num_redraws=400) for _ in range(200)]
    assert np.mean([r.low <= 0.3 <= r.high for r in results]) > 0.9


def test_the_interval_of_a_rise_ends_where_nothing_is_left_of_the_score():
    found = collapse.growth([[1.0, 1.0, 1.0, r] for r in (1.0, 2.0, 90.0)])
    assert found.rise.low == -1.0 < found.rise.value < found.rise.high
    assert found.rise.value - found.rise.low < found.rise.high - found.rise.value


def test_the_last_crossing_counts():
    means = {0.5: 0.0, 0.0: -0.2, 1.0: 0.6, 0.25: 0.3, 0.75: 0.4}  # in no order
    result = critical_ratio({r: dict.fromkeys(range(3), m) for r, m in means.items()}, num_redraws=20)
    assert result.ratio == pytest.approx(0.5625)


def test_a_rise_that_never_or_always_passes_has_no_critical_ratio():
    for level, always in ((0.0, False), (0.09, False), (0.5, True)):
        result = critical_ratio({r: dict.fromkeys(range(3), level) for r in (0.0, 0.3, 0.6, 0.9)})
        assert result == CriticalRatio(None, None, None, always)


@pytest.mark.parametrize(("num_ratios", "num_seeds"), [(3, 5), (4, 2), (1, 1), (0, 0)])
def test_a_critical_ratio_is_refused_below_four_ratios_or_three_seeds(num_ratios, num_seeds):
    table = {r / 4: {s: 0.4 * r + 0.01 * s for s in range(num_seeds)} for r in range(num_ratios)}
    result = critical_ratio(table)
    assert result.ratio is None and "at least 4 ratios with 3 common seeds" in result.refused
    assert f"has {num_ratios} ratio" in result.refused and f"with {num_seeds} common seed" in result.refused


def test_only_seeds_that_every_ratio_has_count():
    table = {r: {s: r - 0.1 + 0.01 * s for s in range(5)} for r in (0.0, 0.25, 0.5, 1.0)}
    table[0.5] = {s: v for s, v in table[0.5].items() if s in (1, 2, 4)}
    same = {r: {s: by_seed[s] for s in (1, 2, 4)} for r, by_seed in table.items()}
    assert critical_ratio(table) == critical_ratio(same) != critical_ratio(dict.fromkeys(table, table[0.25]))


def test_redraws_of_a_critical_ratio_are_seeded():
    table = ratio_table(np.random.default_rng(1), 3, 0.1)
    first = critical_ratio(table, num_redraws=100, seed=1)
    assert first == critical_ratio(table, num_redraws=100, seed=1)
    assert first.low != critical_ratio(table, num_redraws=100, seed=2).low


@pytest.mark.parametrize("compare", [collapse.growth, collapse.shift])
@pytest.mark.parametrize("reference", [[[2.0] * 4], [[2.0] * 3] * 2], ids=["of one seed", "too short"])
def test_a_reference_of_another_shape_is_refused(compare, reference):
    with pytest.raises(MetricError, match=r"needs the shape of the curves \(2, 4\)"):
        compare([[1.0, 2.0, 3.0, 4.0]] * 2, reference)
