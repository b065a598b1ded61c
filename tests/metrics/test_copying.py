import numpy as np
import pytest

from bench.errors import MetricError
from bench.metrics.shared.nearest_training import copying_scores


def sets(n: int = 500, d: int = 6):
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((n, d)).astype(np.float32) for _ in range(3))


def test_new_images_are_not_taken_for_copies():
    subject, heldout, training = sets()
    result = copying_scores(subject, heldout, training)
    assert result.closer_to_training == pytest.approx(0.5, abs=0.07)
    assert result.near_copy_rate == pytest.approx(0.01, abs=0.015)
    assert result.authenticity > 0.4
    assert result.nn_distance_training == pytest.approx(result.nn_distance_heldout, rel=0.1)


def test_copies_are_detected():
    _, heldout, training = sets()
    result = copying_scores(training + 1e-4, heldout, training)
    assert result.closer_to_training > 0.99 and result.near_copy_rate > 0.99 and result.authenticity < 0.01
    assert result.nn_distance_training < 0.01 < result.nn_distance_heldout


def test_half_copies_are_half_detected():
    subject, heldout, training = sets()
    result = copying_scores(np.vstack([subject[:250], training[:250]]), heldout, training)
    assert result.near_copy_rate == pytest.approx(0.5, abs=0.03)
    assert result.closer_to_training == pytest.approx(0.75, abs=0.06)


def test_authenticity_follows_its_definition():
    subject, heldout, training = (x[:60].astype(np.float64) for x in sets())
    distances = np.linalg.norm(subject[:, None] - training, axis=-1)
    own = np.linalg.norm(training[:, None] - training, axis=-1) + np.diag(np.full(60, np.inf))
    expected = np.mean([distances[i].min() > own[distances[i].argmin()].min() for i in range(60)])
    assert copying_scores(subject, heldout, training).authenticity == pytest.approx(expected)


def test_copies_of_twins_are_not_authentic():
    _, heldout, training = sets(60)
    twins = np.repeat(training, 2, axis=0)
    assert copying_scores(training, heldout, twins).authenticity == 0


def test_the_size_of_the_training_set_does_not_decide():
    subject, heldout, training = sets(2000)
    result = copying_scores(subject[:300], heldout[:300], training)
    assert result.num_compared == 300
    assert result.closer_to_training == pytest.approx(0.5, abs=0.1)


def test_bad_training_features_are_refused():
    subject, heldout, training = sets(20)
    with pytest.raises(MetricError, match="training 5"):
        copying_scores(subject, heldout, training[:, :5])
    with pytest.raises(MetricError, match="training features: N = 1"):
        copying_scores(subject, heldout, training[:1])
