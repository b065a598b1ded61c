"""Every score under changes of its sets whose effect is known beforehand, without knowing the score.

Properties of all sets are checked on sets that hypothesis draws. If a change of one set has a closed form, the exact
value is checked, not only its direction.
"""

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from scoring import copying

from bench.metrics.shared.frechet_distance import Statistics, frechet_distance, frechet_infinity
from bench.metrics.shared.kernel_distance import kernel_distance
from bench.metrics.shared.precision_recall import manifold_scores
from bench.metrics.shared.variety import entropy_estimate, near_duplicate_rate, vendi_score

SHARES = (
    "precision", "recall", "density", "coverage", "near_duplicate_rate", "closer_to_training", "authenticity",
    "near_copy_rate",
)  # fmt: skip
DISTANCES = ("nn_distance_training", "nn_distance_heldout")
QUANTILE = 0.2
"""Of near copies and near duplicates: of so few images, 0.01 would be the nearest alone."""

seeds = st.integers(0, 10**6)
few = settings(max_examples=12, deadline=None, derandomize=True)

Sets = tuple[np.ndarray, np.ndarray, np.ndarray]


def three_sets(seed: int, n: int = 36, d: int = 5, num_training: int | None = None) -> Sets:
    """Return subject, held-out and training images with different distributions, so that no two scores agree by
    chance."""
    rng = np.random.default_rng(seed)
    subject = rng.standard_normal((n, d)) * 0.9 + 0.2
    heldout = rng.standard_normal((n, d)) * rng.uniform(0.8, 1.5, d)
    training = rng.standard_normal((num_training or n, d)) * 1.1 - 0.1
    return subject, heldout, training


def measured(subject: np.ndarray, heldout: np.ndarray, training: np.ndarray, k: int = 3) -> dict[str, float]:
    """Return every score. KID uses one subset of the whole sets, so nothing is random."""
    whole = kernel_distance(subject, heldout, 2, min(len(subject), len(heldout)))
    drawn = kernel_distance(subject, heldout, 4, len(subject) // 3)
    found = vars(copying(subject, heldout, training, QUANTILE))
    return {
        "fid": frechet_distance(subject, heldout),
        "fid_infinity": frechet_infinity(subject, heldout),
        "kid": whole.mean,
        "kid_of_subsets": drawn.mean,
        "kid_sd": drawn.sd,
        **vars(manifold_scores(subject, heldout, k)),
        "vendi": vendi_score(subject),
        "entropy": entropy_estimate(subject, k),
        "near_duplicate_rate": near_duplicate_rate(subject, heldout, QUANTILE),
        **{name: value for name, value in found.items() if not name.startswith("num_")},
    }


def agree(scores: dict[str, float], expected: dict[str, float], names: Iterable[str], rel: float = 1e-6) -> None:
    """Check that scores agree, KID to 2e-6: its products are in float32, and its value is a small difference of large
    ones."""
    for name in names:
        rounding = 2e-6 if name.startswith("kid") else 1e-9
        assert scores[name] == pytest.approx(expected[name], rel=rel, abs=rounding), name


# ------------------------------------------------------------------------------------------------ all scores at a time


@pytest.mark.parametrize("num_training", [20, 36, 50])
@given(seed=seeds)
@settings(few, max_examples=5)
def test_no_score_depends_on_the_order_of_any_set(num_training, seed):
    """Check also the scores with random draws: KID's subsets, those of FD∞, and the cut of the larger set of
    copying."""
    sets = three_sets(seed, num_training=num_training)
    before = measured(*sets)
    for which in range(3):
        changed = list(sets)
        changed[which] = np.random.default_rng(seed).permutation(sets[which])
        agree(measured(*changed), before, before)


@given(seed=seeds, shift=st.floats(-20, 20))
@few
def test_moving_everything_changes_no_score_made_of_differences(seed, shift):
    sets = three_sets(seed)
    moved = [x + np.linspace(shift, 1, x.shape[1]) for x in sets]
    agree(measured(*moved), measured(*sets), ("fid", "entropy", *SHARES, *DISTANCES))


@given(seed=seeds)
@few
def test_turning_everything_changes_no_score(seed):
    sets = three_sets(seed)
    turn = ortho_group.rvs(5, random_state=seed)
    agree(
        measured(*(x @ turn for x in sets)),
        measured(*sets),
        ("fid", "kid", "vendi", "entropy", *SHARES, *DISTANCES),
    )


@given(seed=seeds, factor=st.sampled_from([0.125, 0.5, 3.0, 40.0]))
@few
def test_scaling_everything_scales_distances_and_leaves_shares(seed, factor):
    sets = three_sets(seed)
    before, after = measured(*sets), measured(*(factor * x for x in sets))
    agree(after, before, ("vendi", *SHARES))
    agree(after, {name: factor * before[name] for name in DISTANCES}, DISTANCES)
    agree(after, {"fid": factor**2 * before["fid"]}, ["fid"])
    agree(after, {"entropy": before["entropy"] + np.log(factor)}, ["entropy"])
    if factor in (0.125, 0.5):  # powers of two keep the order of the rows, which the draws depend on
        agree(after, {"fid_infinity": factor**2 * before["fid_infinity"]}, ["fid_infinity"])


@given(seed=seeds)
@few
def test_a_feature_that_is_nothing_changes_what_is_made_of_distances_alone(seed):
    """Check added features without variance: distances stay the same. KID and entropy divide by the number of
    features."""
    sets = three_sets(seed)
    wider = [np.hstack([x, np.zeros((len(x), 4))]) for x in sets]
    agree(measured(*wider), measured(*sets), ("fid", "vendi", *SHARES, *DISTANCES))


@given(seed=seeds)
@few
def test_swapping_sides_swaps_precision_with_recall_and_leaves_distances(seed):
    subject, heldout, training = three_sets(seed)
    before, after = measured(subject, heldout, training), measured(heldout, subject, training)
    agree(after, before, ("fid", "kid"))
    agree(after, {"precision": before["recall"], "recall": before["precision"]}, ("precision", "recall"))


@given(seed=seeds, times=st.integers(2, 3))
@few
def test_repeating_the_samples_changes_no_share_of_the_samples(seed, times):
    """Check that each sample is still in the same place, but is now its own near duplicate, and its ball has radius
    zero."""
    subject, heldout, training = three_sets(seed)
    repeated = np.repeat(subject, times, axis=0)
    before, after = manifold_scores(subject, heldout, 1), manifold_scores(repeated, heldout, 1)
    assert (after.precision, after.density, after.coverage) == pytest.approx(
        (before.precision, before.density, before.coverage)
    )
    assert after.recall == 0
    assert vendi_score(repeated) == pytest.approx(vendi_score(subject))
    assert near_duplicate_rate(repeated, np.vstack([heldout] * times) + 1e-3 * repeated, 0.01) == 1
    a, b = (copying(x, heldout, training, QUANTILE) for x in (subject, repeated))
    assert vars(b) == pytest.approx(vars(a))


@given(seed=seeds)
@few
def test_repeating_the_reference_empties_its_balls(seed):
    subject, heldout, _ = three_sets(seed)
    before, after = (manifold_scores(subject, x, 1) for x in (heldout, np.repeat(heldout, 2, axis=0)))
    assert (after.precision, after.density, after.coverage) == (0, 0, 0)
    assert after.recall == before.recall


@given(seed=seeds, times=st.integers(2, 3), k=st.integers(1, 4))
@few
def test_repeating_both_sides_with_as_many_more_neighbours_changes_no_manifold(seed, times, k):
    """Check m copies of each point: neighbour m k + m - 1 lies where neighbour k was. A ball contains m times as many
    points."""
    subject, heldout, _ = three_sets(seed)
    before = manifold_scores(subject, heldout, k)
    after = manifold_scores(np.repeat(subject, times, 0), np.repeat(heldout, times, 0), times * k + times - 1)
    agree(vars(after), vars(before), ("precision", "recall", "coverage"))
    assert after.density * (times * k + times - 1) == pytest.approx(before.density * k * times)


# ------------------------------------------------------------------------------------------------------ Fréchet, kernel


@given(seed=seeds, times=st.integers(2, 4))
@few
def test_repeating_both_sides_shrinks_the_spread_in_fid_by_the_lost_freedom(seed, times):
    """Check the n - 1 in the denominator of covariances: those of m n repeated points are m (n - 1) / (m n - 1) times
    the original."""
    subject, heldout, _ = three_sets(seed)
    n = len(subject)
    means = ((subject.mean(0) - heldout.mean(0)) ** 2).sum()
    spread = frechet_distance(subject, heldout) - means
    after = frechet_distance(np.repeat(subject, times, 0), np.repeat(heldout, times, 0))
    assert after == pytest.approx(means + spread * times * (n - 1) / (times * n - 1), rel=1e-6)


@given(seed=seeds, distance=st.floats(0, 30))
@few
def test_moving_one_side_adds_the_square_of_the_way_to_fid(seed, distance):
    subject, heldout, _ = three_sets(seed)
    centred = subject - subject.mean(0) + heldout.mean(0)
    way = np.array([0.6, 0, 0, -0.8, 0]) * distance
    expected = frechet_distance(centred, heldout) + distance**2
    assert frechet_distance(centred + way, heldout) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [6, 36])
def test_scaling_one_side_about_its_mean_has_a_closed_form_in_fid(n):
    """Check covariances S and c² S, with distance tr S (1 - c)², also for fewer images than features."""
    x = three_sets(0, n, 8)[0]
    wider = x.mean(0) + 3 * (x - x.mean(0))
    assert frechet_distance(wider, x) == pytest.approx(4 * np.cov(x, rowvar=False).trace(), rel=1e-6)


def test_fid_of_statistics_kept_is_that_of_the_features():
    subject, heldout, _ = three_sets(1)
    kept = Statistics.of(heldout)
    assert frechet_distance(subject, kept) == frechet_distance(subject, heldout)
    assert kept.n == len(heldout) and kept.trace == pytest.approx(np.trace(np.cov(heldout, rowvar=False)))


def test_fid_extrapolated_of_a_set_with_itself_is_a_little_below_zero():
    """Check two draws from one set at every size: the line falls from their difference to 0 at N, and below it. If the
    same images were drawn on both sides, it would be 0."""
    x = three_sets(2, 60)[0]
    distance = frechet_infinity(x, x)
    assert -1 < distance < -1e-3
    assert frechet_infinity(x, x, seed=1) != distance == frechet_infinity(x, x)


def test_fid_extrapolated_goes_through_the_bias_of_one_over_n():
    """Check one side far away along a line on which neither varies: for a large |m1 - m2|², the bias of FID is
    negligible, and the line is flat."""
    x, y, _ = three_sets(3, 60)
    far = np.hstack([y, np.full((60, 1), 1e3)])
    assert frechet_infinity(np.hstack([x, np.zeros((60, 1))]), far) == pytest.approx(1e6, rel=1e-5)


def test_kid_of_all_ways_to_deal_out_one_set_is_zero_on_average():
    """Check that the mean is exactly zero, unlike that of FID, which is biased: the estimate is unbiased for equal
    distributions, and the two halves of one small set are draws from one."""
    x = np.random.default_rng(4).gamma(2.0, 1.0, (8, 3))
    kids, fids = [], []
    for chosen in itertools.combinations(range(8), 4):
        a, b = x[list(chosen)], np.delete(x, chosen, axis=0)
        kids.append(kernel_distance(a, b, 2, 4).mean)
        fids.append(frechet_distance(a, b))
    assert np.mean(kids) == pytest.approx(0, abs=1e-5 * np.std(kids))
    assert min(fids) > 0 and min(kids) < 0 < max(kids)


def test_kid_of_points_follows_from_the_kernel_by_hand():
    """Check two points at a and two at b, in one dimension: (a² + 1)³ + (b² + 1)³ - 2 (a b + 1)³. With four equal
    features each the result is the same, because the product is divided by their number."""
    a, b = 1.0, 2.0
    expected = (a * a + 1) ** 3 + (b * b + 1) ** 3 - 2 * (a * b + 1) ** 3
    for d in (1, 4):
        sides = (np.array([[v], [v + 1e-9]]) * np.ones(d) for v in (a, b))
        assert kernel_distance(*sides, 2, 2).mean == pytest.approx(expected, rel=1e-6)


def test_kid_draws_both_sides_anew_for_every_subset_and_seed():
    subject, heldout, _ = three_sets(5, 40)
    result = kernel_distance(subject, heldout, 10, 10)
    assert len(set(result.values)) == 10
    assert (result.mean, result.sd) == pytest.approx((np.mean(result.values), np.std(result.values)))
    other = kernel_distance(subject, heldout, 10, 10, seed=1)
    assert not set(other.values) & set(result.values)
    # A set with itself: if both sides drew the same images, every value would have the same sign.
    itself = kernel_distance(subject, subject, 40, 10).values
    assert (itself > 0).any() and (itself < 0).any()


def test_kid_of_subsets_estimates_that_of_the_whole():
    subject, heldout, _ = three_sets(6, 60)
    whole = kernel_distance(subject + 0.5, heldout, 2, 60).mean
    for size, count in ((20, 400), (50, 60)):
        part = kernel_distance(subject + 0.5, heldout, count, size)
        assert part.mean == pytest.approx(whole, abs=5 * part.sd / np.sqrt(count))


# ------------------------------------------------------------------------------------------------------------- manifold


@given(seed=seeds, k=st.integers(1, 5), size=st.integers(8, 30))
@few
def test_a_part_of_the_reference_has_precision_one_and_the_other_way_round_recall_one(seed, k, size):
    _, heldout, _ = three_sets(seed)
    part = heldout[:size]
    assert manifold_scores(part, heldout, k).precision == 1
    assert manifold_scores(heldout, part, k).recall == 1
    assert manifold_scores(part, heldout, k).coverage >= size / len(heldout)


@given(seed=seeds, k=st.integers(1, 8))
@few
def test_a_set_compared_with_itself_lies_in_its_own_ball_and_in_as_many_others_as_there_are_neighbours(seed, k):
    x = three_sets(seed)[0]
    result = manifold_scores(x, x.copy(), k)
    assert (result.precision, result.recall, result.coverage) == (1, 1, 1)
    assert result.density == pytest.approx((k + 1) / k)  # the point itself and k neighbours: the boundary is inside


@given(seed=seeds)
@few
def test_more_neighbours_lose_no_point_of_a_manifold(seed):
    subject, heldout, _ = three_sets(seed)
    by_k = [manifold_scores(subject + 1, heldout, k) for k in range(1, 8)]
    for name in ("precision", "recall", "coverage"):
        values = [getattr(result, name) for result in by_k]
        assert values == sorted(values), name
    inside = [result.density * k for k, result in enumerate(by_k, 1)]
    assert inside == sorted(inside)


@given(seed=seeds, share=st.sampled_from([0.25, 0.5, 0.75]))
@few
def test_samples_thrown_far_away_are_the_share_that_precision_and_density_lose(seed, share):
    """Check also that the reference's balls lose nothing else: coverage stays that of the remaining samples."""
    subject, heldout, _ = three_sets(seed)
    away = round(share * len(subject))
    thrown = subject.copy()
    thrown[:away] = 1e3 + 50 * np.random.default_rng(seed).standard_normal((away, 5))
    result, rest = manifold_scores(thrown, heldout, 2), manifold_scores(subject[away:], heldout, 2)
    assert result.precision == pytest.approx(rest.precision * (1 - away / len(subject)))
    assert result.density == pytest.approx(rest.density * (1 - away / len(subject)))
    assert result.coverage == rest.coverage


@given(seed=seeds, n=st.integers(9, 40), m=st.integers(9, 40), k=st.integers(1, 6))
@settings(few, max_examples=25)
def test_manifold_scores_of_unequal_sets_are_those_of_the_definition(seed, n, m, k):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 3)), rng.standard_normal((m, 3)) + 0.5
    cross = distances(x, y)
    ball_x, ball_y = (np.sort(distances(z, z), axis=1)[:, k] for z in (x, y))
    result = manifold_scores(x, y, k)
    assert result.precision == pytest.approx(np.mean([any(cross[i] <= ball_y) for i in range(n)]))
    assert result.recall == pytest.approx(np.mean([any(cross[:, j] <= ball_x) for j in range(m)]))
    assert result.density == pytest.approx(sum(cross[i, j] <= ball_y[j] for i in range(n) for j in range(m)) / (k * n))
    assert result.coverage == pytest.approx(np.mean([any(cross[:, j] <= ball_y[j]) for j in range(m)]))


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[:, None] - y, axis=-1)


# ------------------------------------------------------------------------------------------------------------ diversity


@given(seed=seeds, n=st.integers(6, 40), d=st.integers(1, 6), k=st.integers(1, 4))
@few
def test_entropy_is_that_of_the_definition(seed, n, d, k):
    from scipy.special import digamma, gamma

    x = np.random.default_rng(seed).gamma(1.5, 2.0, (n, d))
    radii = np.sort(distances(x, x), axis=1)[:, k]
    ball = np.pi ** (d / 2) / gamma(d / 2 + 1)
    expected = digamma(n) - digamma(k) + np.log(ball) + d * np.log(radii).mean()
    assert entropy_estimate(x, k) == pytest.approx(expected / d, rel=1e-9, abs=1e-9)


def test_entropy_of_twins_is_low_and_finite_and_knows_their_scale():
    """Check that radii of zero count as the rounding of a distance, 1e-6 of the set's own spread, wherever the set
    lies."""
    x = np.random.default_rng(0).standard_normal((30, 4))
    twins = np.repeat(x, 2, axis=0)
    spread = np.sqrt(((twins - twins.mean(0)) ** 2).sum(1).mean())
    from scipy.special import digamma, gamma

    expected = (digamma(60) - digamma(1) + np.log(np.pi**2 / gamma(3))) / 4 + np.log(1e-6 * spread)
    for shift in (0, 50):
        assert entropy_estimate(twins + shift, 1) == pytest.approx(expected, abs=1e-6)


@given(seed=seeds, n=st.integers(5, 30), quantile=st.sampled_from([0.01, 0.1, 0.5, 0.9]))
@few
def test_near_duplicates_are_those_of_the_definition(seed, n, quantile):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 3)) * 0.8, rng.standard_normal((n, 3))
    own, usual = (np.sort(distances(z, z), axis=1)[:, 1] for z in (x, y))
    expected = np.mean(own < np.quantile(usual, quantile))
    assert near_duplicate_rate(x, y, quantile) == pytest.approx(expected)


def test_a_hundredth_of_real_images_are_near_duplicates_by_default():
    x = np.random.default_rng(1).standard_normal((901, 3))
    assert near_duplicate_rate(x, x) == pytest.approx(0.01, abs=2 / 901)  # both of a nearest pair, or one
    heldout, training = np.random.default_rng(2).standard_normal((2, 901, 3))
    assert copying(x, heldout, training).near_copy_rate == pytest.approx(0.01, abs=0.01)
    assert copying(x, x * [-1, 1, 1], x[::-1] * [-1, 1, 1]).near_copy_rate == pytest.approx(9 / 901, abs=1.5 / 901)


@pytest.mark.parametrize(("n", "d"), [(12, 6), (5, 20), (1100, 4)])
def test_vendi_counts_two_kinds_apart_as_twice_the_geometric_mean(n, d):
    """Check two orthogonal halves: exp(log 2 + (H1 + H2) / 2). Also with more images than one block holds."""
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((n, d)), rng.gamma(1.0, 1.0, (n, d))
    both = np.vstack([np.hstack([a, np.zeros((n, d))]), np.hstack([np.zeros((n, d)), b])])
    assert vendi_score(both) == pytest.approx(2 * np.sqrt(vendi_score(a) * vendi_score(b)))


@given(seed=seeds)
@few
def test_vendi_sees_directions_alone(seed):
    x = three_sets(seed)[0]
    lengths = np.random.default_rng(seed).uniform(0.1, 9, (len(x), 1))
    assert vendi_score(x * lengths) == pytest.approx(vendi_score(x))
    assert 1 <= vendi_score(x) <= 5


# -------------------------------------------------------------------------------------------------------------- copying


@given(seed=seeds, copied=st.integers(1, 40))
@few
def test_a_planted_share_of_copies_is_measured_exactly(seed, copied):
    """Check held-out images that mirror the training images, with symmetric samples, half of which lie nearer to
    either. A share p of copies makes this (1 + p) / 2, one of copied held-out images (1 - p) / 2."""
    rng = np.random.default_rng(seed)
    training = rng.standard_normal((40, 4))
    mirror = np.array([-1, 1, 1, 1])
    half = rng.standard_normal((20, 4))
    samples, heldout = np.vstack([half, half * mirror]), training * mirror
    before = copying(samples, heldout, training, QUANTILE)
    assert before.closer_to_training == 0.5
    assert before.nn_distance_training == pytest.approx(before.nn_distance_heldout)

    p = copied / (40 + copied)
    with_copies = np.vstack([samples, training[:copied]])
    after = copying(with_copies, heldout, training, QUANTILE)
    assert after.closer_to_training == pytest.approx((1 + p) / 2)
    usual = np.quantile(distances(with_copies, heldout).min(1), QUANTILE)
    near = distances(samples, training).min(1) < usual
    assert after.near_copy_rate == pytest.approx(near.mean() * (1 - p) + p)
    assert after.authenticity == pytest.approx(before.authenticity * (1 - p))
    assert after.nn_distance_training <= before.nn_distance_training

    memorised = copying(np.vstack([samples, heldout[:copied]]), heldout, training, QUANTILE)
    assert memorised.closer_to_training == pytest.approx((1 - p) / 2)
    assert memorised.nn_distance_heldout <= before.nn_distance_heldout


@given(seed=seeds)
@few
def test_swapping_training_and_heldout_swaps_the_distances_and_turns_the_share_round(seed):
    subject, heldout, training = three_sets(seed)
    before, after = copying(subject, heldout, training), copying(subject, training, heldout)
    assert after.closer_to_training == pytest.approx(1 - before.closer_to_training)
    assert after.nn_distance_training == pytest.approx(before.nn_distance_heldout)
    assert after.nn_distance_heldout == pytest.approx(before.nn_distance_training)


@given(seed=seeds, num_heldout=st.integers(5, 40), num_training=st.integers(5, 40))
@settings(few, max_examples=25)
def test_copying_is_that_of_the_definition(seed, num_heldout, num_training):
    rng = np.random.default_rng(seed)
    subject, heldout = rng.standard_normal((30, 3)), rng.standard_normal((num_heldout, 3)) * 1.3
    training = rng.standard_normal((num_training, 3)) * 0.7
    result = copying(subject, heldout, training, QUANTILE)

    to_training, to_heldout = distances(subject, training), distances(subject, heldout)
    spacing = np.sort(distances(training, training), axis=1)[:, 1]
    usual = np.quantile(to_heldout.min(1), QUANTILE)
    further = to_training.min(1) > spacing[to_training.argmin(1)]
    assert result.authenticity == pytest.approx(further.mean())
    assert result.num_compared == result.num_twin == min(num_training, num_heldout)
    if num_training <= num_heldout:  # the whole training set is used
        assert result.nn_distance_training == pytest.approx(np.median(to_training.min(1)))
    if num_heldout <= num_training:
        assert result.nn_distance_heldout == pytest.approx(np.median(to_heldout.min(1)))
    if num_heldout == num_training:
        closer = to_training.min(1) < to_heldout.min(1)
        assert result.closer_to_training == pytest.approx(closer.mean())
        assert result.near_copy_rate == pytest.approx((to_training.min(1) < usual).mean())
    # Only a part of the larger set is used, and samples whose nearest item is in the rest lie further from this part.
    assert result.nn_distance_training >= np.median(to_training.min(1)) * (1 - 1e-9)
    assert result.nn_distance_heldout >= np.median(to_heldout.min(1)) * (1 - 1e-9)


def test_samples_that_are_images_of_both_sets_count_half():
    x, other, _ = three_sets(7)
    assert copying(x, x, x.copy()).closer_to_training == 0.5
    both = copying(np.vstack([x[:9], other[:27]]), np.vstack([x, other * 9]), np.vstack([x, other]))
    assert both.closer_to_training == pytest.approx((9 / 2 + 27) / 36)


@pytest.mark.parametrize("larger", ["training", "heldout"])
def test_the_larger_set_is_cut_to_the_smaller_by_a_fair_draw(larger):
    """Check one image near all samples, among 2 m images: it is drawn for half of the seeds, and then all samples are
    near."""
    rng = np.random.default_rng(8)
    near, far = np.zeros((1, 2)), rng.standard_normal((19, 2)) + 1000
    samples = rng.standard_normal((6, 2))
    large, small = np.vstack([near, far]), rng.standard_normal((10, 2)) + 500
    outcomes = []
    for seed in range(60):
        sets = {"training": large, "heldout": small} if larger == "training" else {"training": small, "heldout": large}
        result = copying(samples, **sets, seed=seed)
        assert result.num_compared == 10
        drawn = getattr(result, f"nn_distance_{larger}") < 100
        assert drawn or getattr(result, f"nn_distance_{larger}") > 1000
        assert result.closer_to_training == (drawn if larger == "training" else not drawn)
        outcomes.append(drawn)
    assert 0.25 < np.mean(outcomes) < 0.75


# ------------------------------------------------------------------------------------------------------------ all alike


def test_one_image_on_either_side_is_refused_by_every_score():
    from bench.errors import MetricError

    x, one = three_sets(9)[0], three_sets(9)[1][:1]
    for refused in (
        lambda: frechet_distance(x, one),
        lambda: kernel_distance(one, x, 2, 2),
        lambda: manifold_scores(x, one, 1),
        lambda: vendi_score(one),
        lambda: entropy_estimate(one, 1),
        lambda: copying(one, x, x),
        lambda: copying(x, x, one),
    ):
        with pytest.raises(MetricError, match="N = 1"):
            refused()


@given(seed=seeds, k=st.integers(1, 3))
@few
def test_a_far_reference_point_changes_density_and_coverage_by_its_own_ball_alone(seed, k):
    """Check that its huge ball contains every sample: precision becomes 1, density gains 1 / k, and coverage gains one
    point."""
    subject, heldout, _ = three_sets(seed)
    before = manifold_scores(subject, heldout, k)
    assume(before.precision < 1)
    outlier = np.full((1, 5), 1e4)
    after = manifold_scores(subject, np.vstack([heldout, outlier]), k)
    # The ball reaches to the k-th nearest point of the reference, and contains all samples on this side of it.
    reach = np.sort(distances(outlier, heldout)[0])[k - 1]
    inside = distances(outlier, subject)[0] <= reach
    assert after.density == pytest.approx(before.density + inside.mean() / k)
    assert after.coverage == pytest.approx((before.coverage * 36 + inside.any()) / 37)
