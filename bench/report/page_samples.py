"""The samples on the page: the controls of their browser, and the data that the script fills it with."""

from contextlib import suppress
from typing import Any

from bench.analysis.artifacts import load_probes
from bench.analysis.conditions import Condition
from bench.analysis.shown import some_of, texts_of
from bench.analysis.study import Study
from bench.errors import DataError
from bench.kinds import TOKENS, kind_of
from bench.report.figures import Figures
from bench.report.markup import Html, element, join
from bench.report.page_parts import downloads, swatch
from bench.report.sheets import Sheets
from bench.report.strip import FEWER, MOST


def samples_data(study: Study, encoded: Sheets) -> dict[str, Any]:
    """Return the data that the script needs to show samples."""
    last = study.last_common or study.generations[-1]
    return {
        "axis": study.axis,
        "generations": encoded.generations,
        "start": max((i for i, g in enumerate(encoded.generations) if g <= last), default=0),
        "conditions": [{"label": c.label, "seeds": list(study.chains[c])} for c in study.conditions],
        "sheets": encoded.sheets,
        "count": encoded.count,
        "side": encoded.side,
    }


def samples(number: int, study: Study, figures: Figures, encoded: Sheets) -> Html:
    """Return the controls that the script fills with pictures of samples, or the samples themselves if they are texts.

    Args:
        number: The position of the study on the page.
        study: The study to show.
        figures: The figures of the study.
        encoded: The sheets of the study's samples.
    """
    files = downloads(figures.samples) if figures.samples else None
    if not encoded.count:
        if found := _texts(study):
            return join(files, found)
        return element("p", "The samples of these runs are not in their store.", class_="gone")
    of_points = bool(encoded.words)
    last = len(encoded.generations) - 1
    slider = element("input", type="range", min=0, max=last, step=1, value=0, class_="generation", id=f"at-{number}")
    seeds = [element("option", seed, value=seed) for seed in study.seeds]
    return join(
        files,
        element("p", _hint_of_points(encoded) if of_points else HINT, class_="hint"),
        element(
            "div",
            element("button", "Play", type="button", class_="play", aria_pressed="false"),
            element(
                "label", "Generation ", element("output", class_="now"), slider, class_="slider", for_=f"at-{number}"
            ),
            element("label", "Seed ", element("select", seeds, class_="seed"), class_="field"),
            _neighbours() if encoded.has_neighbours else None,
            class_="controls",
        ),
        element(
            "div",
            [
                element(
                    "div",
                    element("div", swatch(study, c), c.label, class_="name"),
                    element("div", class_="tiles"),
                    class_="row",
                )
                for c in study.conditions
            ],
            class_="card browser planes" if of_points else "card browser",
        ),
        element(
            "p",
            "The nearest image by pixel distance among the real training images. A sample that equals it is a copy.",
            class_="hint about-neighbours",
            hidden=True,
        )
        if encoded.has_neighbours
        else None,
        element(
            "div",
            element(
                "div",
                element("h3", "All generations" if of_points else "One noise seed, all generations"),
                None if of_points else _stepper(),
                class_="path-head",
            ),
            element("div", class_="path scroll"),
            class_="card",
        ),
    )


HINT = (
    "Every position starts from the same noise in every generation. Move through the generations to see the samples "
    "change; choose a sample to see it in all generations."
)


def _hint_of_points(encoded: Sheets) -> str:
    return (
        "Every point starts from the same noise in every generation, and all pictures have the same axes. Points "
        f"outside them lie at the edge, in red. {encoded.words[:1].upper()}{encoded.words[1:]}."
    )


def _neighbours() -> Html:
    return element(
        "label",
        element("input", type="checkbox", class_="neighbours"),
        " nearest real training image below each",
        class_="check",
    )


def _stepper() -> Html:
    return element(
        "span",
        element("button", "‹", type="button", class_="back", aria_label="Previous sample"),
        element("output", class_="probe"),
        element("button", "›", type="button", class_="next", aria_label="Next sample"),
        class_="stepper",
    )


MOST_TEXTS = 3
"""Number of texts that are shown, each in every generation."""


def _texts(study: Study) -> Html | None:
    """Return the first texts of every condition's longest chain by generation, as tables; None if there are none."""
    generations = some_of(study.generations, MOST, FEWER)
    found: dict[tuple[Condition, int], list[str]] = {}
    for condition in study.conditions:
        chain = study.longest(condition)
        for row in (row for row in chain.rows if row.generation in generations):
            with suppress(DataError):  # `strip` reports damaged files
                probes = load_probes(chain, row)
                if probes is not None and kind_of(probes) is TOKENS:
                    found[condition, row.generation] = texts_of(probes, row, chain.directory)
    if not found:
        return None
    most = min([MOST_TEXTS, *(len(several) for several in found.values())])
    seeds = ", ".join(dict.fromkeys(str(study.longest(c).rows[0].seed) for c in study.conditions))
    hint = (
        f"Each text is drawn with the same random numbers in every generation; none was chosen by hand. Seed {seeds}."
    )
    return join(element("p", hint, class_="hint"), [_text(study, generations, found, i) for i in range(most)])


def _text(study: Study, generations: list[int], found: dict[tuple[Condition, int], list[str]], i: int) -> Html:
    head = element(
        "tr",
        element("th", study.axis, scope="col"),
        [element("th", swatch(study, c), " ", c.label, scope="col") for c in study.conditions],
    )
    rows = [
        element(
            "tr",
            element("th", f"gen {generation}", scope="row"),
            [
                element("td", several[i])
                if (several := found.get((c, generation)))
                else element("td", "–", class_="gone")
                for c in study.conditions
            ],
        )
        for generation in generations
    ]
    table = element("table", element("thead", head), element("tbody", rows), class_="texts")
    title = element("h3", f"Text {i + 1}")
    return element("div", title, element("div", table, class_="scroll"), class_="card")
