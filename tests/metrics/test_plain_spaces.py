"""The spaces without a network: points as they are, pixels as they are."""

import numpy as np
import pytest
import torch

from bench import metrics
from bench.config import MetricsConfig
from bench.errors import DataError
from bench.features.shared.extraction import extract, feature_space_spec, load_feature_space, prefetch
from bench.machine.device import Runtime

RUNTIME = Runtime(torch.device("cpu"), None, compile=False)


@pytest.mark.parametrize("width", [1, 5])
def test_points_are_their_own_features_of_any_dimension(width):
    points = np.random.default_rng(0).normal(size=(130, width))
    space = load_feature_space("identity", RUNTIME)
    np.testing.assert_array_equal(extract(space, points), points.astype(np.float32))
    rows = np.array([129, 3, 3])
    np.testing.assert_array_equal(extract(space, points, rows=rows), points[rows].astype(np.float32))


def test_fid_of_points_is_the_distance_between_gaussian_fits():
    rng = np.random.default_rng(1)
    a, b = rng.normal(2.0, 3.0, (400, 1)), rng.normal(-1.0, 0.5, (400, 1))
    space = load_feature_space("identity", RUNTIME)
    config = MetricsConfig(feature_space="identity", num_images=400, scores=["frechet"])
    rows = metrics.score((extract(space, a), extract(space, b)), config)
    fid = next(row["value"] for row in rows if row["metric"] == "fid")
    assert fid == pytest.approx((a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2, rel=1e-5)


@pytest.mark.parametrize("side", [8, 16])
def test_pixels_are_flattened_and_divided_by_255(side):
    images = np.random.default_rng(0).integers(0, 256, (70, 3, side, side), np.uint8)
    features = extract(load_feature_space("pixels", RUNTIME), images)
    assert features.shape == (70, 3 * side * side)
    np.testing.assert_allclose(features, images.reshape(70, -1) / 255, rtol=1e-6)


def test_they_need_no_weights_and_name_what_they_describe():
    for name in ("identity", "pixels"):
        assert prefetch(name) is None
        assert feature_space_spec(name)["version"] == 1
    points, images = np.zeros((4, 2)), np.zeros((4, 3, 8, 8), np.uint8)
    for name, items, described in (("identity", images, "points"), ("pixels", points, "images")):
        with pytest.raises(DataError, match=f"feature space {name} describes {described}"):
            extract(load_feature_space(name, RUNTIME), items)
