"""Draw flowers of eight species, from the common daisy to the rare bluebell."""

from collections.abc import Callable, Iterator

import numpy as np

from bench.datasets.shared.drawings.canvas import Array, Canvas, Colour, disc, ellipse, fold, lens, line, mix, rgb, turn

COLOURS = {
    "white": rgb("#fbf8f0"),
    "yellow": rgb("#ffd21f"),
    "orange": rgb("#ff8a1c"),
    "red": rgb("#e8252f"),
    "pink": rgb("#ff7fb5"),
    "magenta": rgb("#d8279c"),
    "purple": rgb("#8446d6"),
    "blue": rgb("#3d63ea"),
}
SPECIES = {  # common to rare; each with its colours, common to rare
    "daisy": ("white", "pink", "yellow"),
    "tulip": ("red", "yellow", "pink"),
    "poppy": ("orange", "red", "white"),
    "pansy": ("purple", "blue", "yellow"),
    "sunflower": ("yellow", "orange", "red"),
    "rose": ("pink", "red", "white"),
    "lily": ("white", "orange", "magenta"),
    "bluebell": ("blue", "purple", "pink"),
}
POSES = ("upright", "leaning left", "leaning right")
POSE_SHARES = (0.55, 0.3, 0.15)
BACKGROUNDS = (  # colours at the top and at the bottom
    (rgb("#2f6b3c"), rgb("#173f2a")),
    (rgb("#4a8fc4"), rgb("#2c6a78")),
    (rgb("#5c9a4a"), rgb("#28592f")),
)
GREEN, LEAF = rgb("#7cc24a"), rgb("#5aa63c")
YOLK, BROWN, DARK = rgb("#ffc414"), rgb("#5a3016"), rgb("#2a1626")


def draw(canvas: Canvas, species: str, colour: str, pose: str, random: Iterator[float]) -> None:
    """Draw one flower on its stem.

    Args:
        canvas: The canvas to draw on.
        species: A key of `SPECIES`.
        colour: A key of `COLOURS`, the colour of the petals.
        pose: An entry of `POSES`.
        random: Uniform numbers in [0, 1), for the small differences between two flowers of a kind.
    """
    _background(canvas, random)
    lean = {"upright": 0.0, "leaning left": 1.0, "leaning right": -1.0}[pose]
    size = 0.66 + 0.1 * next(random)
    centre = (-0.22 * lean + 0.1 * (next(random) - 0.5), 0.2 + 0.1 * (next(random) - 0.5))
    _stem(canvas, centre, next(random))
    x, y = turn(canvas.x, canvas.y, centre, 28 * lean + 10 * (next(random) - 0.5))
    x, y = x / size, y / size
    if lean and species in _SEEN_FROM_ABOVE:
        y = y / 0.74  # a leaning head is seen at an angle
    _DRAWERS[species](canvas, x, y, COLOURS[colour], 360 * next(random))


def _background(canvas: Canvas, random: Iterator[float]) -> None:
    above, below = BACKGROUNDS[int(len(BACKGROUNDS) * next(random))]
    tilt = 0.3 * (next(random) - 0.5)
    canvas.rgb[:] = mix(below, above, 0.5 + 0.5 * (canvas.y + tilt * canvas.x))


def _stem(canvas: Canvas, head: tuple[float, float], chance: float) -> None:
    foot = (0.25 * (chance - 0.5), -1.1)
    canvas.paint(line(canvas.x, canvas.y, foot, head, 0.06, 0.8), GREEN)
    side = 1 if chance < 0.5 else -1
    for degrees, height, reach in ((90 - side * 50, -0.62, 0.36), (90 + side * 58, -0.74, 0.3)):
        base = (foot[0] + (head[0] - foot[0]) * (height + 1.1) / (head[1] + 1.1), height)
        along, across = turn(canvas.x, canvas.y, base, degrees)
        canvas.paint(lens(along - reach, across, reach, 0.12), LEAF)


def _shade(colour: Colour, amount: float) -> Colour:
    return (colour[0] * amount, colour[1] * amount, colour[2] * amount)


def _daisy(canvas: Canvas, x: Array, y: Array, colour: Colour, phase: float) -> None:
    along, across = fold(x, y, 12, phase)
    canvas.paint(ellipse(along - 0.6, across, 0.4, 0.13), mix(_shade(colour, 0.72), colour, along * 1.6 - 0.3))
    canvas.paint(disc(x, y, 0.3), mix(YOLK, rgb("#e08a00"), np.hypot(x, y) / 0.34 - 0.2))


def _tulip(canvas: Canvas, x: Array, y: Array, colour: Colour, phase: float) -> None:
    light = mix(_shade(colour, 0.62), colour, (y + 0.9) / 1.2)
    for sign in (-1, 1):
        along, across = turn(x, y, (sign * 0.36, 0.04), 90 - sign * 6)
        canvas.paint(lens(along, across, 0.82, 0.4), light * 0.82)
    canvas.paint(ellipse(x, y + 0.32, 0.62, 0.5), light * 0.82)
    along, across = turn(x, y, (0.0, -0.06), 90)
    canvas.paint(lens(along, across, 0.8, 0.42), light)


def _poppy(canvas: Canvas, x: Array, y: Array, colour: Colour, phase: float) -> None:
    for turned, shade in ((45, 0.72), (0, 1.0)):
        along, across = fold(x, y, 4 if turned else 2, phase % 90 + turned)
        tone = mix(_shade(colour, 0.6 * shade), _shade(colour, shade), along * 1.3)
        canvas.paint(ellipse(along - 0.48, across, 0.5, 0.5), tone)
    canvas.paint(disc(x, y, 0.26), DARK)
    canvas.paint(disc(x, y, 0.1), rgb("#b7cf5a"))


def _pansy(canvas: Canvas, x: Array, y: Array, colour: Colour, phase: float) -> None:
    for px, py, radius, shade in ((-0.4, 0.48, 0.5, 0.66), (0.4, 0.48, 0.5, 0.66)):
        canvas.paint(disc(x - px, y - py, radius), _shade(colour, shade))
    for px, py, radius in ((-0.5, -0.12, 0.46), (0.5, -0.12, 0.46), (0.0, -0.5, 0.5)):
        away = np.hypot(x, y + 0.05)
        canvas.paint(disc(x - px, y - py, radius), mix(_shade(colour, 0.35), colour, away * 2.2 - 0.5))
    canvas.paint(disc(x, y + 0.06, 0.17), YOLK)


def _sunflower(canvas: Canvas, x: Array, y: Array, colour: Colour, phase: float) -> None:
    for turned, shade in ((12, 0.78), (0, 1.0)):
        along, across = fold(x, y, 15, phase + turned)
        canvas.paint(lens(along - 0.62, across, 0.4, 0.14), _shade(colour, shade))
    canvas.paint(disc(x, y, 0.5), mix(rgb("#8a4d1c"), BROWN, np.hypot(x, y) * 3 - 0.6))
    canvas.paint(disc(x, y, 0.2), rgb("#3a1d0c"))


def _rose(canvas: Canvas, x: Array, y: Array, colour: Colour, phase: float) -> None:
    for count, reach, shade, turned in ((5, 1.0, 0.66, 0), (5, 0.76, 0.86, 36), (4, 0.52, 1.0, 10), (3, 0.3, 0.74, 50)):
        along, across = fold(x, y, count, phase + turned)
        canvas.paint(disc(along - 0.42 * reach, across, 0.56 * reach), _shade(colour, shade))
    canvas.paint(disc(x, y, 0.12), _shade(colour, 0.5))


def _lily(canvas: Canvas, x: Array, y: Array, colour: Colour, phase: float) -> None:
    for turned, shade in ((60, 0.74), (0, 1.0)):
        along, across = fold(x, y, 3, phase + turned)
        tone = mix(_shade(colour, 0.5 * shade), _shade(colour, shade), along * 1.8)
        canvas.paint(lens(along - 0.54, across, 0.58, 0.27), tone)
    along, across = fold(x, y, 6, phase + 30)
    canvas.paint(ellipse(along - 0.36, across, 0.09, 0.07), rgb("#b4480e"))
    canvas.paint(disc(x, y, 0.14), rgb("#c9e265"))


def _bluebell(canvas: Canvas, x: Array, y: Array, colour: Colour, phase: float) -> None:
    canvas.paint(line(x, y, (0.0, -0.9), (0.0, 0.95), 0.06, 0.7), GREEN)
    for px, py in ((0.36, 0.52), (-0.44, 0.12), (0.44, -0.36)):
        u, v = x - px, y - py
        light = mix(_shade(colour, 0.6), colour, 0.5 - v)
        canvas.paint(np.maximum(ellipse(u, v + 0.1, 0.42, 0.56), -(v + 0.3)), light)
        skirt = np.minimum(disc(np.abs(u) - 0.32, v + 0.28, 0.17), disc(u, v + 0.28, 0.17))
        canvas.paint(skirt, light)


Drawer = Callable[[Canvas, Array, Array, Colour, float], None]
"""Draws the head of a flower on a canvas, given x and y in the frame of the head, its colour, and a rotation in
degrees."""

_DRAWERS: dict[str, Drawer] = {
    "daisy": _daisy,
    "tulip": _tulip,
    "poppy": _poppy,
    "pansy": _pansy,
    "sunflower": _sunflower,
    "rose": _rose,
    "lily": _lily,
    "bluebell": _bluebell,
}
_SEEN_FROM_ABOVE = ("daisy", "poppy", "pansy", "sunflower", "rose", "lily")
