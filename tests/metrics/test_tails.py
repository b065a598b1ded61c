import numpy as np
import pytest

from bench.errors import MetricError
from bench.metrics.tails import Classifier, fit_classifier, last_alive, tail_scores

SHARES = np.array([0.5, 0.25, 0.12, 0.08, 0.03, 0.02])


def labelled(n: int, seed: int, shares: np.ndarray = SHARES, spread: float = 0.3):
    """Six clusters in 12 dimensions, the later ones rarer."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), n, p=shares / shares.sum())
    centres = np.random.default_rng(99).standard_normal((6, 12)) * 2
    return centres[labels] + rng.standard_normal((n, 12)) * spread, labels


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return fit_classifier(*labelled(1000, 0), *labelled(800, 1), num_classes=6)


def test_accuracy_is_that_of_held_out_images(classifier):
    features, labels = labelled(2000, 2)
    assert classifier.accuracy > 0.98
    assert (classifier.predict(features) == labels).mean() == pytest.approx(classifier.accuracy, abs=0.02)
    assert classifier.chance == pytest.approx(0.5, abs=0.05)
    confused = fit_classifier(*labelled(1000, 0, spread=5), *labelled(800, 1, spread=5), num_classes=6)
    assert confused.accuracy < 0.8


def test_real_images_keep_every_class(classifier):
    features, _ = labelled(1000, 3)
    result = tail_scores(classifier.predict(features), classifier)
    assert (result.survival, result.tail_survival, result.head_survival) == (1, 1, 1)
    assert result.divergence < 0.06
    assert result.counts.sum() == 1000 and result.expected.sum() == pytest.approx(1000)
    assert set(result.tail) == {3, 4, 5} and set(result.head) == {0, 1, 2}


def test_lost_tails_are_seen_as_tails(classifier):
    features, _ = labelled(1000, 4, SHARES * [1, 1, 1, 0, 0, 0])
    result = tail_scores(classifier.predict(features), classifier)
    assert (result.tail_survival, result.head_survival, result.survival) == (0, 1, 0.5)
    assert result.divergence == pytest.approx(0.13, abs=0.04)


def test_life_ends_once():
    expected = np.array([100.0, 100.0, 20.0, 2.0])
    counts = [np.array(c) for c in ([90, 5, 20, 1], [80, 50, 2, 0], [90, 50, 1, 5])]
    np.testing.assert_array_equal(last_alive(counts, expected), [2, -1, 1, 0])


def test_unlabelled_images_are_left_out():
    features, labels = labelled(600, 5)
    hidden = np.where(np.arange(600) % 3 == 0, -1, labels)
    few = fit_classifier(features, hidden, *labelled(300, 6), num_classes=6)
    assert few.accuracy > 0.95 and few.train_counts.sum() == 400


def test_too_few_labels_are_refused():
    features, labels = labelled(100, 7)
    with pytest.raises(MetricError, match="1 classes"):
        fit_classifier(features, np.zeros(100, int), features, labels, num_classes=6)
    with pytest.raises(MetricError, match="0 held-out"):
        fit_classifier(features, labels, features, np.full(100, -1), num_classes=6)
