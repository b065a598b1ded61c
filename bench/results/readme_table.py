"""The README's table of `make run`, made from files of results like the leaderboard; `python docs/generate.py` writes
it."""

from collections.abc import Sequence

from bench.analysis.score_tables import Table, main_tables
from bench.analysis.study import studies
from bench.analysis.verdicts import verdict
from bench.report.tables import markdown_table, text
from bench.results import shelf
from bench.results.pages import page_name
from bench.results.shelf import Entry

QUICK = "quick"
SCORES = ("fid", "coverage")


def readme_table(entries: Sequence[Entry]) -> str:
    """Return what `make run` shows: scores of both ratios by generation, and the verdicts.

    Args:
        entries: of all studies.

    Raises:
        LedgerError: there is no result of `make run`, or there are several versions.
    """
    own = shelf.measured(entries, QUICK)
    (study,) = studies(entry.chain for entry in own)
    fid, coverage = (next(table for table in main_tables(study) if table.measure.metric == metric) for metric in SCORES)
    floor = next(fid.baseline(label) for label in fid.baselines if label.startswith("floor"))
    seeds = "one seed" if len(study.seeds) == 1 else f"{len(study.seeds)} seeds"
    page = f"[all of it](docs/results/{page_name(own[0])})"
    about = f"{seeds}, FID in `{fid.measure.feature_space}`, floor {floor}, {coverage.measure.sizes}; {page}:"
    head = ["synthetic ratio", "score", *(f"gen {generation}" for generation in fid.generations)]
    rows = [_cells(table, number) for number in range(len(study.conditions)) for table in (fid, coverage)]
    judged = [
        f"Ratio {condition.label} is **{found.badge}**: {'; '.join(found.words.split('; ')[:2])}."
        for condition in study.conditions
        for found in [verdict(study, condition)]
    ]
    return "\n\n".join([about, markdown_table(head, rows, num_words=2), "\n".join(judged)])


def _cells(table: Table, number: int) -> list[str]:
    """Return a row: a condition's label, the score and its means by generation."""
    line = table.lines[number]
    return [line.condition.label, table.name, *(text(cell, table.places) for cell in line.cells)]
