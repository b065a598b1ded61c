"""Classifiers of samples, and the survival of classes: counts corrected for mistakes, or a reason why not."""

import numpy as np
import pytest

from bench.errors import MetricError
from bench.metrics import tails
from bench.metrics.shared.class_survival import ERROR_RATE, Correction, tail_scores
from bench.metrics.shared.classifier import NUM_FOLDS, PENALTY, Attribute, fit_attributes, fit_classifier
from bench.metrics.shared.inputs import Inputs

SHARES = np.array([0.5, 0.25, 0.12, 0.08, 0.03, 0.02])


def labelled(n: int, seed: int, shares: np.ndarray = SHARES, spread: float = 0.3):
    """Return six clusters in 12 dimensions, the later ones rarer."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), n, p=shares / shares.sum())
    centres = np.random.default_rng(99).standard_normal((6, 12)) * 2
    return centres[labels] + rng.standard_normal((n, 12)) * spread, labels


def fitted(train, train_labels, heldout, heldout_labels, num_classes: int = 6) -> Attribute:
    names = {"a": [f"class {i}" for i in range(num_classes)]}
    return fit_attributes(train, {"a": train_labels}, heldout, {"a": heldout_labels}, names)["a"]


@pytest.fixture(scope="module")
def attribute() -> Attribute:
    return fitted(*labelled(1000, 0), *labelled(2000, 1))


# -------------------------------------------------------------------------------------------------------- classifiers


def test_accuracy_is_that_of_held_out_images(attribute):
    features, labels = labelled(2000, 2)
    assert attribute.accuracy > 0.98
    assert (attribute.predict(features) == labels).mean() == pytest.approx(attribute.accuracy, abs=0.02)
    assert fitted(*labelled(1000, 0, spread=5), *labelled(800, 1, spread=5)).accuracy < 0.8


def test_training_images_are_never_classified_by_a_model_that_has_seen_them():
    """Check labels that are noise in many dimensions: who has seen them knows them, who has not guesses."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((240, 400)), rng.integers(0, 2, 240)
    attribute = fitted(x, y, rng.standard_normal((50, 400)), rng.integers(0, 2, 50), 2)
    assert (attribute.predict(x[:90]) == y[:90]).mean() < 0.65
    assert all((model.predict(x) == y).mean() > 0.75 for model in attribute.models)
    assert (np.roll(attribute.predict(np.roll(x, 1, axis=0)), -1) == y).mean() > 0.95  # out of step: all have seen them


def test_unlabelled_images_are_left_out():
    """Check unlabelled images far away, which would move the mean and the scale of the features."""
    (x, y), (heldout, truth) = labelled(300, 19, spread=3), labelled(200, 20, spread=3)
    with_others = np.vstack([x, x[:100] * 40 + 1000]), np.concatenate([y, np.full(100, -1)])
    alone, with_unlabelled = fit_classifier(x, y, 6), fit_classifier(*with_others, 6)
    np.testing.assert_allclose(with_unlabelled.weight, alone.weight, rtol=1e-6, atol=1e-9)
    hidden = np.where(np.arange(200) % 3 == 0, -1, truth)
    assert fitted(x, y, heldout, hidden).confusion.sum(1) == pytest.approx(np.bincount(hidden[hidden >= 0]))


def test_too_few_labels_are_refused():
    features, labels = labelled(100, 7)
    with pytest.raises(MetricError, match="100 items of 1 classes are labelled"):
        fit_classifier(features, np.zeros(100, int), 6)
    lonely = np.where(np.arange(100) == NUM_FOLDS, 1, 0)  # one model does not see the only item of its class
    assert not fit_attributes(features, {"a": lonely}, features, {"a": labels}, {"a": ["x", "y"]})


def test_the_classifier_is_that_of_scikit_learn():
    """Compare the same convex problem: mean cross-entropy and PENALTY |W|² / 2, on standardised features."""
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    x, y = labelled(300, 11, spread=3)
    ours = fit_classifier(x * 7 + 3, y, num_classes=6)
    np.testing.assert_allclose((ours.mean, ours.scale), (x.mean(0) * 7 + 3, x.std(0) * 7))
    standard = (x - x.mean(0)) / x.std(0)
    theirs = linear_model.LogisticRegression(C=1 / (PENALTY * 300), tol=1e-8, max_iter=10**4).fit(standard, y)
    np.testing.assert_allclose(ours.weight - ours.weight.mean(1, keepdims=True), theirs.coef_.T, atol=0.05)
    others, _ = labelled(500, 13, spread=3)
    agreed = ours.predict(others * 7 + 3) == theirs.predict((others - x.mean(0)) / x.std(0))
    assert agreed.mean() > 0.99
    few = fit_classifier(x, y, num_classes=6)  # of other units: the same answers
    np.testing.assert_array_equal(few.predict(others), ours.predict(others * 7 + 3))


def test_a_feature_that_never_changes_is_no_obstacle():
    (x, y), (heldout, truth) = labelled(200, 16), labelled(100, 17)
    dead = [np.hstack([z, np.full((len(z), 1), 4.0)]) for z in (x, heldout)]
    assert fitted(dead[0], y, dead[1], truth).accuracy > 0.9


def test_nothing_is_classified_that_is_not_finite(attribute):
    features, _ = labelled(20, 18)
    features[3, 1] = np.nan
    with pytest.raises(MetricError, match="classified features: 1 of 20 rows have NaN or infinity, first row 3"):
        attribute.predict(features)


# ----------------------------------------------------------------------------------------------------------- survival


def test_real_images_keep_every_class(attribute):
    features, labels = labelled(2000, 3)
    result = tail_scores(attribute.predict(features), attribute)
    assert (result.survival, result.tail_survival, result.head_survival) == (1, 1, 1)
    assert result.divergence < 0.06 and not len(result.untold)
    assert result.expected.sum() == pytest.approx(2000)
    np.testing.assert_allclose(result.counts, np.bincount(labels), atol=20)
    assert (result.low < np.bincount(labels)).all() and (np.bincount(labels) < result.high).all()
    assert set(result.tail) == {3, 4, 5} and set(result.head) == {0, 1, 2}


def test_lost_tails_are_seen_as_tails(attribute):
    features, _ = labelled(2000, 4, SHARES * [1, 1, 1, 0, 0, 0])
    result = tail_scores(attribute.predict(features), attribute)
    assert (result.tail_survival, result.head_survival, result.survival) == (0, 1, 0.5)
    assert result.divergence == pytest.approx(0.13, abs=0.04)


NONE = np.empty((0, 0), np.int64)


def confused(shares: np.ndarray, accuracy: float, n: int, num_heldout: int, seed: int, living: np.ndarray):
    """Return the predicted classes of n samples, and the confusion of held-out items, of a classifier that is right
    with probability `accuracy` and else says any class. living: which classes the samples have."""
    rng = np.random.default_rng(seed)
    k, shares = len(shares), shares / shares.sum()
    says = rng.dirichlet(np.ones(k), k) * (1 - accuracy) + np.eye(k) * accuracy
    of_class = rng.multinomial(num_heldout, shares)
    confusion = np.array([rng.multinomial(m, p) for m, p in zip(of_class, says, strict=True)], float)
    mixed = shares * living / (shares * living).sum()
    predictions = np.repeat(np.arange(k), rng.multinomial(n, mixed @ says))
    return predictions, Attribute([f"class {i}" for i in range(k)], (), confusion, of_class, NONE)


RARE_LAST = 1 / np.arange(1, 9)
ALL, WITHOUT_LAST = np.ones(8), np.array([1.0] * 7 + [0])


def test_a_dead_class_is_found_where_counts_of_predictions_say_that_it_lives():
    """Check accuracy .7 and 2500 samples, the rarest of eight classes dead: plain counts say "alive" always."""
    alive, refused, plain = [], 0, []
    for seed in range(100):
        predictions, attribute = confused(RARE_LAST, 0.7, 2500, 2500, seed, WITHOUT_LAST)
        result = tail_scores(predictions, attribute)
        refused += result.survival is None
        if result.survival is not None:
            alive.append(result.survival == 1)
        share = attribute.confusion.sum(0)[7] / attribute.confusion.sum()
        plain.append((predictions == 7).sum() >= max(0.1 * share * 2500, 1))
    assert np.mean(plain) > 0.98
    assert refused < 50 and np.mean(alive) < ERROR_RATE + 3 * np.sqrt(ERROR_RATE / len(alive))


@pytest.mark.parametrize(("accuracy", "n"), [(0.7, 2500), (0.9, 1024), (0.98, 1024)])
def test_where_all_classes_live_none_is_reported_dead(accuracy, n):
    results = [tail_scores(*confused(RARE_LAST, accuracy, n, n, seed, ALL)).survival for seed in range(100)]
    given = [value for value in results if value is not None]
    assert len(given) > 50 and np.mean(np.array(given) < 1) <= ERROR_RATE + 3 * np.sqrt(ERROR_RATE / len(given))


def test_survival_is_refused_where_a_dead_class_could_not_be_told():
    predictions, attribute = confused(RARE_LAST, 0.55, 1024, 1024, 0, ALL)
    result = tail_scores(predictions, attribute)
    assert result.survival is None and result.tail_survival is None and 7 in result.untold
    rows = list(tails.score(Inputs(attributes={"species": Fake(attribute, predictions)}), None))
    assert [row.metric for row in rows if row.metric.endswith("survival")] == ["head_survival"]
    divergence = next(row for row in rows if row.metric == "class_divergence")
    reason = divergence.extra["refused"]["class_survival"]
    assert reason.startswith("with 1024 samples and a classifier of accuracy 0.") and "class 7" in reason
    assert [len(columns) for columns in divergence.extra["counts"].values()] == [4] * 8


class Fake(Attribute):
    """An attribute that predicts what it is told."""

    def __init__(self, attribute: Attribute, predictions: np.ndarray) -> None:
        super().__init__(attribute.class_names, (), attribute.confusion, attribute.train_counts, NONE)
        object.__setattr__(self, "told", predictions)

    def predict(self, features):
        return self.told


@pytest.fixture(autouse=True)
def no_features(monkeypatch):
    monkeypatch.setattr(Inputs, "subject", property(lambda self: np.zeros((1024, 1))))


def test_classes_that_look_alike_are_not_told_apart():
    confusion = np.array([[50.0, 50, 0], [50, 50, 0], [0, 0, 100]])
    result = tail_scores(
        np.repeat([0, 1, 2], 100), Attribute(["a", "b", "c"], (), confusion, np.array([9, 9, 9]), NONE)
    )
    assert list(result.untold) == [0, 1] and result.survival is None


def test_the_correction_is_exact_for_known_mistakes():
    """Check with three classes by hand: q = Cᵀp is undone."""
    says = np.array([[0.8, 0.2, 0.0], [0.1, 0.6, 0.3], [0.0, 0.25, 0.75]])
    p = np.array([0.5, 0.0, 0.5])
    correction = Correction.of(says * np.array([1000, 2000, 4000])[:, None])
    np.testing.assert_allclose(correction.weight @ (says.T @ p), p, atol=1e-12)
    predictions = np.repeat([0, 1, 2], np.rint(8000 * says.T @ p).astype(int))
    result = tail_scores(
        predictions, Attribute(["a", "b", "c"], (), correction.confusion * 3e3, np.array([3, 2, 1]), NONE)
    )
    np.testing.assert_allclose(result.counts, [4000, 0, 4000], atol=1e-6)
    assert result.survival == pytest.approx(2 / 3) and result.divergence == pytest.approx(1 / 3)


def test_the_standard_error_is_that_of_repetitions():
    estimates, errors = [], []
    for seed in range(400):
        says = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.15, 0.25, 0.6]])
        rng = np.random.default_rng(seed)
        counts = np.array([rng.multinomial(m, row) for m, row in zip((500, 300, 200), says, strict=True)], float)
        correction, p = Correction.of(counts), np.array([0.5, 0.3, 0.2])
        estimates.append(correction.weight @ (rng.multinomial(800, says.T @ p) / 800))
        errors.append(correction.standard_error(p, 800))
    assert np.mean(estimates, axis=0) == pytest.approx([0.5, 0.3, 0.2], abs=0.01)
    assert np.std(estimates, axis=0) == pytest.approx(np.mean(errors, axis=0), rel=0.15)


def certain(train_counts: list[int], heldout_counts: list[int]) -> Attribute:
    """Return classifiers that are always right."""
    names = [f"class {i}" for i in range(len(train_counts))]
    return Attribute(names, (), np.diag(heldout_counts).astype(float), np.array(train_counts), NONE)


def test_tails_of_counts_that_are_known():
    """Check 2000 samples: rarity goes by the training images, what is expected by the held-out ones. The last class has
    no held-out items and is left out."""
    attribute = certain([50, 10, 30, 5, 5], [400, 400, 100, 100, 0])
    result = tail_scores(np.repeat(np.arange(5), [1490, 90, 10, 30, 380]), attribute)
    np.testing.assert_allclose(result.expected, [800, 800, 200, 200, 0])
    np.testing.assert_allclose(result.counts, [1490, 90, 10, 30, 0], atol=1e-9)
    assert (set(result.tail), set(result.head)) == ({3, 1}, {2, 0})
    assert (result.survival, result.tail_survival, result.head_survival) == (0.75, 1.0, 0.5)


def test_of_an_odd_number_of_classes_the_middle_one_is_no_tail():
    result = tail_scores(np.repeat([0, 1, 2], 300), certain([9, 5, 1], [500, 300, 200]))
    assert (list(result.tail), list(result.head)) == ([2], [1, 0])
    alone = tail_scores(np.ones(100, int), certain([9, 5], [0, 400]))
    assert (alone.survival, alone.tail_survival, alone.head_survival, alone.divergence) == (1, 1, 1, 0)


def test_shares_of_classes_that_nobody_can_tell_apart_from_real_ones_diverge_by_nothing():
    attribute = certain([5, 5, 5], [10, 20, 30])
    assert tail_scores(np.repeat([0, 1, 2], [1, 2, 3]), attribute).divergence == pytest.approx(0)
    assert tail_scores(np.repeat([0, 1, 2], [600, 0, 0]), attribute).divergence == pytest.approx(5 / 6)


def test_other_names_for_the_classes_change_nothing_but_the_names():
    new_name = np.array([4, 2, 5, 0, 1, 3])
    (x, y), (a, b) = labelled(500, 8), labelled(1500, 9)
    samples, _ = labelled(1500, 10, SHARES * [1, 0, 1, 1, 0.2, 1])
    before, after = fitted(x, y, a, b), fitted(x, new_name[y], a, new_name[b])
    assert after.accuracy == pytest.approx(before.accuracy)
    np.testing.assert_array_equal(after.predict(samples), new_name[before.predict(samples)])
    old, new = (tail_scores(one.predict(samples), one) for one in (before, after))
    for name in ("survival", "tail_survival", "head_survival"):
        assert getattr(new, name) == getattr(old, name), name
    assert new.divergence == pytest.approx(old.divergence)
    np.testing.assert_allclose(new.counts[new_name], old.counts, atol=1e-6)
    np.testing.assert_allclose(new.expected[new_name], old.expected)
    assert set(new.tail) == set(new_name[old.tail])
