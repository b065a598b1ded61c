"""Show a generation to a person: its probes as a grid of images, as points over their distribution, or as text.

The folder `probes` of a chain has one picture or text file per generation. The information for it that the probes do
not contain (the true density of points, the words of tokens) is written there when a generation is recorded, so a
report needs neither the data set's module nor a tokenizer.
"""

import math
import re
import zlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from bench.analysis.artifacts import artifact_path
from bench.analysis.plain_text import visible
from bench.files import write_aside
from bench.kinds import IMAGES, kind_of
from bench.ledger import Chain, Row

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.scatter import Plane

FOLDER, PLANE = "probes", "plane.npz"
MOST_REAL = 1000
"""Maximum number of real points that determine the axes."""
INDENT = "    "
"""Indentation of every line of a text, so that no line can be mistaken for the number of the next text."""


def shown_at(directory: Path, generation: int, suffix: str) -> Path:
    """Return the path of the file that shows a generation, in a chain's directory, with the suffix `.png` or `.txt`."""
    return directory / FOLDER / f"generation_{generation:04d}{suffix}"


def picture(probes: np.ndarray, row: Row, directory: Path) -> "Image":
    """Draw the probes of a generation, which are images or points.

    Args:
        probes: uint8 (P, 3, H, H) or float64 (P, d).
        row: the generation's row.
        directory: the chain's directory.
    """
    if kind_of(probes) is IMAGES:
        from bench.contact_sheet import grid

        return grid(probes)
    from bench.scatter import scatter

    return scatter(probes, plane_of(probes, row, directory))


def some_of(generations: list[int], most: int, fewer: int) -> list[int]:
    """Return all generations if there are at most `most`. Otherwise return the first, the last and some between them:
    `fewer` in all, or down to 70 % of that number if these lie at equal steps (0, 50, …, 350)."""
    if len(generations) <= most:
        return generations
    steps = len(generations) - 1
    number = next((k for k in range(fewer, math.ceil(0.7 * fewer) - 1, -1) if steps % (k - 1) == 0), fewer)
    return [generations[i] for i in np.linspace(0, steps, number).round().astype(int)]


# ------------------------------------------------------------------------------------------------------------- points


def plane_of(probes: np.ndarray, row: Row, directory: Path) -> "Plane":
    """Return the axes of a chain's points, the same in every generation: the recorded ones, or else axes around the
    real points. If the real points are missing as well, return axes around this generation's probes, float64 (P, d)."""
    from bench.scatter import plane

    path = directory / FOLDER / PLANE
    try:
        known = _loaded(path, path.stat().st_mtime_ns)
        if len(known.low) != min(2, probes.shape[1]):
            raise ValueError("of other points")
        return known
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):  # the file is missing or damaged
        real = real_points(row, directory)
        return replace(plane(probes), real=probes[:0, :2]) if real is None else plane(real)


def real_points(row: Row, directory: Path) -> np.ndarray | None:
    """Return up to MOST_REAL points of the real pool, float64 (n, d), or None if they are not in the store."""
    real = artifact_path(Chain(row.chain, directory, [row]), row, "real")
    path = real / "train" / "items.npy" if real else None
    if path is None or not path.exists():
        return None
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[:MOST_REAL])


def save_plane(plane: "Plane", directory: Path) -> None:
    """Write the axes of a chain's points into its directory."""
    arrays = {"low": plane.low, "high": plane.high, "real": plane.real}
    if plane.density is not None:
        arrays["density"] = plane.density.astype(np.float32)
    with write_aside(directory / FOLDER / PLANE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


@lru_cache(maxsize=64)
def _loaded(path: Path, modified: int) -> "Plane":
    from bench.scatter import Plane

    with np.load(path, allow_pickle=False) as arrays:
        return Plane(arrays["low"], arrays["high"], arrays.get("density"), arrays["real"])


# --------------------------------------------------------------------------------------------------------------- text


def texts_of(probes: np.ndarray, row: Row, directory: Path) -> list[str]:
    """Return the texts of a generation's probes as they were recorded, or else the ids of their tokens.

    Args:
        probes: int32 (P, L).
        row: the generation's row.
        directory: the chain's directory.
    """
    try:
        written = shown_at(directory, row.generation, ".txt").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ids(probes)
    texts = from_file(written, row.checksums.get("probes", ""))
    return texts if len(texts) == len(probes) else ids(probes)


def ids(tokens: np.ndarray) -> list[str]:
    """Return token sequences, int32 (n, L), as text that consists of the ids of their tokens."""
    return [" ".join(map(str, row)) for row in tokens.tolist()]


def to_file(texts: list[str], checksum: str) -> str:
    """Return the content of a readable file of texts: the checksum of the probes, then the numbered texts with each
    line indented. Characters that are not shown become �."""
    bodies = (re.sub("^", INDENT, visible(text), flags=re.MULTILINE) for text in texts)
    parts = (f"{number}.\n{body}\n" for number, body in enumerate(bodies, start=1))
    return "\n".join([f"probes {checksum}\n", *parts])


def from_file(written: str, checksum: str) -> list[str]:
    """Return the texts of a file that `to_file` formatted; [] if it belongs to other probes."""
    first, _, rest = written.partition("\n")
    if first != f"probes {checksum}":
        return []
    bodies = re.split(r"^\d+\.\n", rest, flags=re.MULTILINE)[1:]
    return [re.sub(f"^{INDENT}", "", body.rstrip("\n"), flags=re.MULTILINE) for body in bodies]
