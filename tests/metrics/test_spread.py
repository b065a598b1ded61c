"""The spread of features: known deviations, and what scaling and shifting change."""

import numpy as np
import pytest

from bench import metrics
from bench.config import MetricsConfig

CONFIG = MetricsConfig(num_images=4000, scores=["spread"])


def spread(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in metrics.score((x, y), CONFIG)}


def test_it_is_the_standard_deviation_over_items_averaged_over_features():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4000, 3)) * [1, 2, 6] + 50, rng.standard_normal((4000, 3)) * [2, 4, 12]
    found = spread(x, y)
    assert found["spread"] == pytest.approx(3, rel=0.03) and found["spread_ratio"] == pytest.approx(0.5, rel=0.04)
    shrunk = spread(0.5 * x + 7, y)
    assert shrunk["spread"] == pytest.approx(found["spread"] / 2)
    assert spread(x[::-1], y) == found


def test_samples_that_are_all_one_have_none_and_a_constant_reference_gives_no_ratio():
    point, cloud = np.ones((50, 2)), np.random.default_rng(0).standard_normal((50, 2))
    config = MetricsConfig(num_images=50, scores=["spread"])
    values = [[row["value"] for row in metrics.score(pair, config)] for pair in ((point, cloud), (cloud, point))]
    assert values[0] == [0, 0] and len(values[1]) == 1


def test_the_floor_has_an_interval_over_resplits():
    x = np.random.default_rng(0).standard_normal((200, 4))
    rows = metrics.score((x[:100], x[100:]), MetricsConfig(num_images=100, scores=["spread"]))
    rows = metrics.with_resplits(rows, x, MetricsConfig(num_images=100, scores=["spread"]))
    for row in rows:
        assert row["resplit_low"] < row["resplit_high"] and row["direction"] == "none"
