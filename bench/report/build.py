"""Everything the report consists of, in one call."""

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import ledger
from bench.analysis import verdicts
from bench.analysis.study import Study, check_unmixed, studies
from bench.errors import ConfigError
from bench.report import card, citing, figures, overview, page, strip, survival, tables


@dataclass(frozen=True)
class Report:
    """paths: every file written; text: the tables as Markdown, with what is missing said below them."""

    paths: list[Path]
    text: str


def write(run_dirs: list[Path], out: Path, mixed: bool = False) -> Report:
    """The report of the chains below `run_dirs`, into `out`. What cannot be shown (pictures gone, chains cut short) is
    named in the text and left out. mixed: whether different protocols or feature spaces may stand side by side.

    Raises `LedgerError` where there is no ledger, or a damaged one, or where runs are mixed and should not be, and
    `ConfigError` where `out` cannot be written to.
    """
    chains = ledger.read_runs(run_dirs)
    if not mixed:
        check_unmixed(chains)
    found = studies(chains)
    _make_writable(out)
    texts: list[str] = []
    pictures: list[Path] = []
    missing: list[str] = []
    prefixes = {study.hash: "" if len(found) == 1 else f"{_slug(study)}_" for study in found}
    for study in found:
        prefix = prefixes[study.hash]
        pictures += figures.curves(study, out, f"{prefix}scores")
        pictures += overview.final_scores(study, out, f"{prefix}final")
        pictures += overview.phase_diagram(study, out, f"{prefix}phase")
        pictures += overview.trajectories(study, out, f"{prefix}trajectories")
        pictures += survival.survival(study, out, f"{prefix}survival")
        written, gone = strip.strip(study, out, f"{prefix}samples")
        pictures += written
        gone = _shortened(gone)
        missing += gone
        texts.append(tables.markdown(study) + verdicts.markdown(study) + "".join(f"\n> {line}\n" for line in gone))
    text = "\n".join(texts)
    files = {"tables.md": text, "tables.csv": tables.to_csv(found), "tables.tex": tables.latex(found)}
    for study in found:
        prefix = prefixes[study.hash]
        body = card.card(study)
        files[f"{prefix}card.json"] = json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        files[f"{prefix}card.md"] = card.to_markdown(study, body)
    files["citations.bib"] = citing.bibtex(found)
    for name, content in files.items():
        (out / name).write_text(content, encoding="utf-8")
    html = page.page(found, files, missing, out)
    return Report([html, *(out / name for name in files), *pictures], text)


def _make_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise ConfigError("out", str(out), f"must be a directory that can be written to ({error.strerror})") from error


def _shortened(lines: list[str], most: int = 5) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"… and {len(lines) - most} more"]


def _slug(study: Study, most: int = 60) -> str:
    """For names of files: short, and of one study only."""
    words = re.sub(r"[^a-z0-9.]+", "-", study.title.lower())[: most - len(study.hash) - 1].strip("-.")
    return f"{words}-{study.hash}"
