"""A table of z that compares a run with its reference: one row per condition and score, one column per generation."""

from bench.analysis.measures import metric_name
from bench.report.tables import markdown_table
from bench.results import likeness
from bench.results.likeness import Compared, Likeness
from bench.results.verification import describe

MOST = 5
"""Number of scores that are listed individually, the most different first."""


def z_table(found: Likeness) -> str:
    """Return the table, the number of chains whose samples equal those of the reference, and the outcome."""
    lines: dict[tuple[str, str, str], dict[int, Compared]] = {}
    for one in found.compared:
        key = (one.condition.label, metric_name(one.measure.metric), one.measure.feature_space)
        lines.setdefault(key, {})[one.generation] = one
    generations = sorted({one.generation for one in found.compared})
    head = ["condition", "score", "space", *(f"gen {generation}" for generation in generations)]
    rows = [[*key, *(_cell(found.get(generation)) for generation in generations)] for key, found in lines.items()]
    beyond = likeness.different(found.compared)
    num_judged = sum(one.p is not None for one in found.compared)
    rest = [f"and {len(beyond) - MOST} more"] if len(beyond) > MOST else []
    return "\n".join(
        [
            markdown_table(head, rows, num_words=3) if lines else "no score is in both",
            "",
            "z: (run − reference) in standard errors over seeds; =: equal in the digits of a file; –: no spread.",
            f"{len(found.same)} chains have the samples of the reference, {len(found.other)} others, "
            f"{len(found.alone)} are not in the reference.",
            *(lines[0] for lines in found.contradictions.values()),
            f"{len(beyond)} of {num_judged} scores differ beyond chance (p · {num_judged} < {likeness.ALPHA}).",
            *(f"- {describe(one)}" for one in beyond[:MOST]),
            *rest,
            f"Outcome: {found.outcome}.",
        ]
    )


def _cell(one: Compared | None) -> str:
    if one is None:
        return ""
    if likeness.equal(one.run, one.reference):
        return "="
    return "–" if one.z is None else f"{one.z:+.1f}"
