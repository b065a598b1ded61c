"""python -m bench.store list | explain | size | verify | prune STORE: inspect, verify and prune stored results.

Results go to stdout, one line each; errors go to stderr. Exit status: 0; 1 if `verify` detects damage; 2 for a mistake
in the command.
"""

import argparse
import sys
import time
from pathlib import Path

from filelock import Timeout

from bench.errors import BenchError, StoreError
from bench.machine.pipes import exit_with
from bench.store import inventory, result_files
from bench.store.stage_files import REQUIRED
from bench.store.store import Store


def list_results(store: Store, args: argparse.Namespace) -> int:
    """List every finished result: its key, size and time of creation, the chain, generation and ratio that use it, and
    the facts that its stage recorded."""
    found = inventory.entries(store, args.stage)
    users = inventory.users(args.outputs or store.root.parent)
    for entry in found:
        size, _ = result_files.size_of(entry.path)
        about = entry.damage or " ".join(f"{k}={v}" for k, v in entry.facts.items() if isinstance(v, int | str))
        user = f"{users[entry.key]}  " if entry.key in users else ""
        print(f"{entry.key}  {_bytes(size):>9}  {entry.created}  {user}{about}")
    return 0


def explain(store: Store, args: argparse.Namespace) -> int:
    """Explain why a result was computed: show the stored result with the nearest spec, and the differing fields."""
    key = inventory.find_key(store, args.key)
    nearest = inventory.nearest(store, key)
    if nearest is None:
        print(f"{key} is the only result of its stage in {store.root}")
        return 0
    entry, differing = nearest
    print(f"{key} differs from the nearest stored result, {entry.key}, in {len(differing)} of its fields:")
    for line in inventory.explain_differences(store, key, entry.key):
        print(f"  {line}")
    return 0


def size(store: Store, args: argparse.Namespace) -> int:
    """Count results, files and bytes of each stage, and of results that are unfinished, half-written or set aside."""
    results = inventory.entries(store)
    for stage in sorted({entry.stage for entry in results}):
        paths = [entry.path for entry in results if entry.stage == stage]
        print(_size_line(stage, len(paths), paths))
    for name in ("work", "tmp", "damaged"):
        paths = [path for path in (store.root / name).glob("*/*") if path.is_dir()]
        if paths:
            print(_size_line(f"({name})", len(paths), paths))
    return 0


def verify(store: Store, args: argparse.Namespace) -> int:
    """Compare every file of every result with its checksum. Damaged results are recomputed when next needed."""
    results = inventory.entries(store, args.stage)
    num_damaged = 0
    for entry in results:
        try:
            required = store.required.get(entry.stage, ())
            result_files.verify(entry.path, result_files.read_manifest(entry.path, entry.key), required)
        except (result_files.Damaged, OSError) as damage:
            num_damaged += 1
            print(f"{entry.key}: {damage}")
    print(f"{len(results) - num_damaged} of {len(results)} results are as they were written")
    return 1 if num_damaged else 0


def prune(store: Store, args: argparse.Namespace) -> int:
    """List, and with --yes remove, results that no ledger refers to."""
    outputs = args.outputs or store.root.parent
    results = inventory.entries(store)
    used, num_ledgers = inventory.used_keys(store, outputs)
    if not num_ledgers and not args.also_used:
        raise StoreError(
            f"no ledger below {outputs}, so nothing would be kept: name the directory of your runs with --outputs, "
            f"or pass --also-used"
        )
    chosen = results if args.stage is None else inventory.entries(store, args.stage)
    doomed = [e for e in chosen if (args.also_used or e.key not in used) and _is_old(e.path, args.min_age_hours)]
    folders = [(entry.key, entry.path) for entry in doomed]
    for name in ("tmp", "damaged", "work") if args.unfinished else ("tmp", "damaged"):
        for path in sorted(p for p in (store.root / name).glob("*/*") if p.is_dir()):
            if _is_old(path, args.min_age_hours):
                folders.append((f"{path.parent.name}/{path.name.split('.')[0]}", path))
    total = 0
    for key, path in folders:
        freed, _ = result_files.size_of(path)
        if args.yes and not _remove(store, key, path):
            print(f"kept     {path.relative_to(store.root)}: a process is producing it")
            continue
        total += freed
        print(f"{'removed' if args.yes else 'would remove'}  {path.relative_to(store.root)}  {_bytes(freed)}")
    kept = len(results) - len(doomed)
    print(
        f"{_bytes(total)} {'freed' if args.yes else 'to be freed with --yes'}; {kept} results kept "
        f"({num_ledgers} ledgers below {outputs})"
    )
    return 0


def _remove(store: Store, key: str, path: Path) -> bool:
    """Remove a directory of the store and return True, or return False if a process is producing that result."""
    try:
        with store.hold(key, wait=False):
            store.discard(path)
            path.with_suffix(".json").unlink(missing_ok=True)  # the spec next to a scratch directory
            return True
    except Timeout:
        return False


def _is_old(path: Path, hours: float) -> bool:
    return time.time() - path.stat().st_mtime >= hours * 3600


def _size_line(name: str, count: int, paths: list[Path]) -> str:
    sizes = [result_files.size_of(path) for path in paths]
    num_bytes, num_files = sum(b for b, _ in sizes), sum(f for _, f in sizes)
    return f"{name:<10} {count:>6} results  {num_files:>7} files  {_bytes(num_bytes):>9}"


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; each command's help is its function's docstring."""
    top = argparse.ArgumentParser(prog="python -m bench.store", description="Inspect and prune a store of results.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    runners = {"list": list_results, "explain": explain, "size": size, "verify": verify, "prune": prune}
    made = {}
    for name, run in runners.items():
        text = (run.__doc__ or "").strip()
        made[name] = commands.add_parser(name, help=text.split(":")[0].rstrip("."), description=text)
        made[name].add_argument("store", type=Path, help="the store's directory: the runs' store_dir")
        made[name].set_defaults(run=run)
    for name in ("list", "verify", "prune"):
        made[name].add_argument("--stage", help="only results of this stage")
    made["explain"].add_argument("key", help="<stage>/<first digits of the hash>, of a finished or unfinished result")
    for name in ("list", "prune"):
        made[name].add_argument(
            "--outputs", type=Path, help="where the ledgers are; default: the directory that contains the store"
        )
    add = made["prune"].add_argument
    add("--yes", action="store_true", help="remove; without it, only list what would be removed")
    add("--also-used", action="store_true", help="also remove results that a ledger refers to")
    add(
        "--unfinished",
        action="store_true",
        help="also remove checkpoints of results that were started and not finished",
    )
    add(
        "--min-age-hours",
        type=float,
        default=24.0,
        help="keep younger results, which may belong to a current run; default: 24",
    )
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(Store(args.store, required=REQUIRED), args))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    exit_with(main)
