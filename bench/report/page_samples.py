"""The samples on the page: the controls of their browser, and what the script needs to fill it."""

from typing import Any

from bench.analysis.study import Study
from bench.report.figures import Figures
from bench.report.markup import Html, element, join
from bench.report.page_parts import downloads, figure, swatch
from bench.report.sheets import Sheets


def samples_data(study: Study, encoded: Sheets) -> dict[str, Any]:
    """Return what the script needs to show samples."""
    return {
        "axis": study.axis,
        "generations": study.generations,
        "start": study.generations.index(study.last_common or study.generations[-1]),
        "conditions": [{"label": c.label, "seeds": list(study.chains[c])} for c in study.conditions],
        "sheets": encoded.sheets,
        "count": encoded.count,
        "side": encoded.side,
    }


def samples(number: int, study: Study, figures: Figures, encoded: Sheets) -> Html:
    """Return the controls that the script fills with samples, or a figure of samples that are no images.

    Args:
        number: position of the study on the page.
        study: its chains.
        figures: its figures.
        encoded: its sheets.
    """
    if not encoded.count:
        if drawn := figure(figures.samples, f"samples-{number}-", "samples by condition and generation"):
            return element("div", drawn, class_="figures")
        return element("p", "The samples of these runs are not in their store.", class_="gone")
    seeds = [element("option", seed, value=seed) for seed in study.seeds]
    last = len(study.generations) - 1
    neighbours = element(
        "label",
        element("input", type="checkbox", class_="neighbours"),
        " nearest real training image below each",
        class_="check",
    )
    slider = element("input", type="range", min=0, max=last, step=1, value=0, class_="generation", id=f"at-{number}")
    rows = [
        element(
            "div",
            element("div", swatch(study, c), c.label, class_="name"),
            element("div", class_="tiles"),
            class_="row",
        )
        for c in study.conditions
    ]
    stepper = element(
        "span",
        element("button", "‹", type="button", class_="back", aria_label="Previous sample"),
        element("output", class_="probe"),
        element("button", "›", type="button", class_="next", aria_label="Next sample"),
        class_="stepper",
    )
    return join(
        downloads(figures.samples) if figures.samples else None,
        element(
            "p",
            "Every position starts from the same noise in every generation. Move through the generations to see the "
            "samples change; choose a sample to see it in all generations.",
            class_="hint",
        ),
        element(
            "div",
            element("button", "Play", type="button", class_="play", aria_pressed="false"),
            element(
                "label", "Generation ", element("output", class_="now"), slider, class_="slider", for_=f"at-{number}"
            ),
            element("label", "Seed ", element("select", seeds, class_="seed"), class_="field"),
            neighbours if encoded.has_neighbours else None,
            class_="controls",
        ),
        element("div", rows, class_="card browser"),
        element(
            "p",
            "The nearest image by pixel distance among the real training images. A sample that equals it is a copy.",
            class_="hint about-neighbours",
            hidden=True,
        ),
        element(
            "div",
            element("div", element("h3", "One noise seed, all generations"), stepper, class_="path-head"),
            element("div", class_="path scroll"),
            class_="card",
        ),
    )
