"""Excerpts of the results for README.md and docs/index.md, generated from the same files as the leaderboard.

`python docs/generate.py` writes them.
"""

from collections.abc import Sequence

from bench.analysis.collapse import RISING
from bench.analysis.collapse_profile import ANY, HALLUCINATION, VARIANCE, profile
from bench.analysis.notes import mixed_devices
from bench.analysis.score_tables import Table, main_tables
from bench.analysis.setting import data_of
from bench.analysis.study import studies
from bench.analysis.verdicts import critical_words, growth, percent, verdict
from bench.report.tables import markdown_table, text
from bench.results import shelf
from bench.results.pages import page_name
from bench.results.shelf import Entry

QUICK, PROTOCOL = "quick", "collapse_mini_v1"
SCORES = ("fid", "coverage")
RISING_MEANS = "“Rising”: with so few seeds it is open whether FID goes on rising or levels off."


def quick(entries: Sequence[Entry]) -> str:
    """Return the results of `make run`: scores of both ratios by generation, and the verdicts.

    Args:
        entries: The entries of all studies.

    Raises:
        LedgerError: there is no result of `make run`, or there are several versions.
    """
    own = shelf.measured(entries, QUICK)
    (study,) = studies(entry.chain for entry in own)
    fid, coverage = (next(table for table in main_tables(study) if table.measure.metric == metric) for metric in SCORES)
    floor = next(fid.baseline(label) for label in fid.baselines if label.startswith("floor"))
    seeds = "one seed" if len(study.seeds) == 1 else f"{len(study.seeds)} seeds"
    page = f"[all of it](results/{page_name(own[0])})"
    about = f"{seeds}, FID in `{fid.measure.feature_space}`, floor {floor}, {coverage.measure.sizes}; {page}:"
    head = ["synthetic ratio", "score", *(f"gen {generation}" for generation in fid.generations)]
    rows = [_cells(table, number) for number in range(len(study.conditions)) for table in (fid, coverage)]
    judged = [
        f"Ratio {condition.label} is **{found.badge}**: {'; '.join(found.words.split('; ')[:2])}."
        for condition in study.conditions
        for found in [verdict(study, condition)]
    ]
    return "\n\n".join([about, markdown_table(head, rows, num_words=2), "\n".join(judged)])


def how_much(entries: Sequence[Entry]) -> str:
    """Return the protocol's results for each ratio of the policy `blend`: verdict, changes, and the critical ratio.

    Args:
        entries: The entries of all studies.

    Raises:
        LedgerError: the protocol has no results.
    """
    own = shelf.measured(entries, PROTOCOL)
    study = studies(entry.chain for entry in own)[0]  # the first of several splits of the data
    system = f"{study.rows[0].generator} on {data_of(study.rows[0])}"
    fid, coverage = (next(table for table in main_tables(study) if table.measure.metric == name) for name in SCORES)
    floor = next(fid.baseline(label) for label in fid.baselines if label.startswith("floor"))
    plain = next(i for i, c in enumerate(study.conditions) if c.ratio == 0 and c.is_plain)
    start = [text(table.lines[plain].cells[0], table.places) for table in (fid, coverage)]
    about = f"`{own[0].name}` version {own[0].version}, {system}, {len(study.seeds)} seeds, "
    about += f"{len(study.generations)} generations, FID in `{fid.measure.feature_space}` (floor {floor}; generation 0 "
    about += f"at ratio 0: {start[0]}, coverage {start[1]}); "
    about += f"[all of it](docs/results/{page_name(own[0])}):"
    meanings = {ANY: "rise of risk", VARIANCE: "loss of diversity", HALLUCINATION: "impossible pairs"}
    found = profile(study, [study])
    rows = []
    for condition in (c for c in study.conditions if c.policy == "blend"):
        rise = growth(study, condition)
        known = {finding.meaning: finding for finding in found[condition]}
        cells = [condition.label, verdict(study, condition).badge, "–" if rise is None else percent(rise.rise)]
        rows.append([*cells, *(known[meaning].change_with_span for meaning in meanings)])
    table = markdown_table(["synthetic ratio", "verdict", "rise of FID", *meanings.values()], rows)
    rising = [RISING_MEANS] if any(badge == RISING for _, badge, *_ in rows) else []
    devices = [f"{note[0].upper()}{note[1:]}." for note in mixed_devices(study.chains)]
    return "\n\n".join([about, table, " ".join(filter(None, [critical_words(study), *rising, *devices]))])


def _cells(table: Table, number: int) -> list[str]:
    """Return one row of the table: a condition's label, the score and its means by generation."""
    line = table.lines[number]
    return [line.condition.label, table.name, *(text(cell, table.places) for cell in line.cells)]
