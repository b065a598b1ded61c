"""Draw with signed distances: a shape is an array of distances to its edge, negative inside, and painting blends a
colour by the coverage of each pixel.

Coordinates run from -1 to 1, x to the right and y up. Shapes combine by `np.minimum` (union) and `np.maximum`
(intersection). All arrays are float64, so that platforms whose sine differs in the last bit round to the same uint8.
"""

import numpy as np

Array = np.ndarray
Colour = tuple[float, float, float]
"""Red, green and blue, each in [0, 1]."""


class Canvas:
    """A square picture, drawn `factor` times larger than `resolution` and averaged over blocks of pixels at the end."""

    def __init__(self, resolution: int, factor: int) -> None:
        size = resolution * factor
        at = (np.arange(size) + 0.5) / size * 2 - 1
        self.factor = factor
        self.x, self.y = np.meshgrid(at, -at)
        self.rgb = np.zeros((3, size, size))
        self._edge = 2 / size

    def paint(self, distance: Array, colour: "Colour | Array", opacity: float = 1.0) -> None:
        """Paint the area where `distance` is negative, with an edge that is one pixel of the enlarged picture wide."""
        coverage = np.clip(0.5 - distance / self._edge, 0, 1) * opacity
        self.rgb += (_planes(colour) - self.rgb) * coverage

    def image(self) -> Array:
        """Return the picture, uint8 (3, resolution, resolution)."""
        resolution, factor = self.rgb.shape[-1] // self.factor, self.factor
        blocks = self.rgb.reshape(3, resolution, factor, resolution, factor).mean(axis=(2, 4))
        return np.rint(np.clip(blocks, 0, 1) * 255).astype(np.uint8)


def turn(x: Array, y: Array, centre: tuple[float, float], degrees: float = 0.0) -> tuple[Array, Array]:
    """Return coordinates relative to a centre, in a rotated frame.

    Args:
        x: Horizontal coordinates, any shape.
        y: Vertical coordinates, the same shape.
        centre: Origin of the new frame.
        degrees: Rotation of the new frame, anticlockwise.

    Returns:
        Coordinates along the two axes of the new frame.
    """
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y = x - centre[0], y - centre[1]
    return c * x + s * y, c * y - s * x


def disc(x: Array, y: Array, radius: float) -> Array:
    """Return the signed distance to a disc around the origin."""
    return np.hypot(x, y) - radius


def ellipse(x: Array, y: Array, half_x: float, half_y: float) -> Array:
    """Return the signed distance to an ellipse around the origin, accurate only near its edge, which is enough for
    painting.

    Args:
        x: Horizontal coordinates, any shape.
        y: Vertical coordinates, the same shape.
        half_x: Half length along x.
        half_y: Half length along y.

    Returns:
        Distances, negative inside.
    """
    return (np.hypot(x / half_x, y / half_y) - 1) * min(half_x, half_y)


def lens(x: Array, y: Array, half_x: float, half_y: float) -> Array:
    """Return the signed distance to a lens: two arcs that meet in points at (±half_x, 0).

    Args:
        x: Horizontal coordinates, any shape.
        y: Vertical coordinates, the same shape.
        half_x: Half length along x.
        half_y: Half width in the middle, at most `half_x`.

    Returns:
        Distances, negative inside.
    """
    radius = (half_x**2 + half_y**2) / (2 * half_y)
    return np.hypot(x, np.abs(y) + radius - half_y) - radius


def line(
    x: Array, y: Array, start: tuple[float, float], end: tuple[float, float], width: float, taper: float = 1.0
) -> Array:
    """Return the signed distance to a stroke with round ends.

    Args:
        x: Horizontal coordinates, any shape.
        y: Vertical coordinates, the same shape.
        start: First end of the stroke.
        end: Second end of the stroke.
        width: Half width at the first end.
        taper: Half width at the second end, as a multiple of `width`.

    Returns:
        Distances, negative inside.
    """
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - start[0] - along * dx, y - start[1] - along * dy) - width * (1 + (taper - 1) * along)


def triangle(x: Array, y: Array, a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> Array:
    """Return the signed distance to a triangle.

    Args:
        x: Horizontal coordinates, any shape.
        y: Vertical coordinates, the same shape.
        a: First corner.
        b: Second corner.
        c: Third corner.

    Returns:
        Distances, negative inside. They are exact inside and next to a side, and too small outside a corner.
    """
    corners = (a, b, c)
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if area < 0:
        corners = (a, c, b)
    sides = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = np.hypot(x1 - x0, y1 - y0)
        sides.append(((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / length)
    return np.maximum.reduce(sides)


def fold(x: Array, y: Array, count: int, phase: float = 0.0) -> tuple[Array, Array]:
    """Return coordinates relative to the nearest of several rays, so that one shape drawn in them appears on every ray.

    Args:
        x: Horizontal coordinates, any shape.
        y: Vertical coordinates, the same shape.
        count: Number of evenly spaced rays from the origin.
        phase: Angle of the first ray, in degrees.

    Returns:
        Coordinates along the nearest ray, and distances from its axis (>= 0).
    """
    angle, sector = np.arctan2(y, x) - np.radians(phase), 2 * np.pi / count
    angle = np.abs((angle + sector / 2) % sector - sector / 2)
    radius = np.hypot(x, y)
    return radius * np.cos(angle), radius * np.sin(angle)


def mix(first: Colour | Array, second: Colour | Array, share: float | Array) -> Array:
    """Return a mixture that contains the second colour with a given share, clipped to [0, 1]: planes (3, 1, 1), or a
    gradient (3, S, S) for an array (S, S) of shares."""
    share = np.clip(share, 0, 1)
    return _planes(first) * (1 - share) + _planes(second) * share


def _planes(colour: Colour | Array) -> Array:
    """Return a colour as planes (3, 1, 1), and a gradient (3, S, S) unchanged."""
    return np.reshape(colour, (3, 1, 1)) if isinstance(colour, tuple) else colour


def rgb(code: str) -> Colour:
    """Return the colour of a code such as "#ff8800"."""
    red, green, blue = bytes.fromhex(code.removeprefix("#"))
    return red / 255, green / 255, blue / 255
