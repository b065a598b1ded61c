import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.datasets.shared.resize import centre_crop_box, resize
from bench.errors import DataError


def test_the_right_size_is_left_alone():
    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    assert np.array_equal(resize(picture, 24), picture)


@given(colour=st.tuples(*[st.integers(0, 255)] * 3), side=st.integers(1, 90), resolution=st.integers(8, 64))
def test_a_constant_picture_stays_constant(colour, side, resolution):
    picture = np.full((side, side, 3), colour, np.uint8)
    assert np.array_equal(resize(picture, resolution), np.full((resolution, resolution, 3), colour, np.uint8))


def test_it_is_lanczos_with_antialiasing():
    """Check a checkerboard of single pixels: no frequency of it survives, so only its mean may remain. Without
    antialiasing one of the two colours would be selected."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = resize(np.repeat(board[..., None], 3, axis=2), 16)
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127).max() <= 1


def test_a_known_downsample():
    """Compare Lanczos-3 over a step from 0 to 200 with the formula sinc(x) sinc(x/3), stretched by the factor 4."""
    row = np.where(np.arange(32) < 16, 0, 200).astype(np.uint8)
    picture = np.tile(row[None, :, None], (32, 1, 3))
    expected = []
    for pixel in range(8):
        offset = (np.arange(32) + 0.5 - (pixel + 0.5) * 4) / 4
        weight = np.where(np.abs(offset) < 3, np.sinc(offset) * np.sinc(offset / 3), 0.0)
        expected.append(np.clip((weight * row).sum() / weight.sum(), 0, 255))
    assert np.abs(resize(picture, 8)[4, :, 0] - np.asarray(expected)).max() <= 1
    assert max(expected) > 200, "the overshoot of Lanczos is part of what is compared"


def test_it_is_what_pillow_does_to_a_photograph():
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (100, 100, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.LANCZOS))
    assert np.array_equal(resize(picture, 64), expected)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((8, 9, 3), np.uint8), "9 x 8"),
        (np.zeros((8, 8, 3), np.float32), "float32"),
        (np.zeros((8, 8), np.uint8), r"\(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"\(8, 8, 4\)"),
    ],
)
def test_anything_but_a_square_uint8_rgb_picture_is_refused(picture, message):
    with pytest.raises(DataError, match=message):
        resize(picture, 4)


@given(width=st.integers(1, 3000), height=st.integers(1, 3000))
def test_the_centre_crop_is_the_largest_centred_square(width, height):
    left, top, right, bottom = centre_crop_box(width, height)
    assert right - left == bottom - top == min(width, height)
    assert left >= 0 and right <= width and top >= 0 and bottom <= height
    assert abs(left - (width - right)) <= 1 and abs(top - (height - bottom)) <= 1
