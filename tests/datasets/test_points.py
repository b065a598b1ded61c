"""Drawn points: where they must lie, and the same by index whatever else is drawn."""

import numpy as np
import pytest
from configs import checked
from scipy.stats import multivariate_normal

from bench.datasets import load_real, points, true_risk
from bench.datasets.points import Config
from bench.errors import ConfigError
from bench.kinds import POINTS


def test_a_gaussian_has_its_mean_and_its_deviation_in_every_coordinate():
    values, component = points.draw(Config(dimension=3, mean=5.0, sd=2.0), 200_000)
    assert values.shape == (200_000, 3) and values.dtype == np.float64 and not component.any()
    np.testing.assert_allclose(values.mean(axis=0), 5, atol=4 * 2 / 200_000**0.5)
    np.testing.assert_allclose(np.cov(values.T), 4 * np.eye(3), atol=0.06)  # four standard errors
    scaled = (values - 5) / 2
    np.testing.assert_allclose((scaled**4).mean(axis=0), 3, atol=4 * (96 / 200_000) ** 0.5)


def test_two_gaussians_are_two_halves_a_separation_apart():
    values, component = points.draw(Config(shape="two_gaussians", mean=1.0, sd=0.5, separation=6.0), 50_000)
    assert abs(component.mean() - 0.5) < 4 * 0.5 / 50_000**0.5
    for which, center in ((0, [-2.0, 1.0]), (1, [4.0, 1.0])):
        own = values[component == which]
        np.testing.assert_allclose(own.mean(axis=0), center, atol=0.02)
        np.testing.assert_allclose(np.cov(own.T), 0.25 * np.eye(2), atol=0.01)


@pytest.mark.parametrize("shape", ["gaussian", "two_gaussians"])
def test_a_point_is_a_function_of_seed_and_index(shape):
    config = Config(shape=shape, split_seed=4)
    many, few = points.draw(config, 500)[0], points.draw(config, 20)[0]
    np.testing.assert_array_equal(many[:20], few)
    assert len(np.unique(many)) == many.size
    assert not np.isin(points.draw(Config(shape=shape, split_seed=5), 500)[0], many).any()


def test_values_are_pinned():
    """A change that moves a point must raise `VERSION`, then these numbers."""
    assert points.VERSION == 1
    np.testing.assert_allclose(points.draw(Config(), 2)[0], PINNED, rtol=1e-12)


PINNED = [[0.021981308216736363, -1.9114414646001783], [-0.059097477189670185, 0.27805599423847194]]


def test_the_parts_are_disjoint_and_the_held_out_points_stay_when_there_are_more():
    small = load_real(Config(shape="two_gaussians", num_train=30, num_heldout=20, num_reserve=10))
    large = load_real(Config(shape="two_gaussians", num_train=90, num_heldout=20))
    assert (len(small.train), len(small.heldout), len(small.reserve)) == (30, 20, 10) and large.reserve is None
    np.testing.assert_array_equal(small.heldout.items, large.heldout.items)
    parts = [pool.items for pool in (small.train, small.heldout, small.reserve)]
    assert len(np.unique(np.concatenate(parts), axis=0)) == 60
    assert small.train.kind is POINTS and small.train.label_names == {"component": ["left", "right"]}
    np.testing.assert_array_equal(small.train.records.labels["component"], small.train.items[:, 0] > 0)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"num_train": None}, "num_train"),
        ({"sd": 0.0}, "sd"),
        ({"dimension": 0}, "dimension"),
        ({"shape": "x"}, "shape"),
    ],
)
def test_what_cannot_be_drawn_is_named(changes, key):
    with pytest.raises(ConfigError, match=f"^data.{key}="):
        checked(Config(**changes), "data")


@pytest.mark.parametrize("dimension", [1, 3])
@pytest.mark.parametrize(("shape", "shifts"), [("gaussian", [0.0]), ("two_gaussians", [-2.0, 2.0])])
def test_the_true_risk_is_minus_the_log_density_of_the_mixture(shape, shifts, dimension):
    config = Config(shape=shape, dimension=dimension, mean=1.0, sd=0.5, separation=4.0)
    values = points.draw(config, 400)[0]
    centres = [np.full(dimension, 1.0) + shift * np.eye(dimension)[0] for shift in shifts]
    density = np.mean([multivariate_normal(c, 0.25 * np.eye(dimension)).pdf(values) for c in centres], axis=0)
    np.testing.assert_allclose(true_risk(config, values), -np.log(density), rtol=1e-9)
    far = np.full((2, dimension), 1e3)
    assert np.isfinite(true_risk(config, far)).all()  # where the density itself is 0 in float64
