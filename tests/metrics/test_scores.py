import numpy as np
import pytest

from bench.config import MetricsConfig
from bench.errors import MetricError
from bench.metrics.scores import score, score_spec

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
