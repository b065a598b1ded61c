import numpy as np
import pytest

from bench.config import MetricsConfig
from bench.errors import MetricError
from bench.metrics.scores import Known, fit_attributes, know, score, score_spec, shuffled

CONFIG = MetricsConfig(num_images=60, k=3)


def two_sets(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 6)).astype(np.float32) * 0.5, rng.standard_normal((n, 6)).astype(np.float32)


def test_rows_say_all_that_is_needed_to_read_them():
    rows = score(*two_sets(), CONFIG, subject="real_train")
    by_name = {row["metric"]: row for row in rows}
    assert {"fid", "precision", "recall", "density", "coverage"} <= by_name.keys()
    assert by_name["recall"] == {
        "metric": "recall",
        "feature_space": "efficientnet_lite0",
        "subject": "real_train",
        "reference": "heldout",
        "num_subject": 60,
        "num_reference": 60,
        "parameters": {"k": 3},
        "value": by_name["recall"]["value"],
        "direction": "up",
    }
    assert by_name["fid"]["direction"] == "down" and by_name["fid"]["parameters"] == {}
    assert all(type(row["value"]) is float for row in rows)


def test_subject_and_reference_are_not_swapped():
    """A shrunken subject lies inside the reference (precision) and does not span it (recall)."""
    values = {row["metric"]: row["value"] for row in score(*two_sets(), CONFIG)}
    assert values["precision"] > 0.9 > 0.7 > values["recall"]


def test_every_family_has_rows_and_extra_inputs_add_theirs():
    subject, reference = two_sets()
    plain = {row["metric"] for row in score(subject, reference, CONFIG)}
    assert {"fid", "kid", "recall", "vendi", "entropy", "near_duplicate_rate"} <= plain
    assert not plain & {"authenticity", "class_survival"}
    labels = {"kind": (reference[:, 0] > 0).astype(int), "unlabelled": np.full(60, -1)}
    names = {"kind": ["left", "right"], "unlabelled": ["any"]}
    attributes = fit_attributes(reference, labels, reference, labels, names)
    rows = score(subject, reference, CONFIG, training=reference[:30], attributes=attributes)
    by_name = {row["metric"]: row for row in rows}
    assert {"authenticity", "near_copy_rate", "class_survival", "classifier_accuracy"} <= by_name.keys()
    assert by_name["class_survival"]["parameters"] == {"attribute": "kind"}
    assert list(by_name["class_survival"]["counts"]) == ["left", "right"]
    assert by_name["authenticity"]["num_training"] == 30
    only = score(subject, reference, CONFIG, families=("kernel",), training=reference)
    assert [row["metric"] for row in only] == ["kid"] and only[0]["subset_sd"] > 0
    assert only[0]["parameters"] == {"num_subsets": 100, "subset_size": 30}


def test_resamples_give_a_standard_deviation():
    config = MetricsConfig(num_images=60, num_resamples=20, scores=["frechet", "manifold"])
    rows = score(*two_sets(), config)
    assert all(row["image_sd"] > 0 for row in rows if row["metric"] in ("fid", "recall", "coverage"))
    assert "image_sd" not in score(*two_sets(), CONFIG)[0]


def test_shuffled_sets_are_alike_and_do_not_depend_on_order():
    subject, reference = two_sets(400)
    a, b = shuffled(subject, reference)
    config = MetricsConfig(num_images=400, scores=["frechet"])
    apart = score(subject, reference, config)[0]["value"]
    mixed = score(a, b, config)[0]["value"]
    floor = score(subject[:200], subject[200:], config)[0]["value"]
    assert mixed < 0.2 * apart and mixed < 3 * floor
    np.testing.assert_array_equal(shuffled(subject[::-1], reference)[0], a)


def test_same_input_same_rows():
    assert score(*two_sets(), CONFIG) == score(*two_sets(), CONFIG)


def test_spec_tells_configs_apart():
    assert score_spec(CONFIG) != score_spec(MetricsConfig(num_images=60, k=5))


def test_bad_input_is_refused_before_work():
    subject, reference = two_sets()
    with pytest.raises(MetricError, match="subject 59, reference 60"):
        score(subject[:59], reference, CONFIG)
    with pytest.raises(MetricError, match="k = 3"):
        score(subject[:3], reference[:3], CONFIG)
    subject[7] = np.inf
    with pytest.raises(MetricError, match="first row 7"):
        score(subject, reference, CONFIG)


def test_what_is_known_of_the_reference_changes_nothing():
    subject, reference = two_sets()
    known = know(reference, CONFIG)
    read_back = Known.of(known.arrays(), len(reference))
    training = reference[:30] + 0.1
    assert score(subject, reference, CONFIG, training=training, known=read_back) == score(
        subject, reference, CONFIG, training=training
    )
    with pytest.raises(MetricError, match="constant"):
        know(np.ones((20, 4), np.float32), CONFIG)
