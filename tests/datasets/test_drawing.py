"""Shapes are signed distances, tested at known points on, inside and outside each; painted areas match the shapes'
areas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.datasets.shared.drawings.canvas import Canvas, disc, ellipse, fold, lens, line, mix, rgb, triangle, turn


def at(shape, *points, **how):
    """Return the distances of single points."""
    x, y = np.asarray(points, float).T
    return shape(x, y, **how)


def test_the_picture_is_seen_as_coordinates_say():
    canvas = Canvas(4, factor=2)
    assert canvas.x.shape == (8, 8) and canvas.rgb.shape == (3, 8, 8)
    assert np.allclose(canvas.x[0], np.arange(-7, 8, 2) / 8) and np.allclose(canvas.y[:, 0], np.arange(7, -8, -2) / 8)
    canvas.paint(np.maximum(-canvas.x, -canvas.y), (1.0, 0.5, 0.25))  # right of the middle and above it
    image = canvas.image()
    assert image.dtype == np.uint8 and image.shape == (3, 4, 4)
    assert image[:, 0, 3].tolist() == [255, 128, 64]
    assert np.all(image[:, :2, 2:] == image[:, 0, 3][:, None, None])
    assert image[:, 2:].max() == 0 and image[:, :, :2].max() == 0


def test_paint_covers_the_area_of_a_shape_and_lets_through_what_is_below():
    canvas = Canvas(64, factor=2)
    canvas.rgb[:] = 0.2
    canvas.paint(disc(canvas.x, canvas.y, 0.5), (1.0, 1.0, 1.0), opacity=0.25)
    inside = np.hypot(canvas.x, canvas.y) < 0.45
    assert np.allclose(canvas.rgb[:, inside], 0.2 + 0.25 * 0.8)
    assert np.allclose(canvas.rgb[:, np.hypot(canvas.x, canvas.y) > 0.55], 0.2)
    assert ((canvas.rgb[0] - 0.2) / 0.2).mean() * 4 == pytest.approx(np.pi * 0.25, rel=2e-3)
    edge = (canvas.rgb[0] > 0.2) & (canvas.rgb[0] < 0.4)
    assert 0.5 < edge.sum() / (2 * np.pi * 0.5 / (2 / 128)) < 2, "an edge of about one fine pixel"


def test_a_pixel_is_the_mean_of_its_fine_pixels():
    canvas = Canvas(8, factor=4)
    canvas.rgb[:] = np.random.default_rng(0).random(canvas.rgb.shape)
    mean = canvas.rgb[1, 8:12, 20:24].mean()
    assert canvas.image()[1, 2, 5] == round(mean * 255)
    canvas.rgb[0], canvas.rgb[1] = 1.3, -0.2
    assert canvas.image()[0].min() == 255 and canvas.image()[1].max() == 0, "clipped, not wrapped around"


def test_a_turned_frame():
    for degrees, expected in ((0, (0, 1)), (90, (1, 0)), (180, (0, -1)), (45, (2**-0.5, 2**-0.5))):
        assert np.allclose(turn(np.asarray(2.0), np.asarray(4.0), (2.0, 3.0), degrees), expected), degrees


def test_a_disc_and_an_ellipse():
    assert np.allclose(at(disc, (0, 0), (3, 4), (1, 0), radius=2), [-2, 3, -1])
    where = at(ellipse, (3, 0), (-3, 0), (0, 1), (0, -1), half_x=3, half_y=1)
    assert np.allclose(where, 0)
    inside, outside = at(ellipse, (2.5, 0), (2.5, 0.9), half_x=3, half_y=1)
    assert inside < 0 < outside
    assert np.allclose(at(ellipse, (0, 1.1), (0, 0.9), half_x=3, half_y=1), [0.1, -0.1]), "a distance across the edge"


def test_a_lens_has_its_points_and_its_waist_where_it_says():
    assert np.allclose(at(lens, (2, 0), (-2, 0), (0, 0.5), (0, -0.5), half_x=2, half_y=0.5), 0)
    assert np.allclose(at(lens, (0, 0), (0, 0.7), half_x=2, half_y=0.5), [-0.5, 0.2])
    assert at(lens, (2.1, 0), (1.5, 0.4), half_x=2, half_y=0.5).min() > 0


def test_a_stroke_tapers_and_has_round_ends():
    how = {"start": (1.0, 1.0), "end": (5.0, 1.0), "width": 0.4, "taper": 0.5}
    points = ((1, 1.4), (5, 1.2), (3, 1.3), (3, 0.7), (0.6, 1), (5.2, 1))
    assert np.allclose(at(line, *points, **how), 0)
    assert np.allclose(at(line, (1, 1), (5, 1), (-2, -3), **how), [-0.4, -0.2, 5 - 0.4])


@given(turned=st.booleans(), first=st.integers(0, 2))
def test_a_triangle_in_either_direction(turned, first):
    corners = [(0.0, 0.0), (4.0, 0.0), (0.0, 3.0)]
    corners = corners[first:] + corners[:first]
    a, b, c = corners[::-1] if turned else corners
    distances = at(triangle, (1, 1), (1, -2), (-0.5, 1), (4, 3), (2, 1.5), a=a, b=b, c=c)
    assert np.allclose(distances, [-1, 2, 0.5, 12 / 5, 0])


@given(count=st.integers(2, 15), petal=st.integers(0, 14), phase=st.floats(-90, 90), off=st.floats(-0.49, 0.49))
def test_folded_petals_are_alike(count, petal, phase, off):
    angle = np.radians(phase) + 2 * np.pi * (petal + off) / count
    along, across = fold(np.asarray(2 * np.cos(angle)), np.asarray(2 * np.sin(angle)), count, phase)
    within = 2 * np.pi * off / count
    assert np.allclose([along, across], [2 * np.cos(within), 2 * abs(np.sin(within))], atol=1e-6)


def test_colours():
    assert rgb("#ff8000") == (1.0, 128 / 255, 0.0)
    half = mix((0.0, 0.2, 1.0), (1.0, 0.4, 0.0), 0.25)
    assert half.shape == (3, 1, 1) and np.allclose(half.ravel(), [0.25, 0.25, 0.75])
    gradient = mix((0.0, 0.0, 0.0), (1.0, 1.0, 0.5), np.asarray([[-1.0, 0.5], [1.0, 9.0]]))
    assert np.allclose(gradient[0], [[0, 0.5], [1, 1]]) and np.allclose(gradient[2], [[0, 0.25], [0.5, 0.5]])
