"""Everything the report consists of, in one call."""

import re
from dataclasses import dataclass
from pathlib import Path

from bench import ledger
from bench.report import figures, strip, tables
from bench.report.study import studies


@dataclass(frozen=True)
class Report:
    """paths: every file written; text: the tables as Markdown, with what is missing said below them."""

    paths: list[Path]
    text: str


def write(run_dirs: list[Path], out: Path) -> Report:
    """The report of the chains below `run_dirs`, into `out`. What cannot be shown (pictures gone, chains cut
    short) is named in the text and left out. Raises `LedgerError` where there is no ledger, or a damaged
    one."""
    found = studies(ledger.read_runs(run_dirs))
    out.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    texts: list[str] = []
    for study in found:
        prefix = "" if len(found) == 1 else f"{_slug(study.title)}_"
        paths += figures.curves(study, out, f"{prefix}scores")
        pictures, missing = strip.strip(study, out, f"{prefix}samples")
        paths += pictures
        texts.append(tables.markdown(study) + "".join(f"\n> {line}\n" for line in _shortened(missing)))
    text = "\n".join(texts)
    table = out / "tables.md"
    table.write_text(text)
    return Report([table, *paths], text)


def _shortened(lines: list[str], most: int = 5) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"… and {len(lines) - most} more"]


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-")
