"""The summary printed at the end of a run or a sweep: a table, the verdicts, the important paths, the next command."""

import sys
from collections.abc import Iterable
from pathlib import Path

from bench import ledger
from bench.analysis.score_tables import main_tables
from bench.analysis.study import Study, studies
from bench.errors import BenchError
from bench.kinds import TOKENS
from bench.report import tables

MOST_STUDIES = 2
"""Largest number of studies whose tables are printed; further ones are only counted."""


def show(runs: Iterable[Path], sweep: Path) -> None:
    """Print the table of the first score and the verdicts of the chains below `runs` to stdout, and where to look next
    to stderr. If no table can be printed, print the reason instead of raising an error, so that a successful run does
    not fail here.

    Args:
        runs: The directories of chains or of a sweep.
        sweep: The directory of the sweep.
    """
    try:
        every = studies(ledger.read_runs(list(runs)))
        shown = [_study(study) for study in every[:MOST_STUDIES]]
    except BenchError as error:
        print(f"There is no table: {error}", file=sys.stderr)
        return
    print("\n" + "\n".join(shown), flush=True)
    if len(every) > MOST_STUDIES:
        print(f"{sweep} has {len(every) - MOST_STUDIES} further settings, which the report shows.", file=sys.stderr)
    print(f"Results:  {sweep}/*/{ledger.FILENAME}", file=sys.stderr)
    what = "Texts:   " if all(study.kind is TOKENS for study in every) else "Pictures:"
    print(f"{what} {sweep}/*/probes/      the same noise in every generation", file=sys.stderr)
    print(f"Next:     python -m bench.report {sweep}      all scores, figures and a page", file=sys.stderr)


def _study(study: Study) -> str:
    table = main_tables(study)[0]
    return f"{tables.table_markdown(table)}\n{tables.verdict_lines(study)}"
