"""What a run or a sweep ends with: a table, the verdicts, the paths that matter and the next command."""

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
"""Studies of which a table is printed; those of a folder with more settings are counted."""


def show(runs: Iterable[Path], sweep: Path) -> None:
    """Print the first score and the verdicts of the chains below `runs` on stdout, and where to look next on stderr.
    Says why there is no table where there is none; a run that went well does not fail here.

    Args:
        runs: directories of chains or of a sweep.
        sweep: the directory of the sweep.
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
