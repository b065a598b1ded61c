"""Queries behind the store's commands: list results, find what refers to them, and compare two specs."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import ledger
from bench.errors import LedgerError, StoreError
from bench.flatten import flatten
from bench.store import result_files
from bench.store.specs import RESERVED
from bench.store.store import Store


@dataclass(frozen=True)
class Entry:
    """One finished result.

    refers: keys of the results that this one was computed from. damage: why its manifest cannot be used, or None. Only
    the manifest is checked here; `verify` compares the files.
    """

    key: str
    path: Path
    spec: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    refers: tuple[str, ...] = ()
    created: str = ""
    damage: str | None = None

    @property
    def stage(self) -> str:
        """Return the first part of the key."""
        return self.key.split("/")[0]


def entries(store: Store, stage: str | None = None) -> list[Entry]:
    """Return every finished result, or those of one stage, sorted by key.

    Raises `StoreError` if there is no store, or no such stage in it.
    """
    if not store.root.is_dir():
        raise StoreError(f"{store.root}: there is no such directory")
    folders = [f for f in sorted(store.root.iterdir()) if f.is_dir() and f.name not in RESERVED]
    if stage is not None:
        known = [f.name for f in folders]
        if stage not in known:
            raise StoreError(f"stage={stage!r}: {store.root} has {', '.join(known) or 'no stages'}")
        folders = [store.root / stage]
    return [_entry(f"{f.name}/{path.name}", path) for f in folders for path in sorted(f.glob("??/*"))]


def _entry(key: str, path: Path) -> Entry:
    try:
        manifest, spec = result_files.read_manifest(path, key), result_files.read_spec(path / result_files.SPEC)
    except result_files.Damaged as damage:
        return Entry(key, path, damage=str(damage))
    named = {leaf for leaf in flatten(spec, lists=True).values() if is_key(leaf)}
    refers = tuple(sorted(named | set(manifest["uses"])))
    return Entry(key, path, spec, manifest["facts"], refers, manifest["created"])


def is_key(value: Any) -> bool:
    """Return whether a leaf of a spec is the key of another result."""
    if not isinstance(value, str) or value.count("/") != 1:
        return False
    digest = value.split("/")[1]
    return len(digest) == 32 and set(digest) <= set("0123456789abcdef")


def find_key(store: Store, text: str) -> str:
    """Return the only key of a finished or unfinished result that starts with `text`, such as "train/3fa2".

    Raises `StoreError` if there is none or more than one.
    """
    stage, _, prefix = text.partition("/")
    finished = [f"{stage}/{path.name}" for path in (store.root / stage).glob(f"??/{prefix}*")]
    unfinished = [f"{stage}/{path.stem}" for path in (store.root / "work" / stage).glob(f"{prefix}*.json")]
    keys = sorted({*finished, *unfinished})
    if len(keys) != 1:
        problem = f"matches {len(keys)}: {', '.join(keys[:5])}" if keys else f"matches nothing in {store.root}"
        raise StoreError(f"key={text!r} {problem}")
    return keys[0]


def spec_of(store: Store, key: str) -> dict[str, Any]:
    """Return the spec of a finished or unfinished result. Raises `StoreError` if it cannot be read."""
    for path in (store.path(key) / result_files.SPEC, store.work_spec(key)):
        if path.exists():
            try:
                return result_files.read_spec(path)
            except result_files.Damaged as damage:
                raise StoreError(f"{key}: {damage}") from damage
    raise StoreError(f"{key} is not in {store.root}")


Difference = tuple[str, Any, Any]
"""(dotted field, value here, value there); `ABSENT` if one side lacks the field."""

ABSENT = "(absent)"


def differences(here: dict[str, Any], there: dict[str, Any]) -> list[Difference]:
    """Return the fields in which two specs differ."""
    a, b = flatten(here, lists=True), flatten(there, lists=True)
    names = sorted({*a, *b})
    return [(n, a.get(n, ABSENT), b.get(n, ABSENT)) for n in names if a.get(n, ABSENT) != b.get(n, ABSENT)]


def nearest(store: Store, key: str) -> tuple[Entry, list[Difference]] | None:
    """Return the other finished result of the same stage whose spec differs in the fewest fields, and these fields;
    None if there is no other."""
    spec, stage = spec_of(store, key), key.split("/")[0]
    others = [e for e in entries(store) if e.stage == stage and e.key != key and e.damage is None]
    compared = [(e, differences(spec, e.spec)) for e in others]
    return min(compared, key=lambda pair: (len(pair[1]), pair[0].key), default=None)


def explain_differences(store: Store, here: str, there: str, depth: int = 0) -> Iterator[str]:
    """Yield one line for each field in which the specs of two results differ. If a field names other results, the
    differences of their specs follow.

    Args:
        store: the store of both results.
        here: the key of one result.
        there: the key of the other result.
        depth: how far to indent the lines.
    """
    for name, a, b in differences(spec_of(store, here), spec_of(store, there)):
        yield f"{'  ' * depth}{name}: {a!r} here, {b!r} there"
        if is_key(a) and is_key(b):
            try:
                yield from explain_differences(store, a, b, depth + 1)
            except StoreError as error:
                yield f"{'  ' * (depth + 1)}({error})"


def used_keys(store: Store, outputs: Path) -> tuple[set[str], int]:
    """Return the keys of all results that the ledgers below `outputs` refer to, directly or through other results, and
    the number of ledgers.

    Raises `LedgerError` for a ledger that cannot be read, because what it refers to is unknown.
    """
    ledgers = sorted(outputs.glob(f"**/{ledger.FILENAME}"))
    paths = {value for path in ledgers for row in ledger.read(path) for value in row.artifacts.values()}
    return closure(entries(store), {_key_of(path) for path in paths}), len(ledgers)


def users(outputs: Path) -> dict[str, str]:
    """Return key -> the first chain, generation and synthetic ratio that use the result according to the ledgers below
    `outputs`, and the number of other uses. Ledgers that cannot be read are skipped."""
    found: dict[str, dict[str, None]] = {}
    for path in sorted(outputs.glob(f"**/{ledger.FILENAME}")):
        with suppress(LedgerError):
            for row in ledger.read(path):
                ratio = row.composition["synthetic_ratio"]
                about = f"{row.chain} generation {row.generation} ratio {ratio:.2f}"
                for artifact in row.artifacts.values():
                    found.setdefault(_key_of(artifact), {})[about] = None
    return {key: _first_of(list(uses)) for key, uses in found.items()}


def _first_of(uses: list[str]) -> str:
    return uses[0] + (f" and {len(uses) - 1} more" if len(uses) > 1 else "")


def _key_of(artifact: str) -> str:
    """Return the key of the result that contains a path relative to the store ("<stage>/<hash[:2]>/<hash>/...")."""
    stage, _, digest = artifact.split("/")[:3]
    key = f"{stage}/{digest}"
    assert is_key(key), f"{artifact} is not in a result"
    return key


def closure(known: Iterable[Entry], keys: set[str]) -> set[str]:
    """Return the given keys and those of all results that they were computed from, directly or indirectly."""
    refers = {entry.key: entry.refers for entry in known}
    reached, todo = set(keys), list(keys)
    while todo:
        fresh = set(refers.get(todo.pop(), ())) - reached
        reached |= fresh
        todo += fresh
    return reached
