"""Parts that several sections of the page have: the colour of a condition, and a figure."""

from pathlib import Path

from matplotlib.colors import to_hex

from bench.analysis.conditions import Condition
from bench.analysis.study import Study
from bench.report.markup import Html, element, inline_svg
from bench.report.style import colours


def swatch(study: Study, condition: Condition) -> Html:
    """Return a mark in the colour that a condition has in all figures."""
    return element("i", class_="swatch", style=f"--c:{to_hex(colours(study)[condition])}")


def figure(paths: list[Path], prefix: str, label: str, tall: bool = False) -> Html | None:
    """Return a figure as the page shows it; None where no SVG file was written.

    Args:
        paths: the files that the figure was written to.
        prefix: different for every figure of the page.
        label: what the figure shows, for people who do not see it.
        tall: whether the figure takes two rows where figures stand in two columns.
    """
    drawing = next((path for path in paths if path.suffix == ".svg"), None)
    if drawing is None:
        return None
    svg = inline_svg(drawing, prefix, label)
    classes = "card tall" if tall else "card"
    return element("figure", element("div", svg, class_="drawing"), class_=classes, data_file=drawing.name)
