"""The margin between the two likeliest classes: 1 where classes are apart, falling as samples lie between them."""

import numpy as np
import pytest

from bench.config import MetricsConfig
from bench.metrics import score
from bench.metrics.shared.classifier import Attribute, Classifier, fit_attributes

CENTRES = np.array([[4.0, 0, 0, 0], [-4.0, 0, 0, 0], [0, 4.0, 0, 0]])


def items(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    return CENTRES[labels] + 0.7 * rng.standard_normal((n, 4)), labels


@pytest.fixture(scope="module")
def attribute() -> Attribute:
    (train, labels), (heldout, truth) = items(300, 0), items(300, 1)
    return fit_attributes(train, {"mode": labels}, heldout, {"mode": truth}, {"mode": list("abc")})["mode"]


def test_it_falls_as_two_modes_mix(attribute):
    """Interpolate between two modes: at one half no classifier can tell which one it is."""
    (x, labels), (y, other) = items(900, 2), items(900, 3)
    apart = labels != other
    means = [attribute.margin(((1 - t) * x + t * y)[apart]).mean() for t in np.linspace(0, 0.5, 6)]
    assert np.all(np.diff(means) < 0) and means[0] > 0.95 and means[-1] < 0.6


def test_a_real_item_is_judged_by_a_model_that_has_not_seen_it():
    """Check in as many dimensions as items, where labels are noise: whoever has seen an item is sure of it."""
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((120, 120)), rng.integers(0, 2, 120)
    fresh = rng.standard_normal((120, 120))
    fitted = fit_attributes(features, {"a": labels}, fresh, {"a": labels}, {"a": ["x", "y"]})["a"]
    seen = np.mean([model.margin(features).mean() for model in fitted.models])
    assert fitted.margin(features).mean() == pytest.approx(fitted.margin(fresh).mean(), abs=0.05)
    assert fitted.margin(features).mean() < seen - 0.05


def test_it_is_the_difference_of_the_two_largest_probabilities():
    logits = np.log([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.4, 0.2, 0.4]])
    model = Classifier(np.zeros(3), np.ones(3), np.eye(3), np.zeros(3))
    np.testing.assert_allclose(model.margin(logits), [0.2, 0.7, 0.0], atol=1e-12)


def test_samples_and_floor_have_a_row_for_every_attribute(attribute):
    (x, _), (y, _) = items(120, 4), items(120, 5)
    rows = score((x, y), MetricsConfig(num_images=120, scores=["tails"]), attributes={"mode": attribute})
    (row,) = [row for row in rows if row["metric"] == "class_margin"]
    assert row["value"] == attribute.margin(x).mean() and row["direction"] == "up"
    assert row["parameters"] == {"attribute": "mode"}
