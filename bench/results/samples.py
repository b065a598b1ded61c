"""One small picture of samples per study of packed runs, for the leaderboard: files of results hold only numbers."""

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
    """Return the file name of a study's picture, without suffix: name, version, and the values of free data keys.

    Free data keys are those that the protocol does not fix. Their values, such as `-num_train256`, distinguish studies
    of one protocol. A value of 0 is left out.
    """
    study, free = study_of(row), row.config.get("protocol", {}).get("free", {})
    values = {key: row.config["data"].get(key) for group, _, key in (k.partition(".") for k in free) if group == "data"}
    apart = (f"-{key}{value}" for key, value in sorted(values.items()) if value)
    return "-".join((study["name"], study["version"])) + "".join(apart)


def draw_samples(chains: Sequence[Chain], folder: Path) -> tuple[list[Path], list[str]]:
    """Draw the samples of the same noise seeds in every generation, one row per condition, from the chains' stores.

    Args:
        chains: The chains of one or several studies.
        folder: The folder to write the PNG files to, one per study, in 256 colours.

    Returns:
        The files, and one line for each missing sample. A study whose samples are in no store has no file.
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
