import numpy as np
import pytest
from scoring import copying

from bench.errors import MetricError
from bench.metrics.shared.nearest_training import copying_scores, equal_sides


def sets(n: int = 500, d: int = 6):
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((n, d)).astype(np.float32) for _ in range(3))


def test_new_images_are_not_taken_for_copies():
    subject, heldout, training = sets()
    result = copying(subject, heldout, training)
    assert result.closer_to_training == pytest.approx(0.5, abs=0.07)
    assert result.near_copy_rate == pytest.approx(0.01, abs=0.015)
    assert result.authenticity > 0.4
    assert result.nn_distance_training == pytest.approx(result.nn_distance_heldout, rel=0.1)


def test_copies_are_detected():
    _, heldout, training = sets()
    result = copying(training + 1e-4, heldout, training)
    assert result.closer_to_training > 0.99 and result.near_copy_rate > 0.99 and result.authenticity < 0.01
    assert result.nn_distance_training < 0.01 < result.nn_distance_heldout


def test_half_copies_are_half_detected():
    subject, heldout, training = sets()
    result = copying(np.vstack([subject[:250], training[:250]]), heldout, training)
    assert result.near_copy_rate == pytest.approx(0.5, abs=0.03)
    assert result.closer_to_training == pytest.approx(0.75, abs=0.06)


def test_authenticity_follows_its_definition():
    subject, heldout, training = (x[:60].astype(np.float64) for x in sets())
    distances = np.linalg.norm(subject[:, None] - training, axis=-1)
    own = np.linalg.norm(training[:, None] - training, axis=-1) + np.diag(np.full(60, np.inf))
    expected = np.mean([distances[i].min() > own[distances[i].argmin()].min() for i in range(60)])
    assert copying(subject, heldout, training).authenticity == pytest.approx(expected)


def test_copies_of_twins_are_not_authentic():
    _, heldout, training = sets(60)
    twins = np.repeat(training, 2, axis=0)
    assert copying(training, heldout, twins).authenticity == 0


def test_the_size_of_the_training_set_does_not_decide():
    subject, heldout, training = sets(2000)
    result = copying(subject[:300], heldout[:300], training)
    assert result.num_compared == 300
    assert result.closer_to_training == pytest.approx(0.5, abs=0.1)


def test_bad_training_features_are_refused():
    subject, heldout, training = sets(20)
    with pytest.raises(MetricError, match="training 5"):
        copying(subject, heldout, training[:, :5])
    with pytest.raises(MetricError, match="training features: N = 1"):
        copying(subject, heldout, training[:1])


def gaussian(scale: float, copied: float, seed: int, n: int = 600) -> tuple[np.ndarray, ...]:
    """Return samples, held-out items, training items and their unseen twin: all N(0, scale²) but the held-out items,
    which are N(0, 1), in 16 dimensions. A share `copied` of the samples is a training item."""
    rng = np.random.default_rng(seed)
    samples, training, unseen, heldout = (
        (rng.standard_normal((n, 16)) * width).astype(np.float32) for width in (scale, scale, scale, 1)
    )
    samples[: round(copied * n)] = training[: round(copied * n)] + np.float32(1e-3 * scale)
    return samples, heldout, training, unseen


@pytest.mark.parametrize("scale", [1, 0.6, 0.4])
def test_without_copies_neither_rate_moves_however_far_the_chain_has_drifted(scale):
    """Check means over seeds within 4 standard errors, which the seeds themselves tell."""
    found = []
    for seed in range(12):
        samples, heldout, training, unseen = gaussian(scale, 0, seed)
        result = copying_scores(samples, heldout, training, twin=(training, unseen))
        found.append((result.closer_to_training, result.near_copy_rate))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert np.abs(mean - (0.5, 0.01)) == pytest.approx((0, 0), abs=4 * error.max())
    assert (error < 0.01).all()
    drifted = copying(*gaussian(scale, 0, 0)[:3])  # against held-out items, as if they were the twin
    assert (drifted.closer_to_training > 0.9) == (scale < 1)


@pytest.mark.parametrize("scale", [1, 0.4])
def test_a_planted_share_of_copies_raises_both_rates(scale):
    found = []
    for share in (0, 0.1, 0.3):
        samples, heldout, training, unseen = gaussian(scale, share, 1)
        result = copying_scores(samples, heldout, training, twin=(training, unseen))
        found.append((result.closer_to_training, result.near_copy_rate))
        assert result.near_copy_rate == pytest.approx(0.01 + 0.99 * share, abs=0.03)
    assert (np.diff(found, axis=0) > 0.03).all()
    closer = np.array(found)[:, 0]
    assert closer[1:] == pytest.approx(closer[0] + (1 - closer[0]) * np.array([0.1, 0.3]), abs=0.03)


def test_without_a_twin_what_needs_one_is_left_out():
    subject, heldout, training = sets(40)
    result = copying_scores(subject, heldout, training)
    assert (result.closer_to_training, result.near_copy_rate, result.num_twin) == (None, None, 0)
    twinned = copying_scores(subject, heldout, training, twin=(training[:9], heldout[:9]))
    assert twinned.num_twin == 9 and twinned.authenticity == result.authenticity
    assert twinned.nn_distance_training == result.nn_distance_training
    with pytest.raises(MetricError, match="sides of a twin differ: 9 items trained on, 8 unseen"):
        copying_scores(subject, heldout, training, twin=(training[:9], heldout[:8]))
    with pytest.raises(MetricError, match="trained-on features: N = 1"):
        copying_scores(subject, heldout, training, twin=(training[:1], heldout[:1]))


def test_the_sides_of_a_twin_are_equal_draws_of_their_sets_in_any_order():
    _, large, small = sets(30)
    first, second = equal_sides(large, small[:12])
    assert len(first) == len(second) == 12
    assert {row.tobytes() for row in first} < {row.tobytes() for row in large}
    assert {row.tobytes() for row in second} == {row.tobytes() for row in small[:12]}
    again = equal_sides(large[::-1], small[11::-1])
    np.testing.assert_array_equal(first, again[0])
    assert not np.array_equal(first, equal_sides(large, small[:12], seed=1)[0])
