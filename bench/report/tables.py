"""Tables of a study: condition × generation, one per score."""

from bench.report.cells import Cell, cell, digits
from bench.report.study import MAIN_METRICS, Measure, Study

NAMES = {"fid": "FID", "kid": "KID"}


def metric_name(metric: str) -> str:
    return NAMES.get(metric, metric.replace("_", " "))


def markdown(study: Study) -> str:
    """Every main score of the study as Markdown, with all that is needed to read it."""
    parts = [f"## {study.title}"]
    for metric in MAIN_METRICS:
        parts += [_markdown_table(study, measure) for measure in study.measures(metric)]
    if study.notes:
        parts.append("\n".join(f"> {note}" for note in study.notes))
    return "\n\n".join(parts) + "\n"


def _markdown_table(study: Study, measure: Measure) -> str:
    cells = {
        condition: [cell(study.values(condition, g, measure).values()) for g in study.generations]
        for condition in study.conditions
    }
    present = [c for row in cells.values() for c in row if c]
    floor = study.floor(measure)
    places = digits([c.mean for c in present])
    head = "synthetic ratio" if study.by_ratio else "mixing policy"
    lines = [
        f"**{metric_name(measure.metric)} {measure.arrow}** · {measure.feature_space} · against {measure.reference} "
        f"· {measure.sizes}",
        "",
        f"| {head} | " + " | ".join(f"gen {g}" for g in study.generations) + " | seeds |",
        "|:--|" + "--:|" * (len(study.generations) + 1),
    ]
    for condition, row in cells.items():
        shown = " | ".join(text(c, places) for c in row)
        lines.append(f"| {condition.label} | {shown} | {len(study.chains[condition])} |")
    if floor is not None:
        blank = " | " * len(study.generations)
        lines.append(f"| floor: real images | {floor:.{places}f}{blank} |")
    many = any(c.n > 1 for c in present)
    single = any(c.n == 1 for c in present)
    said = ["± is the 95 % interval of the mean over seeds (Student's t)"] if many else []
    said += ["a single seed has no interval"] if single else []
    return "\n".join([*lines, "", f"*{'; '.join(said)}.*"])


def text(value: Cell | None, places: int) -> str:
    """`12.3 ± 0.4`, `12.3` for a single seed, an en dash where there is nothing."""
    if value is None:
        return "–"
    if value.half_width is None:
        return f"{value.mean:.{places}f}"
    return f"{value.mean:.{places}f} ± {value.half_width:.{places}f}"
