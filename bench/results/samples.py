"""Samples of packed runs as one small picture per study, for the leaderboard: files of results hold numbers alone."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from bench.analysis.study import studies
from bench.ledger import Chain, Row
from bench.report.strip import strip
from bench.report.style import written_as
from bench.results.result_file import study_of

DPI = 150


def picture_name(row: Row) -> str:
    """Return the name of the picture of a row's study and split of the data, without suffix."""
    study, split = study_of(row), row.config.get("data", {}).get("split_seed", 0)
    return f"{study['name']}-{study['version']}" + (f"-split{split}" if split else "")


def draw_samples(chains: Sequence[Chain], folder: Path) -> tuple[list[Path], list[str]]:
    """Draw the same noise seeds through the generations, a row for each condition, from the samples in the stores.

    Args:
        chains: of one study or several.
        folder: where the PNG files go: one for each study and split, in 256 colours.

    Returns:
        The files, and which samples are missing; a study whose samples are in no store has no file.
    """
    by_picture: dict[str, list[Chain]] = {}
    for chain in chains:
        by_picture.setdefault(picture_name(chain.rows[0]), []).append(chain)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    missing: list[str] = []
    for name, own in by_picture.items():
        study, *others = studies(own)
        with written_as("png", dpi=DPI):
            drawn, lacking = strip(study, folder, name)
        paths += drawn
        missing += [*lacking, *(f"the picture {name} leaves out setting {other.hash}" for other in others)]
    for path in paths:
        with Image.open(path) as image:
            small = image.convert("RGB").quantize(256)
        small.save(path, optimize=True)
    return paths, missing
