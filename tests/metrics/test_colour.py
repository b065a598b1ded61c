"""The spread of mean colours: known deviations, which no detail within an image changes."""

import numpy as np
import pytest
from shrunk import TINY, composed

from bench import metrics, preflight
from bench.config import MetricsConfig
from bench.errors import ConfigError

N = 400


def pictures(sd: tuple[float, float, float], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    colours = 128 + rng.standard_normal((N, 3, 1, 1)) * np.reshape(sd, (3, 1, 1))
    return (colours + rng.integers(-20, 21, (N, 3, 8, 8))).round().clip(0, 255).astype(np.uint8)


def spread(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    config = MetricsConfig(num_images=N, scores=["colour"])
    return {row["metric"]: row["value"] for row in metrics.score(None, config, items=(x, y))}


def test_it_is_the_deviation_of_the_means_of_the_channels():
    real, half = pictures((10, 20, 30), 0), pictures((5, 10, 15), 1)
    found = spread(half, real)
    assert found["mean_colour_spread"] == pytest.approx(10, rel=0.1)
    assert found["mean_colour_spread_ratio"] == pytest.approx(0.5, rel=0.1)
    assert spread(half[::-1], real) == found
    detail = half[:, :, ::-1, ::-1].copy()  # other pictures of the same mean colours
    assert spread(detail, real) == pytest.approx(found)


def test_one_colour_has_no_spread_and_as_a_reference_no_ratio():
    grey, real = np.full((N, 3, 8, 8), 99, np.uint8), pictures((9, 9, 9), 0)
    assert spread(grey, real) == {"mean_colour_spread": 0, "mean_colour_spread_ratio": 0}
    assert list(spread(real, grey)) == ["mean_colour_spread"]


def test_texts_and_points_have_no_colour():
    with pytest.raises(ConfigError, match="scores images, but the data are tokens"):
        metrics.check_kind(MetricsConfig(scores=["colour"]), "tokens")
    preflight.check(composed(*TINY, "metrics.scores=[colour]"))
