"""Parts that several sections of the page share: the colour of a condition, and a figure with its downloads."""

import base64
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

from matplotlib.colors import to_hex

from bench.analysis.conditions import Condition
from bench.analysis.study import Study
from bench.report.figures import Figures
from bench.report.markup import Html, element, inline_svg
from bench.report.style import colours

DOWNLOADS = 5_000_000
"""Characters that the figures offered for download may take; a large report omits PNG files first, then PDF files."""
WIDEST_OF_A_COLUMN = 300
"""Largest width of a figure that stands in a column, points; wider figures take the whole width of the page."""
TYPES = {".svg": "image/svg+xml", ".pdf": "application/pdf", ".png": "image/png"}


def swatch(study: Study, condition: Condition) -> Html:
    """Return a mark in the colour of a condition, which is the same in all figures."""
    return element("i", class_="swatch", style=f"--c:{to_hex(colours(study)[condition])}")


def figure(paths: list[Path], prefix: str, label: str, tall: bool = False) -> Html | None:
    """Return a figure as the page shows it; None if no SVG file was written.

    Args:
        paths: The files that the figure was written to.
        prefix: The beginning of the ids in the figure, unique for every figure of the page.
        label: The description of the figure for screen readers.
        tall: Whether the figure takes two rows if figures stand in two columns.
    """
    drawing = next((path for path in paths if path.suffix == ".svg"), None)
    if drawing is None:
        return None
    svg = inline_svg(drawing, prefix, label)
    wide = float(svg.split("--width:")[1].split('"')[0]) > WIDEST_OF_A_COLUMN
    classes = "card wide" if wide else "card tall" if tall else "card"
    drawn = element("div", svg, class_="drawing", tabindex=0)
    return element("figure", drawn, downloads(paths), class_=classes, data_file=drawing.name)


def downloads(paths: list[Path]) -> Html:
    """Return links to a figure's files, which are embedded in the page as data URIs."""
    kinds = [(kind, path) for kind in TYPES for path in paths if path.suffix == kind]
    links = [
        element(
            "a",
            f"{path.stem} as {kind[1:].upper()}" if i == 0 else kind[1:].upper(),
            download=path.name,
            href=f"data:{TYPES[kind]};base64,{base64.b64encode(path.read_bytes()).decode()}",
        )
        for i, (kind, path) in enumerate(kinds)
    ]
    return element("p", links, class_="downloads")


def offered(figures: Figures, budget: int) -> Figures:
    """Return the figures without the kinds of files that exceed the budget; SVG files are always kept.

    Args:
        figures: The figures of one study.
        budget: The number of characters that their files may take.
    """
    for kind in (".png", ".pdf"):
        if download_size(figures.paths) > budget:
            kept = {f.name: getattr(figures, f.name) for f in fields(figures) if f.name not in ("missing", "curves")}
            kept = {name: [path for path in paths if path.suffix != kind] for name, paths in kept.items()}
            curves = [replace(c, paths=[path for path in c.paths if path.suffix != kind]) for c in figures.curves]
            figures = replace(figures, curves=curves, **kept)
    return figures


def download_size(paths: Iterable[Path]) -> int:
    """Return the number of characters that these files take in a page, in base64."""
    return sum(path.stat().st_size * 4 // 3 for path in paths)
