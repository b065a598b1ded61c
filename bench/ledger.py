"""The ledger: one JSON line per scored generation, and the record of truth.

All tables, figures and pages are computed from these lines. A line is written at once and flushed to the disk, so a run
that is killed leaves at most one incomplete line. An incomplete line is never used: readers skip it, the next `append`
cuts it off, and both log this. Any other damage is an error that names the file and the line.

A line ends with a digest of everything else in it, so a value that was changed later counts as damage. Only one process
at a time may append to a ledger; `bench.recording` holds a lease for that.
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.errors import LedgerError

log = logging.getLogger(__name__)

SCHEMA = 1
FILENAME = "ledger.jsonl"

OPTIONAL = frozenset({"vetting", "selection", "remedy", "joined", "code", "checksums", "digest"})
"""Keys that rows of older versions of this schema lack. A row without a digest cannot be checked, which is logged."""

REBUILD = "delete the file and run the same command again: it is written anew from the store"

_COMPOSITION_KEYS = ("num_real", "num_synthetic", "synthetic_ratio", "per_generation")
_SCORE_KEYS = (
    *("metric", "feature_space", "reference", "subject", "num_subject", "num_reference"),
    *("parameters", "value", "direction"),
)


@dataclass(frozen=True)
class Row:
    """One scored generation of one chain.

    composition: at least `num_real`, `num_synthetic`, `synthetic_ratio` and `per_generation` (the generation that
        produced the items, as text -> number of items).
    scores: dicts of metric, feature_space, reference, subject (`samples`, or `real_train` for the
        real-vs-real floor), num_subject, num_reference, parameters, value and direction (`up`: higher is
        better; `down`: lower is better; `none`: neither).
    train, sample, score: facts of each stage, including `seconds`.
    artifacts: name -> path relative to `store_dir`.
    vetting, selection, remedy, joined: facts of these stages; empty if the chain does not have the stage, and in rows
        of older versions.
    code: the versions of the code by stage (`bench.code_versions`); empty in rows of older versions.
    checksums: stage -> SHA-256 of the content of all files of its result, and "probes" -> SHA-256 of that file. Empty
        in rows of older versions.

    Raises `LedgerError` if a text, integer, object or list has another type, a key is missing, a score's value is not
    a finite number, or `wall_seconds` is not a number of at least 0.
    """

    chain: str
    sweep: str
    generation: int
    seed: int
    policy: str
    dataset: str
    generator: str
    composition: dict[str, Any]
    scores: list[dict[str, Any]]
    train: dict[str, Any]
    sample: dict[str, Any]
    score: dict[str, Any]
    artifacts: dict[str, str]
    store_dir: str
    config: dict[str, Any]
    config_hash: str
    protocol: dict[str, Any]
    environment: dict[str, Any]
    finished_at: str
    wall_seconds: float
    vetting: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)
    remedy: dict[str, Any] = field(default_factory=dict)
    joined: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise LedgerError(f"schema {self.schema!r}: this version reads schema {SCHEMA}")
        for name in ("generation", "seed"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise LedgerError(f"{name} is {value!r}, expected an integer of at least 0")
        if type(self.wall_seconds) not in (int, float) or not 0 <= self.wall_seconds < math.inf:
            raise LedgerError(f"wall_seconds is {self.wall_seconds!r}, expected a number of seconds of at least 0")
        for name in _fields_of(str):
            if not isinstance(getattr(self, name), str):
                raise LedgerError(f"{name} is {getattr(self, name)!r}, expected text")
        for name in _fields_of(dict):
            if not isinstance(getattr(self, name), dict):
                raise LedgerError(f"{name} is {getattr(self, name)!r}, expected an object")
        _check_keys("composition", self.composition, _COMPOSITION_KEYS)
        if not isinstance(self.scores, list):
            raise LedgerError(f"scores is {self.scores!r}, expected a list")
        for entry in self.scores:
            _check_score(entry)


def _fields_of(kind: type) -> list[str]:
    return [f.name for f in fields(Row) if getattr(f.type, "__origin__", f.type) is kind]


def _check_keys(name: str, value: Any, keys: Iterable[str]) -> None:
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing:
        raise LedgerError(f"{name} lacks {', '.join(missing)}")


def _check_score(entry: Any) -> None:
    _check_keys("a score", entry, _SCORE_KEYS)
    value = entry["value"]
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise LedgerError(f"score {entry['metric']!r} has value {value!r}, expected a finite number")
    if entry["direction"] not in ("up", "down", "none"):
        raise LedgerError(f"score {entry['metric']!r} has direction {entry['direction']!r}, expected up, down or none")


@dataclass(frozen=True)
class Chain:
    """The rows of one chain, by ascending generation. notes: warnings about the file, for a reader of the results."""

    id: str
    directory: Path
    rows: list[Row]
    notes: list[str] = field(default_factory=list)


def score_key(entry: dict[str, Any]) -> str:
    """Return the full name of a score, as W&B and the page use it.

    It is `efficientnet_lite0/precision_k3` for samples against held-out images, `floor/efficientnet_lite0/fid` for
    real_train against held-out images, and otherwise names both sides.
    """
    name = entry["metric"] + "".join(f"_{k}{v}" for k, v in sorted(entry["parameters"].items()))
    name = f"{entry['feature_space']}/{name}"
    if entry["reference"] != "heldout":
        return f"{entry['subject']}_vs_{entry['reference']}/{name}"
    if entry["subject"] == "samples":
        return name
    return f"floor/{name}" if entry["subject"] == "real_train" else f"{entry['subject']}/{name}"


def to_line(row: Row) -> str:
    """Return the row as one line of JSON, with keys in the schema's order and the digest at the end. Raises
    `LedgerError` for values that JSON cannot hold."""
    body = asdict(row)
    body = {"schema": body.pop("schema"), **body}
    try:
        body["digest"] = digest_of(json.loads(json.dumps(body, allow_nan=False)))
        return json.dumps(body, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise LedgerError(f"generation {row.generation} of {row.chain} cannot be written as JSON: {error}") from error


def digest_of(body: dict[str, Any]) -> str:
    """Return the SHA-256 of a row's JSON object without its digest, independent of the order of its keys."""
    rest = {key: value for key, value in body.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def append(path: Path, row: Row) -> None:
    """Append one line and wait until it is on the disk. A half-written last line is cut off first, and this is logged.

    Raises `LedgerError` for a row of another chain, and for a generation that is already there: rows are never
    replaced.
    """
    line = to_line(row).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        _cut_half_line(path)
        for known in read(path):
            if known.chain != row.chain:
                raise LedgerError(f"{path} belongs to chain {known.chain}, not to {row.chain}")
            if known.generation == row.generation:
                raise LedgerError(f"{path} already has generation {row.generation}")
    with path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Row]:
    """Return the rows of all complete lines, by ascending generation.

    Raises `LedgerError` with file and line number for a line that is not a row of this schema, for a row that was
    changed after it was written, for a repeated generation and for a second chain in one file.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Row], list[str]]:
    try:
        body = path.read_bytes()
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}") from error
    whole, _, half = body.rpartition(b"\n")
    notes = []
    if half:
        notes.append(f"{path}: the last line is only half written ({len(half)} bytes) and was left out")
        log.warning(notes[-1])
    rows: dict[int, Row] = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = _parse(line)
        except LedgerError as error:
            raise LedgerError(f"{path}, line {number}: {error}; {REBUILD}") from error
        if row.generation in rows:
            raise LedgerError(f"{path}, line {number}: generation {row.generation} is there twice; {REBUILD}")
        if rows and row.chain != next(iter(rows.values())).chain:
            raise LedgerError(f"{path}, line {number}: a second chain, {row.chain}, in one file; {REBUILD}")
        rows[row.generation] = row
    return [rows[generation] for generation in sorted(rows)], notes


def _parse(line: bytes) -> Row:
    try:
        body = json.loads(line)
    except ValueError as error:  # a UnicodeDecodeError is one too
        raise LedgerError(f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise LedgerError(f"not an object but {type(body).__name__}")
    names = {f.name for f in fields(Row)} | {"digest"}
    missing, unknown = sorted(names - OPTIONAL - body.keys()), sorted(body.keys() - names)
    if missing or unknown:
        problems = [f"lacks {', '.join(missing)}"] if missing else []
        problems += [f"has unknown {', '.join(unknown)}"] if unknown else []
        raise LedgerError("; ".join(problems))
    row = Row(**{key: value for key, value in body.items() if key != "digest"})
    if "digest" not in body and not row.checksums:
        _warn_of_rows_without_digest()
    elif body.get("digest") != digest_of(body):
        raise LedgerError(f"generation {row.generation} was changed after it was written: its digest does not match")
    return row


@lru_cache
def _warn_of_rows_without_digest() -> None:
    log.warning("Some rows were written by an older version, without a digest: changes to them cannot be noticed")


def _cut_half_line(path: Path) -> None:
    body = path.read_bytes()
    end = body.rfind(b"\n") + 1
    if end < len(body):
        log.warning("%s: cut off a half-written last line of %d bytes", path, len(body) - end)
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())


def read_runs(paths: Iterable[Path]) -> list[Chain]:
    """Return the chains below each path, sorted by id. A chain that is reached by two paths is returned once.

    A path is a ledger file, or the directory of a chain, of a sweep, or of several sweeps. A ledger without a complete
    line is left out, with a warning in the log.

    Of two copies of a chain that have the same scores, the longer one is returned, with a note.

    Raises `LedgerError` if a path is missing or holds no ledger, if two files hold the same chain with different
    scores, or if no ledger has a complete line.
    """
    files: dict[Path, None] = {}
    for path in paths:
        files.update(dict.fromkeys(_find(Path(path))))
    chains: dict[str, Chain] = {}
    for file in files:
        rows, notes = _read(file)
        if not rows:
            log.warning("%s has no finished generation yet: left out", file)
            continue
        chain = Chain(rows[0].chain, file.parent, rows, notes)
        if chain.id in chains:
            chain = _one_of(chains[chain.id], chain)
        chains[chain.id] = chain
    if not chains:
        raise LedgerError("no finished generation in " + ", ".join(map(str, files)) if files else "no path was given")
    return [chains[name] for name in sorted(chains)]


def _one_of(first: Chain, second: Chain) -> Chain:
    """Return the longer one of two copies of a chain. Raises `LedgerError` if their scores differ."""
    places = f"{first.directory} and {second.directory}"
    if not same_scores(first, second):
        raise LedgerError(f"chain {first.id} is in both {places}, with other scores")
    longer = max(first, second, key=lambda chain: len(chain.rows))
    return replace(longer, notes=[*longer.notes, f"{first.id} is in {places} with the same scores: counted once"])


def same_scores(first: Chain, second: Chain) -> bool:
    """Return whether two chains share at least one score (generation and name) and agree on all that they share."""
    left, right = (
        {(row.generation, score_key(entry)): entry["value"] for row in chain.rows for entry in row.scores}
        for chain in (first, second)
    )
    shared = left.keys() & right.keys()
    return bool(shared) and all(left[key] == right[key] for key in shared)


def _find(path: Path) -> list[Path]:
    if path.is_file():
        return [path.resolve()]
    if not path.is_dir():
        raise LedgerError(f"{path}: there is no such file or directory")
    files = files_below(path)
    if not files:
        raise LedgerError(f"{path} holds no {FILENAME}: give the directory of a chain or of a sweep")
    return [file.resolve() for file in files]


def files_below(folder: Path) -> list[Path]:
    """Return the ledger files in the folder of a chain, of a sweep, or of several sweeps."""
    return [file for depth in ("", "*/", "*/*/") for file in sorted(folder.glob(depth + FILENAME))]
