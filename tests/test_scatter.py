"""Points as a picture: dots where they are, on axes that do not move, over the density that they should have."""

import numpy as np
import pytest
from PIL import ImageColor

from bench import scatter
from bench.scatter import plane, words

REAL = np.random.default_rng(0).normal(size=(200, 2))


def colours(picture) -> np.ndarray:
    return np.asarray(picture)


def is_dot(picture) -> np.ndarray:
    """Which pixels are black, bool (H, W), without the frame."""
    return (colours(picture) < 60).all(axis=2)[1:-1, 1:-1]


def is_red(picture) -> np.ndarray:
    pixels = colours(picture).astype(int)
    return (pixels[..., 0] - pixels[..., 1] > 100)[1:-1, 1:-1]


def test_points_are_drawn_where_they_are():
    square = plane(np.array([[0.0, 0.0], [1.0, 1.0]]))
    picture = is_dot(scatter.scatter(np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), square))
    corners = [picture[:64, :64].any(), picture[:64, -64:].any(), picture[-64:, :64].any(), picture[-64:, -64:].any()]
    assert corners == [True, True, True, False]  # the second coordinate grows upwards


def test_axes_do_not_depend_on_the_points_so_that_shrinking_is_seen():
    axes = plane(REAL)
    widths = [np.ptp(np.nonzero(is_dot(scatter.scatter(scale * REAL, axes)).any(axis=0))[0]) for scale in (1.0, 0.1)]
    assert widths[1] < 0.2 * widths[0]


def test_points_outside_the_axes_lie_at_their_edge_in_red():
    axes = plane(REAL)
    assert not is_red(scatter.scatter(REAL, axes)).any()
    picture = scatter.scatter(REAL + np.array([100, 0]), axes)
    assert not is_dot(picture).any()
    rows, columns = np.nonzero(is_red(picture))
    assert columns.min() > 240 and np.ptp(rows) > 50


def test_both_axes_have_one_scale_unless_that_would_hide_one():
    equal, unequal = plane(REAL * [1, 3]), plane(REAL * [1, 100])
    assert np.ptp([equal.high - equal.low]) == pytest.approx(0)
    ends = unequal.high - unequal.low
    assert ends[1] > 50 * ends[0]
    assert (unequal.low < (REAL * [1, 100]).min(axis=0)).all()


def test_shades_hold_the_parts_of_the_distribution_that_they_say():
    """Of two independent standard normals a part m lies within √(−2 log(1 − m)): 1.18, 2.15 and 3.03."""
    axes = scatter.plane(np.array([[-3.0, -3.0], [3.0, 3.0]]), lambda items: (items**2).sum(axis=1) / 2 + 700)
    pixels = colours(scatter.scatter(np.zeros((0, 2)), axes))
    scale = scatter.SIDE / (axes.high[0] - axes.low[0])
    ends = ((0.5, 0.5), (1.07, 0.5), (1.29, 0.9), (2.04, 0.9), (2.26, 0.99), (2.92, 0.99), (3.15, None), (3.6, None))
    for radius, part in ends:
        at = int(scatter.SIDE / 2 + radius * scale)
        expected = scatter.GROUND if part is None else scatter.SHADES[part]
        for pixel in (pixels[128, at], pixels[at, 128], pixels[128, 256 - at]):
            assert tuple(pixel) == ImageColor.getrgb(expected), radius


def test_a_density_is_not_mirrored():
    axes = plane(np.array([[0.0, 0.0], [1.0, 1.0]]), lambda items: 50 * ((items - [0.9, 0.2]) ** 2).sum(axis=1))
    shaded = (colours(scatter.scatter(np.zeros((0, 2)), axes)) < 250).any(axis=2)[1:-1, 1:-1]
    rows, columns = np.nonzero(shaded)
    assert rows.mean() > 150 and columns.mean() > 150  # below the middle, and right of it


def test_further_coordinates_are_at_the_mean_of_the_real_points():
    real = np.random.default_rng(1).normal(size=(50, 4)) + np.array([0, 0, 5, -3])
    asked = []
    plane(real, lambda items: asked.append(items) or np.zeros(len(items)))
    np.testing.assert_allclose(asked[0][:, 2:], np.tile(real.mean(axis=0)[2:], (len(asked[0]), 1)))


def test_a_density_that_is_nowhere_known_is_not_drawn():
    assert plane(REAL, lambda items: np.full(len(items), np.inf)).density is None
    half = plane(REAL, lambda items: np.where(items[:, 0] < 0, np.inf, 0.0)).density
    assert (half[:60] == 0).all() and (half[-60:] == 1).all()


def test_without_a_density_the_real_points_lie_below():
    pixels = colours(scatter.scatter(REAL[:1], plane(REAL)))
    assert ((pixels == [0xC4, 0xC8, 0xCC]).all(axis=2)).sum() > 100


def test_one_coordinate_is_a_histogram_below_the_true_density():
    real = REAL[:, :1]
    axes = plane(real, lambda items: items[:, 0] ** 2 / 2)
    bars = colours(scatter.scatter(np.random.default_rng(2).normal(size=(4000, 1)), axes))
    shade = np.array([int(scatter.SHADES[0.5][i : i + 2], 16) for i in (1, 3, 5)])
    heights = (abs(bars.astype(int) - shade).max(axis=2) < 4).sum(axis=0)
    middle, side = heights[118:138].mean(), heights[20:40].mean()
    assert middle > 100 > 20 > side
    narrow = colours(scatter.scatter(np.full((100, 1), real.mean()), axes)).astype(int)
    assert (narrow[..., 0] - narrow[..., 1] > 100).any(), "a bar that is higher than the picture is red"


@pytest.mark.parametrize(
    ("points", "known", "said"),
    [
        (REAL, True, "blue: the true density, its outlines around 50, 90 and 99 %"),
        (REAL, False, "grey: real points"),
        (
            np.hstack([REAL, REAL]),
            True,
            "(the first two of 4 coordinates) · blue: the true density at the mean of the others",
        ),
        (REAL[:, :1], True, "blue: the true density"),
    ],
    ids=["known", "unknown", "four coordinates", "one coordinate"],
)
def test_a_caption_says_what_is_shown(points, known, said):
    axes = plane(points, (lambda items: (items**2).sum(axis=1)) if known else None)
    text = words(axes, points.shape[1])
    assert said in text and text.startswith(f"axes: {axes.low[0]:.3g} to {axes.high[0]:.3g}")
