"""Pictures for the page: the probes of each generation as one row of pixels, and their nearest real training images."""

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from bench.analysis.study import Study, artifact_path
from bench.ledger import Chain, Row
from bench.report.strip import load_probes

BUDGET = 11_000_000
"""Characters of all pictures of a page together; with the rest it stays below 15 MB."""
SIDE = 128
"""Pictures larger than this are shown at this size."""


@dataclass
class Sheets:
    """pictures: data URIs, each there once. sheets[condition][seed][generation]: indices into them of the samples and
    of their neighbours, or None. count: probes per sheet; side: their size in pixels. notes: what had to be left
    out."""

    pictures: list[str]
    sheets: list[list[list[list[int | None] | None]]]
    count: int
    side: int
    has_neighbours: bool
    notes: list[str] = field(default_factory=list)


def build(study: Study, pictures: list[str], budget: int) -> Sheets:
    """Encodes as many pictures as the budget (characters) allows: all probes of all seeds, else fewer probes, else only
    the first seed; what was left out is said. `pictures` is added to."""
    found = _load(study)
    if not found:
        return Sheets(pictures, [], 0, 0, False)
    most = min(len(probes) for probes, _ in found.values())
    plans = [(count, seeds) for seeds in (study.seeds, study.seeds[:1]) for count in (16, 8, 4)]
    for number, (count, seeds) in enumerate(plans):
        count = min(count, most)
        encoded = {key: _encode_both(key, value, count, seeds) for key, value in found.items()}
        size = sum(len(uri) for uri in {uri for both in encoded.values() for uri in both if uri})
        if size <= budget or number == len(plans) - 1:
            break
    notes = []
    if seeds != study.seeds:
        notes.append(f"to keep the page small, it shows the pictures of seed {seeds[0]} only")
    if count < most:
        notes.append(f"to keep the page small, it shows {count} of {most} pictures per generation")
    index = {uri: i for i, uri in enumerate(pictures)}
    sheets: list[list[list[list[int | None] | None]]] = []
    for condition, chains in study.chains.items():
        sheets.append([])
        for seed in chains:
            line: list[list[int | None] | None] = []
            for generation in study.generations:
                both = encoded.get((condition.label, seed, generation), (None, None))
                line.append([_place(uri, pictures, index) for uri in both] if both[0] else None)
            sheets[-1].append(line)
    probes = next(iter(found.values()))[0]
    has_neighbours = any(near is not None for _, near in found.values())
    return Sheets(pictures, sheets, count, min(SIDE, probes.shape[-1]), has_neighbours, notes)


Key = tuple[str, int, int]


def _load(study: Study) -> dict[Key, tuple[np.ndarray, np.ndarray | None]]:
    """(condition, seed, generation) -> probes and their neighbours, uint8 (P, 3, H, W). Equal files are read once."""
    found: dict[Key, tuple[np.ndarray, np.ndarray | None]] = {}
    known: dict[tuple[str, str], tuple[np.ndarray, np.ndarray | None]] = {}
    real: dict[Path, _Real] = {}
    for condition, chains in study.chains.items():
        for seed, chain in chains.items():
            for row in chain.rows:
                same = (row.artifacts.get("probes", ""), row.artifacts.get("real", ""))
                if same not in known:
                    probes = load_probes(chain, row)
                    if probes is None:
                        continue
                    known[same] = (probes, _neighbours(probes, chain, row, real))
                found[condition.label, seed, row.generation] = known[same]
    return found


@dataclass(frozen=True)
class _Real:
    images: np.ndarray
    small: np.ndarray
    norms: np.ndarray


def _neighbours(probes: np.ndarray, chain: Chain, row: Row, cache: dict[Path, _Real]) -> np.ndarray | None:
    """For each probe the nearest image of the real pool, by Euclidean distance of pixels averaged down to 16 px."""
    directory = artifact_path(chain, row, "real")
    path = directory / "train" / "images.npy" if directory else None
    if path is None or not path.exists():
        return None
    if path not in cache:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        if images.shape[1:] != probes.shape[1:]:
            return None
        small = np.concatenate([_small(images[i : i + 1024]) for i in range(0, len(images), 1024)])
        cache[path] = _Real(images, small, (small**2).sum(1))
    found = cache[path]
    wanted = _small(probes)
    nearest = (found.norms - 2 * wanted @ found.small.T).argmin(1)
    return np.stack([found.images[i] for i in nearest])


def _small(images: np.ndarray) -> np.ndarray:
    """float32 (N, d): block means of at most 16 × 16 blocks; what does not fill a block at the edge is left out."""
    n, channels, height, width = images.shape
    block = max(1, height // 16)
    side_h, side_w = height // block, width // block
    cut = images[..., : side_h * block, : side_w * block].astype(np.float32)
    return cut.reshape(n, channels, side_h, block, side_w, block).mean((3, 5)).reshape(n, -1)


def _encode_both(
    key: Key, value: tuple[np.ndarray, np.ndarray | None], count: int, seeds: list[int]
) -> tuple[str | None, str | None]:
    if key[1] not in seeds:
        return None, None
    probes, near = value
    return encode(probes[:count]), None if near is None else encode(near[:count])


def encode(images: np.ndarray) -> str:
    """uint8 (P, 3, H, W) side by side as a data URI: exact (PNG) up to 32 px, WebP above, at most SIDE px high."""
    row = Image.fromarray(np.concatenate(list(images.transpose(0, 2, 3, 1)), axis=1))
    height = images.shape[-2]
    if height > SIDE:
        row = row.resize((SIDE * len(images), SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    kind = "png" if height <= 32 else "webp"
    row.save(out, kind, **({"optimize": True} if kind == "png" else {"quality": 88, "method": 4}))
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


def _place(uri: str | None, pictures: list[str], index: dict[str, int]) -> int | None:
    if uri is None:
        return None
    if uri not in index:
        index[uri] = len(pictures)
        pictures.append(uri)
    return index[uri]
