"""Risk: the loss of a model that is known, on items that are known."""

import numpy as np
import pytest

from bench import metrics
from bench.config import MetricsConfig

CONFIG = MetricsConfig(num_images=30, scores=["risk"])


def items(mean: float, n: int, seed: int) -> np.ndarray:
    return mean + np.random.default_rng(seed).standard_normal((n, 2))


def model(points: np.ndarray) -> dict[str, np.ndarray]:
    """Squared distance to the origin, in total and by coordinate: that of a model of N(0, I)."""
    return {"total": (points**2).sum(1), "x": points[:, 0] ** 2, "y": points[:, 1] ** 2}


def rows(**given) -> list[dict]:
    return metrics.score(None, CONFIG, items=(items(9, 30, 0), items(0, 30, 1)), model=model, **given)


def test_risk_is_the_mean_loss_on_held_out_items_in_total_and_per_part():
    found = rows(training_items=items(0, 40, 2))
    assert [(row["metric"], row["parameters"]) for row in found] == [
        ("risk", {}), ("risk", {"part": "x"}), ("risk", {"part": "y"}),
    ]  # fmt: skip
    expected = model(items(0, 30, 1))
    assert [row["value"] for row in found] == pytest.approx([losses.mean() for losses in expected.values()])
    assert {(row["direction"], row["feature_space"], row["num_reference"]) for row in found} == {("down", "model", 30)}


def test_the_gap_is_that_of_unseen_items_over_those_trained_on_at_equal_numbers():
    trained_on, unseen = items(0, 50, 3) * 0.5, items(0, 50, 4)
    asked: list[int] = []

    def counted(points: np.ndarray) -> dict[str, np.ndarray]:
        asked.append(len(points))
        return model(points)

    pair = (items(9, 30, 0), items(0, 30, 1))
    found = metrics.score(
        None, CONFIG, items=pair, model=counted, training_items=trained_on, twin_items=(trained_on, unseen)
    )
    gaps = {row["parameters"].get("part", "total"): row for row in found if row["metric"] == "risk_gap"}
    assert asked == [30, 30, 30] and gaps.keys() == {"total", "x", "y"}
    assert gaps["total"]["value"] == pytest.approx(gaps["x"]["value"] + gaps["y"]["value"])
    assert gaps["total"]["value"] == pytest.approx(2 * (1 - 0.25), abs=1.0) and gaps["total"]["value"] > 0
    assert {(row["direction"], row["num_training"]) for row in gaps.values()} == {("down", 30)}


def test_without_a_model_or_training_set_there_is_no_risk():
    pair = (items(9, 30, 0), items(0, 30, 1))
    assert metrics.score(None, CONFIG, items=pair, training_items=pair[0]) == []
    assert metrics.score(None, CONFIG, items=pair, model=model) == []
