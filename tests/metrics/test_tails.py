import numpy as np
import pytest

from bench.errors import MetricError
from bench.metrics.shared.class_survival import (
    PENALTY,
    Classifier,
    fit_classifier,
    last_alive,
    survives,
    tail_scores,
)

SHARES = np.array([0.5, 0.25, 0.12, 0.08, 0.03, 0.02])


def labelled(n: int, seed: int, shares: np.ndarray = SHARES, spread: float = 0.3):
    """Return six clusters in 12 dimensions, the later ones rarer."""
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


def that_has_seen(train_counts: list[int], heldout_counts: list[int]) -> Classifier:
    """Return a classifier of which only the counts matter."""
    num_classes = len(train_counts)
    seen = np.random.default_rng(0).permutation(np.repeat(np.arange(num_classes), heldout_counts))
    nothing = np.zeros(1), np.ones(1), np.zeros((1, num_classes)), np.zeros(num_classes)
    return Classifier(*nothing, 1.0, 0.5, seen, np.array(train_counts))


def test_tails_of_counts_that_are_known():
    """Check 200 samples: expected counts are the shares among held-out images, while rarity goes by the training
    images. The last class is never predicted for held-out images; the samples classified as it are surplus."""
    classifier = that_has_seen([50, 10, 30, 5, 5], [40, 40, 10, 10, 0])
    predictions = np.repeat(np.arange(5), [150, 8, 1, 3, 38])
    result = tail_scores(predictions, classifier)
    np.testing.assert_allclose(result.expected, [80, 80, 20, 20, 0])
    np.testing.assert_array_equal(result.counts, [150, 8, 1, 3, 38])
    assert (set(result.tail), set(result.head)) == ({3, 1}, {2, 0})
    assert (result.survival, result.tail_survival, result.head_survival) == (0.75, 1.0, 0.5)
    assert result.divergence == pytest.approx((70 + 72 + 19 + 17 + 38) / 400)


def test_of_an_odd_number_of_classes_the_middle_one_is_no_tail():
    result = tail_scores(np.array([0, 0, 1, 2]), that_has_seen([9, 5, 1], [5, 3, 2]))
    assert (list(result.tail), list(result.head)) == ([2], [1, 0])
    alone = tail_scores(np.array([1, 1]), that_has_seen([9, 5], [0, 4]))
    assert (alone.survival, alone.tail_survival, alone.head_survival, alone.divergence) == (1, 1, 1, 0)
    dead = tail_scores(np.array([0, 0]), that_has_seen([9, 5], [0, 4]))
    assert (dead.survival, dead.tail_survival, dead.head_survival, dead.divergence) == (0, 0, 0, 1)


def test_a_tenth_of_what_is_expected_and_one_image_keep_a_class_alive():
    expected = np.array([100.0, 100.0, 100.0, 3.0, 3.0, 15.0])
    np.testing.assert_array_equal(
        survives(np.array([10.0, 9.0, 11.0, 1.0, 0.0, 1.0]), expected), [True, False, True, True, False, False]
    )


def test_shares_of_classes_that_nobody_can_tell_apart_from_real_ones_diverge_by_nothing():
    classifier = that_has_seen([5, 5, 5], [10, 20, 30])
    assert tail_scores(np.repeat([0, 1, 2], [1, 2, 3]), classifier).divergence == 0
    assert tail_scores(np.repeat([0, 1, 2], [600, 0, 0]), classifier).divergence == pytest.approx(5 / 6)


def test_other_names_for_the_classes_change_nothing_but_the_names():
    new_name = np.array([4, 2, 5, 0, 1, 3])
    (x, y), (a, b) = labelled(500, 8), labelled(300, 9)
    samples, _ = labelled(400, 10, SHARES * [1, 0, 1, 1, 0.2, 1])
    before = fit_classifier(x, y, a, b, num_classes=6)
    after = fit_classifier(x, new_name[y], a, new_name[b], num_classes=6)
    assert (after.accuracy, after.chance) == (before.accuracy, before.chance)
    np.testing.assert_array_equal(after.predict(samples), new_name[before.predict(samples)])
    old, new = tail_scores(before.predict(samples), before), tail_scores(after.predict(samples), after)
    for name in ("survival", "tail_survival", "head_survival"):
        assert getattr(new, name) == getattr(old, name), name
    assert new.divergence == pytest.approx(old.divergence)
    np.testing.assert_array_equal(new.counts[new_name], old.counts)
    np.testing.assert_allclose(new.expected[new_name], old.expected)
    assert set(new.tail) == set(new_name[old.tail])


def test_the_classifier_is_that_of_scikit_learn():
    """Compare the same convex problem: mean cross-entropy and PENALTY |W|² / 2, on standardised features."""
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    x, y = labelled(300, 11, spread=3)
    ours = fit_classifier(x * 7 + 3, y, *labelled(50, 12), num_classes=6)
    np.testing.assert_allclose((ours.mean, ours.scale), (x.mean(0) * 7 + 3, x.std(0) * 7))
    standard = (x - x.mean(0)) / x.std(0)
    theirs = linear_model.LogisticRegression(C=1 / (PENALTY * 300), tol=1e-8, max_iter=10**4).fit(standard, y)
    np.testing.assert_allclose(ours.weight - ours.weight.mean(1, keepdims=True), theirs.coef_.T, atol=0.05)
    others, _ = labelled(500, 13, spread=3)
    agreed = ours.predict(others * 7 + 3) == theirs.predict((others - x.mean(0)) / x.std(0))
    assert agreed.mean() > 0.99
    few = fit_classifier(x, y, *labelled(50, 12), num_classes=6)  # of other units: the same answers
    np.testing.assert_array_equal(few.predict(others), ours.predict(others * 7 + 3))


def test_accuracy_chance_and_what_is_usual_are_of_labelled_heldout_images():
    """Check with class 2 the most common among training images and the rarest among held-out ones."""
    x, y = labelled(400, 14, np.array([0.2, 0.2, 0.6, 0, 0, 0]), spread=4)
    heldout, truth = labelled(300, 15, np.array([0.6, 0.3, 0.1, 0, 0, 0]), spread=4)
    hidden = np.where(np.arange(300) % 3 == 1, -1, truth)
    known = hidden >= 0
    result = fit_classifier(x.astype(np.float32), y, heldout.astype(np.float32), hidden, num_classes=6)
    predictions = result.predict(heldout)
    assert 0.4 < result.accuracy < 0.99
    assert result.accuracy == pytest.approx((predictions == truth)[known].mean())
    assert result.chance == pytest.approx((truth == 2)[known].mean())
    np.testing.assert_array_equal(result.heldout_predictions, predictions[known])
    np.testing.assert_array_equal(result.train_counts, np.bincount(y, minlength=6))
    assert result.num_classes == 6


def test_a_feature_that_never_changes_is_no_obstacle():
    (x, y), (heldout, truth) = labelled(200, 16), labelled(100, 17)
    dead = [np.hstack([z, np.full((len(z), 1), 4.0)]) for z in (x, heldout)]
    assert fit_classifier(dead[0], y, dead[1], truth, num_classes=6).accuracy > 0.95


def test_nothing_is_classified_that_is_not_finite(classifier):
    features, _ = labelled(20, 18)
    features[3, 1] = np.nan
    with pytest.raises(MetricError, match="classified features: 1 of 20 rows have NaN or infinity, first row 3"):
        classifier.predict(features)


def test_what_is_not_labelled_might_as_well_not_be_there():
    """Check unlabelled images far away, which would move the mean and the scale of the features."""
    (x, y), (heldout, truth) = labelled(300, 19, spread=3), labelled(200, 20, spread=3)
    with_others = np.vstack([x, x[:100] * 40 + 1000]), np.concatenate([y, np.full(100, -1)])
    alone, with_unlabelled = fit_classifier(x, y, heldout, truth, 6), fit_classifier(*with_others, heldout, truth, 6)
    np.testing.assert_allclose(with_unlabelled.weight, alone.weight, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(with_unlabelled.predict(heldout), alone.predict(heldout))
