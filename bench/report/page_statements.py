"""The statements on the page: a figure and a table for each."""

from pathlib import Path

from bench.report.figures import Figures
from bench.report.markup import Html, element, join
from bench.report.page_parts import figure
from bench.report.statements import Statement

MOST_ROWS = 12
"""Largest number of rows of a table that is shown unfolded."""


def statements(number: int, stated: list[Statement], figures: Figures) -> Html:
    """Return a figure, if there is one, and a table for each statement about a study.

    Args:
        number: The position of the study on the page.
        stated: The statements.
        figures: The figures of the study.
    """
    drawings = [*figures.profile, *figures.exchange, *figures.ranking, *figures.sizes, *figures.oracle_map]
    parts = []
    for i, statement in enumerate(stated):
        shown = [path for path in drawings if statement.figure and path.stem.endswith(statement.figure)]
        drawn = figure(shown, f"statements-{number}-{i}-", statement.title)
        parts.append([element("div", drawn, class_="figures") if drawn else None, _table(statement)])
    return join(parts)


def of_families(stated: list[Statement], paths: list[Path]) -> Html | None:
    """Return the section on several families side by side; None if there is only one family.

    Args:
        stated: The statements about the families.
        paths: The files of their figure.
    """
    if not stated:
        return None
    drawn = figure(paths, "families-", stated[0].title)
    body = [element("div", drawn, class_="figures") if drawn else None, *map(_table, stated)]
    return element("section", element("h2", stated[0].title), *body, id="families", class_="statements families")


def _table(statement: Statement) -> Html:
    head = element("tr", [element("th", word, scope="col") for word in statement.head])
    rows = [
        element("tr", element("th", row[0], scope="row"), [element("td", word) for word in row[1:]])
        for row in statement.rows
    ]
    table = element("div", element("table", element("thead", head), element("tbody", rows)), class_="scroll")
    if len(rows) > MOST_ROWS:
        table = element("details", element("summary", "Show the table"), table)
    return element(
        "div",
        element("h3", statement.title),
        element("p", statement.about, class_="hint"),
        table if rows else None,
        [element("p", line, class_="hint") for line in statement.legend],
        class_="card",
    )
