"""Sheets of samples for the page: the probes of each generation as one row of images, and their nearest real training
images. Probes that are points have one picture per generation."""

import base64
import io
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from bench import scatter
from bench.analysis.artifacts import artifact_path, load_probes
from bench.analysis.shown import picture, plane_of, some_of
from bench.analysis.study import Study
from bench.errors import DataError
from bench.kinds import IMAGES, POINTS, kind_of
from bench.ledger import Chain, Row

BUDGET = 11_000_000
"""Characters that the sheets and downloadable figures of a page may take together, so that it stays below 15 MB."""
SIDE = 128
"""Largest height of an image on the page, pixels; larger images are scaled down to it."""
MOST_GENERATIONS = 41
"""Number of generations of a longer chain that are shown, about."""

Key = tuple[str, int, int]
"""Label of a condition, seed, generation."""


@dataclass
class Sheets:
    """The sheets of one study.

    generations: The generations that are shown.
    sheets: [condition][seed][generation] -> positions of samples and neighbours in the page's list of data URIs; None
        if there are none.
    count: Number of pictures per sheet: one per probe, or a single one for points.
    side: Size of a picture in pixels.
    has_neighbours: Whether there are nearest training images.
    words: The caption's description of points; "" for other items.
    notes: What was left out to keep the page small.
    """

    generations: list[int]
    sheets: list[list[list[list[int | None] | None]]]
    count: int
    side: int
    has_neighbours: bool
    words: str = ""
    notes: list[str] = field(default_factory=list)


def build(study: Study, uris: list[str], budget: int) -> Sheets:
    """Encode as many probes as the budget allows: 16, 8 or 4 of all seeds, else 16, 8 or 4 of the first seed.

    The smallest choice is encoded even if it exceeds the budget.

    Args:
        study: The study whose probes are shown; texts have no sheets.
        uris: The page's data URIs, without repetition; new ones are appended.
        budget: The number of characters that the URIs of this study may have.
    """
    words = _words_of_points(study)
    generations = some_of(study.generations, MOST_GENERATIONS, MOST_GENERATIONS)
    loaded = _load(study, generations)
    if not loaded:
        return Sheets([], [], 0, 0, False)
    whole = bool(words)
    most = min(len(pictures) for pictures, _ in loaded.values())
    plans = [(count, seeds) for seeds in (study.seeds, study.seeds[:1]) for count in (16, 8, 4)]
    for number, (count, seeds) in enumerate(plans):
        count = min(count, most)
        encoded = {key: _encode_both(value, count, whole) for key, value in loaded.items() if key[1] in seeds}
        size = sum(len(uri) for uri in {uri for both in encoded.values() for uri in both if uri})
        if size <= budget or number == len(plans) - 1:
            break
    notes = []
    if len(generations) < len(study.generations):
        notes.append(f"the page shows the samples of {len(generations)} of {len(study.generations)} generations")
    if seeds != study.seeds:
        notes.append(f"to keep the page small, it shows the samples of seed {seeds[0]} only")
    if count < most:
        notes.append(f"to keep the page small, it shows {count} of {most} samples per generation")
    positions = {uri: i for i, uri in enumerate(uris)}
    sheets: list[list[list[list[int | None] | None]]] = []
    for condition, chains in study.chains.items():
        sheets.append([])
        for seed in chains:
            line: list[list[int | None] | None] = []
            for generation in generations:
                both = encoded.get((condition.label, seed, generation))
                line.append([_place(uri, uris, positions) for uri in both] if both else None)
            sheets[-1].append(line)
    pictures = next(iter(loaded.values()))[0]
    has_neighbours = any(near is not None for _, near in loaded.values())
    side = pictures.shape[-1] if whole else min(SIDE, pictures.shape[-1])
    return Sheets(generations, sheets, count, side, has_neighbours, words, notes)


def _words_of_points(study: Study) -> str:
    """Return the caption's description of points: their axes and what is drawn below them; "" for other items."""
    for chain in map(study.longest, study.conditions):
        with suppress(DataError):
            probes = load_probes(chain, chain.rows[0])
            if probes is not None and kind_of(probes) is POINTS:
                return scatter.words(plane_of(probes, chain.rows[0], chain.directory), probes.shape[1])
    return ""


def _load(study: Study, generations: list[int]) -> dict[Key, tuple[np.ndarray, np.ndarray | None]]:
    """Return the probes of generations and their neighbours, uint8 (P, 3, H, W).

    Probes that are points become one picture, (1, 3, H, W), without neighbours. Equal files are read once.
    """
    loaded: dict[Key, tuple[np.ndarray, np.ndarray | None]] = {}
    known: dict[tuple[str, str], tuple[np.ndarray, np.ndarray | None]] = {}
    real: dict[Path, _Real] = {}
    for condition, chains in study.chains.items():
        for seed, chain in chains.items():
            for row in (row for row in chain.rows if row.generation in generations):
                files = (row.artifacts.get("probes", ""), row.artifacts.get("real", ""))
                if files not in known:
                    with suppress(DataError):  # `strip` reports damaged files
                        probes = load_probes(chain, row)
                        if probes is not None and kind_of(probes) is IMAGES:
                            known[files] = (probes, _neighbours(probes, chain, row, real))
                        elif probes is not None and kind_of(probes) is POINTS:
                            drawn = np.asarray(picture(probes, row, chain.directory))
                            known[files] = (drawn.transpose(2, 0, 1)[None], None)
                if files in known:
                    loaded[condition.label, seed, row.generation] = known[files]
    return loaded


@dataclass(frozen=True)
class _Real:
    images: np.ndarray
    small: np.ndarray
    norms: np.ndarray


def _neighbours(probes: np.ndarray, chain: Chain, row: Row, cache: dict[Path, _Real]) -> np.ndarray | None:
    """Return for each probe the nearest image of the real pool, uint8 (P, 3, H, W), by Euclidean distance of `_small`.

    None if the pool is missing, damaged or has images of another size.

    Args:
        probes: The probes, uint8 (P, 3, H, W).
        chain: The chain that the probes belong to.
        row: The generation that the probes belong to.
        cache: Real pools that were already read.
    """
    directory = artifact_path(chain, row, "real")
    path = directory / "train" / "items.npy" if directory else None
    if path is None or not path.exists():
        return None
    if path not in cache:
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None  # damaged: the page shows no neighbours, and the store's `verify` reports it
        if images.shape[1:] != probes.shape[1:]:
            return None
        small = np.concatenate([_small(images[i : i + 1024]) for i in range(0, len(images), 1024)])
        cache[path] = _Real(images, small, (small**2).sum(1))
    real = cache[path]
    nearest = (real.norms - 2 * _small(probes) @ real.small.T).argmin(1)
    return np.stack([real.images[i] for i in nearest])


def _small(images: np.ndarray) -> np.ndarray:
    """Return means over square blocks of max(1, H // 16) pixels a side, float32 (N, d), without incomplete blocks."""
    n, channels, height, width = images.shape
    block = max(1, height // 16)
    side_h, side_w = height // block, width // block
    cut = images[..., : side_h * block, : side_w * block].astype(np.float32)
    return cut.reshape(n, channels, side_h, block, side_w, block).mean((3, 5)).reshape(n, -1)


def _encode_both(value: tuple[np.ndarray, np.ndarray | None], count: int, whole: bool) -> tuple[str, str | None]:
    probes, near = value
    return encode(probes[:count], whole), None if near is None else encode(near[:count], whole)


def encode(images: np.ndarray, whole: bool = False) -> str:
    """Return images side by side as a data URI: PNG (lossless) up to 32 px high, else WebP, at most SIDE px high.

    Args:
        images: The images, uint8 (P, 3, H, W).
        whole: Whether they are drawings of few colours, which become PNG with 24 colours in their original size.
    """
    row = Image.fromarray(np.concatenate(list(images.transpose(0, 2, 3, 1)), axis=1))
    height = images.shape[-2]
    if height > SIDE and not whole:
        row = row.resize((SIDE * len(images), SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    kind = "png" if height <= 32 or whole else "webp"
    if whole:
        row = row.quantize(24, dither=Image.Dither.NONE)
    row.save(out, kind, **({"optimize": True} if kind == "png" else {"quality": 88, "method": 4}))
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


def _place(uri: str | None, uris: list[str], positions: dict[str, int]) -> int | None:
    if uri is None:
        return None
    if uri not in positions:
        positions[uri] = len(uris)
        uris.append(uri)
    return positions[uri]
