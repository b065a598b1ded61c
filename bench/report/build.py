"""Write all files of a report in one call."""

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import ledger
from bench.analysis.families import members
from bench.analysis.plain_text import visible
from bench.analysis.publishable import everywhere, places_of, without_folders
from bench.analysis.results_card import card
from bench.analysis.setting import check_unmixed
from bench.analysis.study import Study, studies
from bench.errors import ConfigError
from bench.report import citing, families, figures, statements, tables
from bench.report.card import to_markdown
from bench.report.first_mover_statement import first_mover
from bench.report.oracle_map import state_map
from bench.report.page import page
from bench.report.ranking_statement import ranking
from bench.report.sizes_statement import size_statements
from bench.report.vetting_statement import vetting


@dataclass(frozen=True)
class Written:
    """The result of `write`.

    paths: Every file that was written.
    text: The tables and verdicts as Markdown, followed by what is missing.
    """

    paths: list[Path]
    text: str


def write(run_dirs: list[Path], out: Path, mixed: bool = False) -> Written:
    """Write the report on the chains below `run_dirs` into `out`.

    What cannot be shown (samples that were deleted, chains that ended early) is left out and listed in the text.

    Args:
        run_dirs: Directories of chains or sweeps, or ledger files.
        out: The directory to write to; it is created if needed.
        mixed: Whether the runs may have different protocols or feature spaces.

    Raises:
        LedgerError: there is no ledger, a ledger is damaged, or runs are mixed without permission.
        ConfigError: `out` cannot be written to.
    """
    chains = ledger.read_runs(run_dirs)
    if not mixed:
        check_unmixed(chains)
    every = studies(chains)
    places = places_of(chains)
    _make_writable(out)
    texts: list[str] = []
    cards: dict[str, str] = {}
    drawn = []
    stated = {study: all_statements(study, every) for study in every}
    side_by_side = members(every)
    of_families = families.statements(side_by_side)
    family_figure = families.figure(side_by_side, out)
    if of_families:
        texts.append("\n".join([f"## {families.TITLE}\n", *map(statements.to_markdown, of_families)]))
    for study in every:
        prefix = "" if len(every) == 1 else f"{_slug(study)}_"
        shown = figures.draw(study, every, out, prefix)
        drawn.append((study, shown))
        missing = "".join(f"\n> {line}\n" for line in shown.missing)
        below = "".join(f"\n{statements.to_markdown(statement)}" for statement in stated[study])
        texts.append(tables.markdown(study) + tables.verdict_lines(study) + below + missing)
        body = everywhere(card(study, every), places)
        cards[f"{prefix}card.json"] = json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        cards[f"{prefix}card.md"] = to_markdown(study, body, stated[study])
    text = without_folders("\n".join(texts), places)
    latex = [
        tables.latex(every),
        *(statements.to_latex(one) + "\n" for found in [of_families, *stated.values()] for one in found),
    ]
    files = {"tables.md": text, "tables.csv": tables.to_csv(every), "tables.tex": "\n".join(latex)}
    files |= {"statements.csv": statements.to_csv([(every[0], of_families), *stated.items()])}
    files |= {**cards, "citations.bib": citing.bibtex(every)}
    files = {
        name: content if name.endswith(".json") else without_folders(content, places) for name, content in files.items()
    }
    for name, content in files.items():
        (out / name).write_text(content if name.endswith(".json") else visible(content), encoding="utf-8")
    html = page(drawn, stated, files, out, (of_families, family_figure))
    figure_paths = [*family_figure, *(path for _, shown in drawn for path in shown.paths)]
    return Written([html, *(out / name for name in files), *figure_paths], text)


def all_statements(study: Study, every: list[Study]) -> list[statements.Statement]:
    """Return every statement about a study. every: All available studies, because some statements compare several."""
    own = [*state_map(study), *vetting(study), *ranking(study), *size_statements(study, every), *first_mover(study)]
    return [*statements.statements(study, every), *own]


def _make_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise ConfigError("out", str(out), f"must be a directory that can be written to ({error.strerror})") from error


def _slug(study: Study, most: int = 60) -> str:
    """Return a prefix for file names that is short and unique for every study."""
    words = re.sub(r"[^a-z0-9.]+", "-", study.title.lower())[: most - len(study.hash) - 1].strip("-.")
    return f"{words}-{study.hash}"
