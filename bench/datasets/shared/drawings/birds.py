"""Draw birds of eight species, from the common robin to the rare owl, seen from the side, perched or in flight."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.datasets.shared.drawings.canvas import (
    Array,
    Canvas,
    Colour,
    disc,
    ellipse,
    lens,
    line,
    mix,
    rgb,
    triangle,
    turn,
)

COLOURS = {
    "red": rgb("#e0282e"),
    "orange": rgb("#ff8a1c"),
    "yellow": rgb("#ffd02a"),
    "green": rgb("#35b24a"),
    "blue": rgb("#2f6be0"),
    "violet": rgb("#7a3fc4"),
    "pink": rgb("#ff77a8"),
    "brown": rgb("#8a5230"),
    "black": rgb("#26242e"),
}
SPECIES = {  # common to rare; each with its colours, common to rare
    "robin": ("brown", "blue", "green"),
    "jay": ("blue", "violet", "red"),
    "duck": ("green", "brown", "violet"),
    "swallow": ("black", "blue", "violet"),
    "parrot": ("green", "red", "yellow"),
    "flamingo": ("pink", "orange", "red"),
    "toucan": ("black", "green", "blue"),
    "owl": ("brown", "orange", "violet"),
}
POSES = ("perched right", "perched left", "flying right", "flying left")
POSE_SHARES = (0.4, 0.3, 0.2, 0.1)
SKIES = (  # colours at the top and at the bottom
    (rgb("#8ccbf0"), rgb("#d9f0f2")),
    (rgb("#a8d8c0"), rgb("#e2f3d4")),
    (rgb("#f3cfa0"), rgb("#fbeccb")),
)
BRANCH, WATER, LEAF = rgb("#6b4326"), rgb("#3f8fb8"), rgb("#4f9a3c")
CREAM, INK, GOLD = rgb("#fff3dc"), rgb("#17141c"), rgb("#ffae1a")


@dataclass(frozen=True)
class Build:
    """The proportions of a species in its own frame, looking right. Angles are in degrees, lengths in units of half the
    picture's side."""

    body: tuple[float, float]  # half length, half height
    tilt: float  # of the body, head up
    head: tuple[float, float, float]  # x, y, radius
    beak: tuple[float, float]  # length, half height
    beak_colour: Colour
    tail: tuple[float, float, float]  # length, half width, droop in degrees
    belly: Colour
    stands: str = "branch"  # branch, water or legs
    forked: bool = False
    crest: bool = False
    hooked: bool = False
    frontal: bool = False  # the face is seen from the front
    wing: float = 0.36


BUILDS = {
    "robin": Build((0.44, 0.36), 22, (0.34, 0.34, 0.25), (0.2, 0.08), GOLD, (0.42, 0.09, -14), rgb("#ff6a2b")),
    "jay": Build((0.46, 0.3), 30, (0.34, 0.38, 0.23), (0.24, 0.09), INK, (0.66, 0.13, -6), CREAM, crest=True),
    "duck": Build((0.58, 0.3), 6, (0.42, 0.46, 0.22), (0.3, 0.08), GOLD, (0.26, 0.13, 26), CREAM, stands="water"),
    "swallow": Build(
        (0.46, 0.25), 14, (0.38, 0.22, 0.21), (0.16, 0.07), INK, (0.66, 0.11, 2), CREAM, forked=True, wing=0.5
    ),
    "parrot": Build((0.4, 0.3), 52, (0.22, 0.46, 0.26), (0.22, 0.17), CREAM, (0.74, 0.14, -4), GOLD, hooked=True),
    "flamingo": Build(
        (0.4, 0.25), 8, (0.42, 0.7, 0.14), (0.26, 0.09), INK, (0.2, 0.12, -10), CREAM, "legs", hooked=True
    ),
    "toucan": Build((0.4, 0.3), 36, (0.2, 0.4, 0.25), (0.56, 0.16), GOLD, (0.44, 0.11, -12), CREAM),
    "owl": Build((0.46, 0.4), 80, (0.06, 0.4, 0.36), (0.14, 0.07), GOLD, (0.34, 0.15, 8), CREAM, frontal=True),
}


def draw(canvas: Canvas, species: str, colour: str, pose: str, random: Iterator[float]) -> None:
    """Draw one bird.

    Args:
        canvas: The canvas to draw on.
        species: A key of `SPECIES`.
        colour: A key of `COLOURS`, the colour of the plumage.
        pose: An entry of `POSES`.
        random: Uniform numbers in [0, 1), for the small differences between two birds of a kind.
    """
    build, coat, flying = BUILDS[species], COLOURS[colour], pose.startswith("flying")
    _sky(canvas, random)
    size = 1.0 + 0.1 * next(random)
    centre = (0.12 * (next(random) - 0.5), (-0.12 if not flying else -0.04) + 0.1 * (next(random) - 0.5))
    x = canvas.x if pose.endswith("right") else -canvas.x
    x, y = turn(x, canvas.y, centre, 8 * (next(random) - 0.5) + (6 if flying else 0))
    x, y = (x + 0.04) / size, y / size
    if not flying:
        _support(canvas, x, y, build)
    _bird(canvas, x, y, build, coat, flying)
    if not flying and build.stands == "water":
        _water(canvas, y)


def _sky(canvas: Canvas, random: Iterator[float]) -> None:
    above, below = SKIES[int(len(SKIES) * next(random))]
    tilt = 0.3 * (next(random) - 0.5)
    canvas.rgb[:] = mix(below, above, 0.5 + 0.5 * (canvas.y + tilt * canvas.x))


def _support(canvas: Canvas, x: Array, y: Array, build: Build) -> None:
    if build.stands == "branch":
        canvas.paint(line(x, y, (-1.4, -0.62), (1.4, -0.5), 0.09), BRANCH)
        along, across = turn(x, y, (0.78, -0.5), 50)
        canvas.paint(lens(along - 0.2, across, 0.24, 0.1), LEAF)
        canvas.paint(line(x, y, (-0.06, -0.1), (-0.02, -0.56), 0.04), INK)
        canvas.paint(line(x, y, (0.12, -0.1), (0.14, -0.54), 0.04), INK)
    elif build.stands == "legs":
        canvas.paint(y + 0.76, WATER)
        for foot in (-0.08, 0.12):
            canvas.paint(line(x, y, (0.0, -0.1), (foot, -0.86), 0.045), rgb("#d94f70"))


def _water(canvas: Canvas, y: Array) -> None:
    canvas.paint(y + 0.22, WATER)
    canvas.paint(np.abs(y + 0.27) - 0.025, rgb("#a9dbe8"))


def _bird(canvas: Canvas, x: Array, y: Array, build: Build, coat: Colour, flying: bool) -> None:
    dark, (head_x, head_y, _) = mix(coat, INK, 0.45), build.head
    tilt = build.tilt * (0.35 if flying else 1.0)
    along, across = turn(x, y, (0.0, 0.0), tilt)
    if flying:  # the far wing, behind everything
        u, v = turn(x, y, (0.02, 0.1), 118)
        canvas.paint(lens(u - 0.42, v, 0.5, 0.2), dark)
    _tail(canvas, along, across, build, dark)
    if build.stands == "legs":  # a long neck, drawn as an S of two strokes
        canvas.paint(line(x, y, (0.26, 0.04), (0.52, 0.4), 0.1, 0.8), coat)
        canvas.paint(line(x, y, (0.52, 0.4), (head_x, head_y), 0.08), coat)
        if flying:
            canvas.paint(line(x, y, (-0.2, -0.05), (-0.9, -0.2), 0.04), rgb("#d94f70"))
    body = ellipse(along, across, *build.body)
    canvas.paint(body, mix(coat, dark, 0.4 - 1.2 * across))
    belly = ellipse(along - 0.14, across + 0.2 * build.body[1] + 0.08, build.body[0] * 0.72, build.body[1] * 0.74)
    canvas.paint(np.maximum(body + 0.02, belly), build.belly)
    _wing(canvas, x, y, along, across, build, dark, flying)
    _head(canvas, x, y, build, coat)


def _tail(canvas: Canvas, along: Array, across: Array, build: Build, colour: Array) -> None:
    length, width, droop = build.tail
    root = (-build.body[0] * 0.7, 0.0)
    for split in (-13, 13) if build.forked else (0,):
        u, v = turn(along, across, root, 180 + droop + split)
        canvas.paint(line(u, v, (0.0, 0.0), (length, 0.0), width, 0.45 if build.forked else 1.0), colour)


def _head(canvas: Canvas, x: Array, y: Array, build: Build, coat: Colour) -> None:
    head_x, head_y, r = build.head
    u, v = x - head_x, y - head_y
    length, height = build.beak
    if build.crest or build.frontal:
        for side in (-1, 1) if build.frontal else (-1,):
            tip = (side * r * 0.95, r * 1.35) if build.frontal else (-r * 1.3, r * 1.75)
            canvas.paint(triangle(u, v, (side * r * 0.98, 0.0), (side * 0.05, r * 0.85), tip), coat)
    if not build.frontal:
        drop = -0.5 * height if not build.hooked else -1.3 * height
        canvas.paint(
            triangle(u, v, (r * 0.55, height), (r * 0.55, -height), (r * 0.8 + length, drop)), build.beak_colour
        )
        if height > 0.15 and not build.hooked:  # a toucan's dark tip
            canvas.paint(
                triangle(
                    u, v, (r * 0.5 + length * 0.78, 0.05), (r * 0.5 + length * 0.78, -0.12), (r * 0.8 + length, drop)
                ),
                INK,
            )
    canvas.paint(disc(u, v, r), coat)
    if build.frontal:
        for side in (-1, 1):
            canvas.paint(disc(u - side * 0.15, v - 0.02, 0.16), CREAM)
            canvas.paint(disc(u - side * 0.14, v - 0.02, 0.085), INK)
        canvas.paint(triangle(u, v, (-0.08, -0.08), (0.08, -0.08), (0.0, -0.26)), GOLD)
        return
    canvas.paint(disc(u - 0.34 * r, v - 0.16 * r, 0.34 * r), CREAM)
    canvas.paint(disc(u - 0.42 * r, v - 0.16 * r, 0.2 * r), INK)


def _wing(
    canvas: Canvas, x: Array, y: Array, along: Array, across: Array, build: Build, colour: Array, flying: bool
) -> None:
    if flying:
        u, v = turn(x, y, (0.06, 0.08), 134)
        canvas.paint(lens(u - 0.42, v, 0.56, 0.24), colour * 1.25)
    elif build.frontal:  # both wings folded at the sides
        for side in (-1, 1):
            u, v = turn(x, y, (side * 0.36, -0.1), 90 + side * 8)
            canvas.paint(lens(u, v, 0.42, 0.13), colour)
    else:
        u, v = turn(along, across, (-0.1, 0.04), 6)
        canvas.paint(lens(u, v, build.wing, build.body[1] * 0.5), colour)
