"""Checks that a file of results must pass before it is added to the repository, besides validity (`shelf.read`)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.analysis.conditions import condition_of
from bench.analysis.publishable import everywhere
from bench.results import result_file
from bench.results.shelf import Entry

MOST_OF_A_FILE = 100_000
"""Maximum size of one file, bytes."""
MOST_IN_ALL = 5_000_000
"""Maximum size of all files together, bytes; every user downloads them with the package."""
PRIVATE = {
    "a mail address": re.compile(r"[\w.+-]+@[\w-]+\.\w{2,}"),
    "a network address": re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b[\w-]+\.(?:local|lan|internal|corp)\b"),
    "a secret": re.compile(
        r"\b(?:gh[pousr]|hf|sk|pk|xox[bp])[_-]\w{16,}|\bAKIA\w{12,}|"
        r"(?i:api_?key|secret|passw(?:or)?d|access_?token)[\"']?\s*[=:]\s*[\"']?[^\s\"',{}\[\]]{6,}"
    ),
    "the name of a machine or a person": re.compile(r'"(?i:host|hostname|node|user|username|entity)":\s*"[^"]'),
}


def problems(entries: Sequence[Entry], known: Mapping[str, str]) -> list[str]:
    """Return the reasons why these files may not be added, one sentence each; [] if they may.

    Args:
        entries: All files of a folder of results.
        known: `name vVERSION` of every protocol -> its fingerprint.
    """
    found = [f"{entry.path.name}: {line}" for entry in entries for line in _of_a_file(entry, known)]
    total = sum(entry.path.stat().st_size for entry in entries)
    found += [f"all files have {total} bytes, of at most {MOST_IN_ALL}"] if total > MOST_IN_ALL else []
    studies: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        studies.setdefault((entry.name, entry.version, entry.claimed_by), []).append(entry)
    return found + [line for study in studies.values() for line in left_out(study)]


def _of_a_file(entry: Entry, known: Mapping[str, str]) -> Iterable[str]:
    text = entry.path.read_text(encoding="utf-8")
    if len(text.encode()) > MOST_OF_A_FILE:
        yield f"has {len(text.encode())} bytes, of at most {MOST_OF_A_FILE}"
    row = entry.chain.rows[0]
    if entry.name == row.protocol.get("name"):
        expected = known.get(f"{entry.name} v{entry.version}")
        if entry.fingerprint != expected:
            yield f"its fingerprint {entry.fingerprint[:16]} is not that of {entry.name} version {entry.version}"
    if text != result_file.to_text(result_file.parse(text)):
        yield "was not written by `python -m bench.results pack`"
    yield from private(result_file.parse(text))
    if len(entry.chain.rows) != row.config.get("num_generations"):
        yield f"has {len(entry.chain.rows)} of {row.config.get('num_generations')} generations"


def private(body: dict[str, Any]) -> Iterable[str]:
    """Yield the information about a machine or a person that a file contains: folders, names, addresses, secrets."""
    text = result_file.to_text(body)
    if everywhere(body) != body:
        yield "names a folder on a machine"
    for what, pattern in PRIVATE.items():
        if match := pattern.search(text):
            yield f"has {what}: {match.group()[:60]}"


def left_out(study: Sequence[Entry]) -> list[str]:
    """Return one sentence for each condition of a study that lacks seeds.

    A condition is expected to have all seeds up to the last one that any condition of the study has, in the order of
    the protocol (without a protocol: from 0 upwards).
    """
    rows = [entry.chain.rows[0] for entry in study]
    by_condition: dict[tuple[str, Any], set[int]] = {}
    for row in rows:
        split = row.config.get("data", {}).get("split_seed")
        by_condition.setdefault((condition_of(row).label, split), set()).add(row.seed)
    order = rows[0].config.get("protocol", {}).get("free", {}).get("seed") or list(range(max(r.seed for r in rows) + 1))
    expected = order[: max((order.index(row.seed) for row in rows if row.seed in order), default=-1) + 1]
    lacking = {key: [seed for seed in expected if seed not in seeds] for key, seeds in by_condition.items()}
    name = f"{study[0].name} {study[0].version}"
    return [
        f"{name}, {label}" + (f" at split {split}" if split else "") + f": {were_left_out(seeds)}"
        for (label, split), seeds in lacking.items()
        if seeds
    ]


def were_left_out(seeds: Sequence[int]) -> str:
    """Return e.g. `seeds 1, 2 were left out`."""
    listed = ", ".join(map(str, seeds))
    return f"seeds {listed} were left out" if len(seeds) > 1 else f"seed {listed} was left out"
