"""The folder of results: `<name>/<version>/measured/<chain>.json`, or `…/claimed/<who>/<chain>.json`.

Results that the maintainers have run themselves are `measured` and form the reference. Results that others report are
`claimed` until they were run again. Claimed numbers enter no mean of the reference and are shown separately.
"""

import importlib.resources
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import LedgerError
from bench.ledger import Chain
from bench.results import result_file
from bench.results.result_file import study_of

MEASURED, CLAIMED = "measured", "claimed"


@dataclass(frozen=True)
class Entry:
    """One file of results. claimed_by: Who reports it; "" if the maintainers have measured it."""

    path: Path
    name: str
    version: str
    fingerprint: str
    claimed_by: str
    chain: Chain


def shipped() -> Path:
    """Return the folder of the results that come with this package."""
    return Path(str(importlib.resources.files("bench.data"))) / "results"


def read(folder: Path) -> list[Entry]:
    """Return all files below a folder, sorted by path.

    Raises:
        LedgerError: the folder does not exist, a file is not valid, or its path does not match its content.
    """
    if not folder.is_dir():
        raise LedgerError(f"{folder}: there is no such folder of results")
    entries = []
    for path in sorted(folder.rglob("*.json")):
        chain = result_file.read(path)
        claimed_by = path.parent.name if path.parent.parent.name == CLAIMED else ""
        expected = place(Path(), chain, claimed_by)
        if path.parts[-len(expected.parts) :] != expected.parts:
            raise LedgerError(f"{path}: its content belongs at {expected}")
        study = study_of(chain.rows[0])
        entries.append(Entry(path, study["name"], study["version"], study["fingerprint"], claimed_by, chain))
    return entries


def measured(entries: Sequence[Entry], name: str, version: str | None = None) -> list[Entry]:
    """Return the measured entries of a study.

    Args:
        entries: The entries to choose from.
        name: The name of the study.
        version: The version of the study. None selects the only version, or the highest one of a protocol.

    Raises:
        LedgerError: there is no such entry, or no version is given and a study without a protocol has several.
    """
    found = [entry for entry in entries if entry.name == name and not entry.claimed_by]
    versions = sorted({entry.version for entry in found})
    if not versions or version not in (None, *versions):
        known = ", ".join(sorted({f"{e.name} {e.version}" for e in entries if not e.claimed_by})) or "none"
        raise LedgerError(f"there are no results of {name} {version or ''}".rstrip() + f"; there are: {known}")
    if version is None and len(versions) > 1 and not all(map(str.isdigit, versions)):
        raise LedgerError(f"{name} has results of several versions: {', '.join(versions)}. Give one")
    chosen = version or (max(versions, key=int) if len(versions) > 1 else versions[0])
    return [entry for entry in found if entry.version == chosen]


def of_the_study(entries: Sequence[Entry], chain: Chain) -> list[Entry]:
    """Return the measured entries of the study that a chain belongs to. Raise `LedgerError` if there are none."""
    study = study_of(chain.rows[0])
    found = [e for e in entries if e.fingerprint == study["fingerprint"] and not e.claimed_by]
    if not found:
        own = [e for e in entries if e.name == study["name"]]
        others = sorted({e.fingerprint[:16] for e in own if not e.claimed_by})
        also = f"; there are results with fingerprint {', '.join(others)}" if others else ""
        also += "; there are claimed results" if any(e.fingerprint == study["fingerprint"] for e in own) else ""
        raise LedgerError(f"there are no reference results of {study['name']} {study['fingerprint'][:16]}{also}")
    return found


def place(folder: Path, chain: Chain, claimed_by: str = "") -> Path:
    """Return the path of a chain's file below a folder. claimed_by: Who reports it; "" if it is measured."""
    study = study_of(chain.rows[0])
    whose = Path(CLAIMED, claimed_by) if claimed_by else Path(MEASURED)
    return folder / study["name"] / study["version"] / whose / f"{chain.id}.json"


def pack(chains: Sequence[Chain], folder: Path, claimed_by: str = "") -> list[Path]:
    """Write the files of chains and return their paths. Existing numbers are never replaced.

    Raises:
        LedgerError: a chain lacks some of its generations, its file exists with other content, or `claimed_by` is not
            a valid name.
    """
    if claimed_by and not re.fullmatch(r"[\w-]{1,40}", claimed_by):
        raise LedgerError(f"claimed by {claimed_by!r}: give a name of letters, digits, - and _")
    texts = {}
    for chain in chains:
        planned = chain.rows[-1].config.get("num_generations", 0)
        if [row.generation for row in chain.rows] != list(range(planned)):
            raise LedgerError(f"{chain.id} has {len(chain.rows)} of {planned} generations: let it finish first")
        path, text = place(folder, chain, claimed_by), result_file.to_text(result_file.body_of(chain))
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise LedgerError(
                f"{path} exists with different content: delete it first if its numbers are to be replaced"
            )
        texts[path] = text
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(texts)
