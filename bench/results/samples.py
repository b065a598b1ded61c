"""Samples of packed runs as one small picture per study, for the leaderboard: files of results hold numbers alone."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from bench.analysis.study import studies
from bench.ledger import Chain
from bench.report.strip import strip
from bench.report.style import written_as
from bench.results.result_file import study_of

DPI = 150


def picture_name(name: str, version: str, number: int = 0) -> str:
    """Return the name of the picture of a study, without suffix. number: which of its splits of the data, from 0."""
    return f"{name}-{version}" + (f"-{number}" if number else "")


def draw_samples(chains: Sequence[Chain], folder: Path) -> tuple[list[Path], list[str]]:
    """Draw the same noise seeds through the generations, a row for each condition, from the samples in the stores.

    Args:
        chains: of one study or several.
        folder: where the PNG files go: one for each study and split, in 256 colours.

    Returns:
        The files, and which samples are missing; a study whose samples are in no store has no file.
    """
    by_study: dict[tuple[str, str], list[Chain]] = {}
    for chain in chains:
        facts = study_of(chain.rows[0])
        by_study.setdefault((facts["name"], facts["version"]), []).append(chain)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    missing: list[str] = []
    for (name, version), own in by_study.items():
        for number, study in enumerate(studies(own)):
            with written_as("png", dpi=DPI):
                drawn, lacking = strip(study, folder, picture_name(name, version, number))
            paths += drawn
            missing += lacking
    for path in paths:
        with Image.open(path) as image:
            small = image.convert("RGB").quantize(256)
        small.save(path, optimize=True)
    return paths, missing
