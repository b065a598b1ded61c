"""The scores on the page: figures of curves with the tables of their scores."""

from bench.analysis.measures import Measure, metric_name
from bench.analysis.off_manifold import reason
from bench.analysis.score_tables import Line, Table, tables
from bench.analysis.study import Study
from bench.report.figures import Figures
from bench.report.markup import Html, element, join
from bench.report.page_parts import figure, swatch
from bench.report.tables import marks, text

BEST = "better than every other condition (95 % interval of the paired difference)"


def scores(number: int, study: Study, figures: Figures) -> Html:
    """Return one panel per figure of curves, with the tables of its scores; the first also has the overview figures."""
    by_measure = {table.measure: table for table in tables(study)}
    primary = study.primary("fid")
    ordered = sorted(figures.curves, key=lambda c: (primary not in c.measures, c.measures[0].reference != "heldout"))
    panels = []
    for i, drawn in enumerate(ordered):
        files = {f"curves of {_names(drawn.measures)} by generation": drawn.paths}
        if i == 0:
            files["last common generation by synthetic ratio"] = figures.final
            files["FID by condition and generation"] = figures.phase
            files["recall against precision"] = figures.trajectories
        shown = [
            # The figures of curves and of the last generation have one panel per main score, stacked vertically.
            figure(paths, f"scores-{number}-{i}-{j}-", label, tall=paths in (drawn.paths, figures.final))
            for j, (label, paths) in enumerate(files.items())
        ]
        panels.append(
            element(
                "div",
                element("div", shown, class_="figures"),
                [_table(by_measure[measure]) for measure in drawn.measures],
                class_="panel",
            )
        )
    options = [element("option", _title(drawn.measures), value=i) for i, drawn in enumerate(ordered)]
    toggles = [
        element("button", swatch(study, c), c.label, type="button", aria_pressed="true", data_condition=i)
        for i, c in enumerate(study.conditions)
    ]
    return join(
        element(
            "div",
            element("label", "Scores ", element("select", options, class_="choice"), class_="field"),
            class_="controls",
        ),
        element(
            "div", element("span", study.axis), toggles, class_="toggles", role="group", aria_label="Conditions shown"
        ),
        panels,
    )


def _names(measures: list[Measure]) -> str:
    return ", ".join(dict.fromkeys(metric_name(measure.metric) for measure in measures))


def _title(measures: list[Measure]) -> str:
    first = measures[0]
    classes = "" if first.attribute is None else f" by {first.attribute}"
    place = f"{first.feature_space} · against {first.reference} · N = {first.num_subject}"
    return f"{_names(measures)}{classes} · {place}"


def _table(table: Table) -> Html:
    table = table.shortened()
    means = [c.mean for line in table.lines for c in line.cells if c]
    head = [table.head, *(f"gen {g}" for g in table.generations), "seeds"]
    rows = []
    for line in table.lines:
        cells = []
        for generation, value, (is_best, is_greyed) in zip(table.generations, line.cells, marks(line), strict=True):
            direction = table.measure.direction
            shade = (
                None
                if value is None or is_greyed or direction == "none"
                else f"--share:{_badness(value.mean, means, direction):.0%}"
            )
            shown = f"({text(value, table.places)})" if is_greyed else text(value, table.places)
            remark = BEST if is_best else reason(table.study, table.measure) if is_greyed else None
            css = "best" if is_best else "greyed" if is_greyed else None
            about = _about(table, line, generation, shown, remark)
            cells.append(element("td", shown, style=shade, class_=css, title=about))
        name = element("th", line.condition.label, scope="row")
        rows.append(element("tr", name, cells, element("td", line.num_seeds)))
    for label in table.baselines:
        below_last = element("td", table.baseline(label), colspan=len(table.generations))
        rows.append(element("tr", element("th", label, scope="row"), below_last, element("td")))
    return element(
        "div",
        element("h3", table.name),
        element("p", " · ".join(table.facts()), class_="hint"),
        element(
            "div",
            element(
                "table",
                element("thead", element("tr", [element("th", word, scope="col") for word in head])),
                element("tbody", rows),
            ),
            class_="scroll",
        ),
        element("p", "; ".join(table.legend()) + ".", class_="hint") if table.legend() else None,
        class_="card",
    )


def _about(table: Table, line: Line, generation: int, shown: str, remark: str | None) -> str:
    """Return the tooltip of a cell: condition, generation, score, and a remark on why the cell is marked."""
    who = f"{table.head} {line.condition.label}" if table.study.by_ratio else line.condition.label
    return f"{who}, generation {generation}: {table.name} {shown}" + (f" · {remark}" if remark else "")


def _badness(value: float, every: list[float], direction: str) -> float:
    """Return the position of a value between the best (0) and the worst (1) of a table."""
    low, high = min(every), max(every)
    share = (value - low) / ((high - low) or 1)
    return share if direction == "down" else 1 - share
