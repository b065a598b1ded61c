"""Draw points as one picture: dots over their target distribution, on axes that do not depend on the dots.

The picture is a pixel image, like a grid of images, so that a page with a thousand dots is no larger than with one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFilter

SIDE, FINER = 256, 3
"""Side of a picture in pixels, and the factor by which it is drawn larger and then reduced, for smooth dots."""
NUM_CELLS = 128
"""Number of cells per side of the grid on which a density is evaluated."""
MARGIN = 0.15
"""Margin on each side of the real points, as a fraction of their range."""
SHADES = {0.99: "#e9f2f8", 0.9: "#d3e5f1", 0.5: "#b5d3e6"}
"""Share of the probability mass within an outline -> the shade inside it, from the outermost outline inwards."""
MOST_UNEQUAL = 4.0
"""Largest ratio of their ranges at which both axes have the same scale."""
GROUND, FRAME, OUTLINE, DOT, OUTSIDE, REAL = "#ffffff", "#d5d8db", "#6ea5c8", "#1d2125", "#cf3a30", "#c4c8cc"


@dataclass(frozen=True, eq=False)
class Plane:
    """The axes of a picture, for the first two coordinates or the only one, and the background below the dots.

    Attributes:
        low, high: float64 (1,) or (2,), the ends of the axes.
        density: float64 (NUM_CELLS,) or (NUM_CELLS, NUM_CELLS) by first and second coordinate, the true density up to a
            factor; None if the distribution is not known.
        real: float64 (n, 1) or (n, 2), real points, which are shown if there is no density.
    """

    low: np.ndarray
    high: np.ndarray
    density: np.ndarray | None
    real: np.ndarray


def plane(real: np.ndarray, risk: Callable[[np.ndarray], np.ndarray] | None = None) -> Plane:
    """Return the axes and the background that show real points.

    Args:
        real: float64 (N, d), the real points.
        risk: Minus the log-likelihood of points, float64 (n, d) -> (n,). The background shows exp(−risk), with the
            third and further coordinates at the mean of the real points. None: the likelihood is not known.
    """
    shown = real[:, :2]
    low, high = shown.min(axis=0), shown.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    if span.max() <= MOST_UNEQUAL * span.min():
        span = np.full_like(span, span.max())
    middle, half = (low + high) / 2, span * (0.5 + MARGIN)
    low, high = middle - half, middle + half
    if risk is None:
        return Plane(low, high, None, shown)
    centres = (np.arange(NUM_CELLS) + 0.5) / NUM_CELLS
    axes = [a + (b - a) * centres for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    items = np.tile(real.mean(axis=0), (len(grid), 1))
    items[:, : len(axes)] = grid
    values = np.asarray(risk(items), np.float64)
    known = np.isfinite(values)
    if not known.any():
        return Plane(low, high, None, shown)
    density = np.exp(-(np.where(known, values, np.inf) - values[known].min()))
    return Plane(low, high, density.reshape((NUM_CELLS,) * len(axes)), shown)


def words(of: Plane, dimension: int) -> str:
    """Return the text of a caption: the ranges of the axes, which coordinates they show, and what the background is.

    dimension: The number of coordinates of the points.
    """
    ends = [f"{a:.3g} to {b:.3g}" for a, b in zip(of.low, of.high, strict=True)]
    axes = f"axes: {' and '.join(ends)}" + (f" (the first two of {dimension} coordinates)" if dimension > 2 else "")
    if of.density is None:
        return f"{axes} · grey: real points" if len(of.real) else axes
    if len(of.low) == 1:
        return f"{axes} · blue: the true density"
    cut = " at the mean of the others" if dimension > 2 else ""
    return f"{axes} · blue: the true density{cut}, its outlines around 50, 90 and 99 %"


def scatter(points: np.ndarray, of: Plane) -> Image.Image:
    """Return an RGB picture of SIDE × SIDE pixels: points as dots over the background, or a histogram if they have one
    coordinate. Points outside the axes are drawn at the edge, in red.

    points: float64 (n, d).
    """
    shown = points[:, :2]
    if len(of.low) == 1:
        return _histogram(shown[:, 0], of)
    picture = _ground(of).copy()
    _dots(picture, shown, of, 1.2 if len(shown) > 300 else 1.8 if len(shown) > 50 else 2.6, DOT, OUTSIDE)
    return _finished(picture)


def _finished(picture: Image.Image) -> Image.Image:
    """Return the picture reduced to its final size, with a thin frame."""
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    ImageDraw.Draw(small).rectangle((0, 0, SIDE - 1, SIDE - 1), outline=FRAME)
    return small


def _dots(picture: Image.Image, points: np.ndarray, of: Plane, radius: float, colour: str, outside: str) -> None:
    """Draw points, float64 (n, 2), as dots. Those outside the axes are drawn at the edge, in the colour `outside`."""
    side, r = SIDE * FINER, radius * FINER
    at = (points - of.low) / (of.high - of.low)
    is_inside = ((at >= 0) & (at <= 1)).all(axis=1)
    pen = ImageDraw.Draw(picture)
    places = np.stack([at[:, 0], 1 - at[:, 1]], axis=1) * side
    for (x, y), inside in zip(places.clip(r, side - r).tolist(), is_inside.tolist(), strict=True):
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour if inside else outside)


@lru_cache(maxsize=4)
def _ground(of: Plane) -> Image.Image:
    """Return the background below the dots, a square of SIDE · FINER pixels: shades within the outlines of the density,
    with the first coordinate to the right and the second upwards, or real points in grey."""
    side = SIDE * FINER
    if of.density is None:
        picture = Image.new("RGB", (side, side), GROUND)
        _dots(picture, of.real, of, 1.2, REAL, REAL)
        return picture
    upright = Image.fromarray(of.density.T[::-1].astype(np.float32))
    fine = np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR))
    pixels = np.tile(np.array(ImageColor.getrgb(GROUND), np.uint8), (side, side, 1))
    ordered = np.sort(of.density.ravel())[::-1]
    mass = np.cumsum(ordered)
    for part, shade in SHADES.items():
        inside = fine >= ordered[min(int(np.searchsorted(mass, part * mass[-1])), len(ordered) - 1)]
        whole = Image.fromarray(inside.astype(np.uint8)).filter(ImageFilter.MinFilter(2 * FINER - 1))
        pixels[inside] = ImageColor.getrgb(OUTLINE)
        pixels[np.asarray(whole) > 0] = ImageColor.getrgb(shade)
    return Image.fromarray(pixels)


def _histogram(values: np.ndarray, of: Plane) -> Image.Image:
    """Return a picture of a histogram of the values, float64 (n,), with the true density as a line above it. Both are
    on one scale and have area 1 over the axis. Without a density, the line is the histogram of the real points, or of
    the values if there are none."""
    side, num_bins = SIDE * FINER, 48
    low, high = float(of.low[0]), float(of.high[0])
    width = (high - low) / num_bins

    def heights(sample: np.ndarray) -> np.ndarray:
        counts, _ = np.histogram(sample.clip(low, high), num_bins, (low, high))
        return counts / max(1, len(sample)) / width

    if of.density is None:
        truth = heights(of.real[:, 0] if len(of.real) else values)
    else:
        truth = of.density / max(of.density.sum() * (high - low) / len(of.density), 1e-300)
    most = 1.6 * truth.max()
    picture = Image.new("RGB", (side, side), GROUND)
    pen = ImageDraw.Draw(picture)
    for i, height in enumerate(heights(values)):
        if height > 0:
            top = side * (1 - min(1.0, height / most))
            colour = OUTSIDE if height > most else SHADES[0.5]
            pen.rectangle((i * side / num_bins, top, (i + 1) * side / num_bins - FINER, side), fill=colour)
    x = (np.arange(len(truth)) + 0.5) / len(truth) * side
    line = [(a, side * (1 - b / most)) for a, b in zip(x, truth, strict=True)]
    pen.line(line, fill=OUTLINE if of.density is not None else "#8b9299", width=2 * FINER)
    return _finished(picture)
