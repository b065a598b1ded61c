"""The tables of the README, made from files of results like the leaderboard; `python docs/generate.py` writes them."""

from collections.abc import Callable, Sequence

from bench.analysis.score_tables import Table, main_tables
from bench.analysis.study import Study, studies
from bench.analysis.verdicts import verdict
from bench.report.tables import text
from bench.results import shelf
from bench.results.pages import markdown_table, page_name
from bench.results.shelf import Entry

QUICK = "quick"
SCORES = ("fid", "coverage")
"""What the table of `make run` shows."""


def quick(entries: Sequence[Entry]) -> str:
    """Return what `make run` shows: scores of both ratios by generation, and the verdicts. entries: of all studies."""
    study, page = _study(entries, QUICK)
    tables = [table for table in main_tables(study) if table.measure.metric in SCORES]
    fid = next(table.measure for table in tables if table.measure.metric == "fid")
    head = ["synthetic ratio", "score", *(f"gen {generation}" for generation in tables[0].generations)]
    rows = [_cells(table, number) for number in range(len(study.conditions)) for table in tables]
    judged = [
        f"Ratio {condition.label} is **{found.badge}**: {'; '.join(found.words.split('; ')[:2])}."
        for condition in study.conditions
        for found in [verdict(study, condition)]
    ]
    about = f"{_seeds(study)}, FID in `{fid.feature_space}` at N = {fid.num_subject}; {page}:"
    return "\n\n".join([about, markdown_table(head, rows), "\n".join(judged)])


TABLES: dict[str, Callable[[Sequence[Entry]], str]] = {QUICK: quick}
"""Name of a study, between whose marks in the README the table stands."""


def _study(entries: Sequence[Entry], name: str) -> tuple[Study, str]:
    """Return a study, and the link to its page."""
    own = shelf.measured(entries, name)
    (study,) = studies(entry.chain for entry in own)
    return study, f"[all of it](docs/results/{page_name(own[0])})"


def _seeds(study: Study) -> str:
    return "one seed" if len(study.seeds) == 1 else f"{len(study.seeds)} seeds"


def _cells(table: Table, number: int) -> list[str]:
    """Return a row: a condition's label, the score and its means by generation."""
    line = table.lines[number]
    return [line.condition.label, table.name, *(text(cell, table.places) for cell in line.cells)]
