"""The statements on the page: a figure and a table for each."""

from bench.report.figures import Figures
from bench.report.markup import Html, element, join
from bench.report.page_parts import figure
from bench.report.statements import Statement


def statements(number: int, stated: list[Statement], figures: Figures) -> Html:
    """Return the figures of a study's statements, and one table for each.

    Args:
        number: position of the study on the page.
        stated: the statements.
        figures: the figures of the study.
    """
    files = {"collapse profile": figures.profile, "worth of a synthetic image": figures.exchange}
    drawings = [(label, path) for label, paths in files.items() for path in paths if path.suffix == ".svg"]
    shown = [
        element("div", figure([path], f"statements-{number}-{i}-", label), class_="figures")
        for i, (label, path) in enumerate(drawings)
    ]
    return join(shown, [_table(statement) for statement in stated])


def _table(statement: Statement) -> Html:
    head = element("tr", [element("th", word, scope="col") for word in statement.head])
    rows = [
        element("tr", element("th", row[0], scope="row"), [element("td", word) for word in row[1:]])
        for row in statement.rows
    ]
    return element(
        "div",
        element("h3", statement.title),
        element("p", statement.about, class_="hint"),
        element("table", element("thead", head), element("tbody", rows)) if rows else None,
        [element("p", line, class_="hint") for line in statement.legend],
        class_="card scroll",
    )
