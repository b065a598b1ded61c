"""`python -m bench.results list | show NAME | cite NAME | check RUN | compare RUN | pack RUN`: the reference results.

Results go to stdout, errors to stderr. The exit status is 0; 1 if `check` found a problem or `compare` a difference;
2 for a mistake in the command or files that are not valid.
"""

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import register_schemas
from bench.errors import BenchError, LedgerError
from bench.machine.pipes import exit_with

if TYPE_CHECKING:
    from bench.ledger import Chain


def list_results(args: argparse.Namespace) -> int:
    """List the studies that have results: name, version, numbers of chains, seeds and generations, and fingerprint."""
    from bench.results import shelf

    entries = shelf.read(args.reference)
    if not entries:
        raise LedgerError(f"{args.reference}: there are no files of results below it")
    for name, version in dict.fromkeys((entry.name, entry.version) for entry in entries):
        found = [entry for entry in entries if (entry.name, entry.version) == (name, version)]
        own = [entry.chain for entry in found if not entry.claimed_by]
        seeds = {chain.rows[0].seed for chain in own}
        generations = max((len(chain.rows) for chain in own), default=0)
        print(
            f"{name} {version}  {_many(own, 'chain')} of {_many(seeds, 'seed')}, {generations} generations; "
            f"{len(found) - len(own)} claimed  {found[0].fingerprint[:16]}"
        )
    return 0


def show(args: argparse.Namespace) -> int:
    """Show the tables and verdicts of a study, and the commands that run it again."""
    from bench.analysis.study import studies
    from bench.report.tables import markdown, verdict_lines
    from bench.results import shelf
    from bench.results.commands import commands

    chains = [entry.chain for entry in shelf.measured(shelf.read(args.reference), args.name, args.version)]
    for study in studies(chains):
        print(markdown(study) + verdict_lines(study))
    print("Run it again:", *commands(chains), sep="\n  ")
    return 0


def cite(args: argparse.Namespace) -> int:
    """Print a sentence about one condition of a study, with number and interval, and BibTeX."""
    from bench.analysis.study import studies
    from bench.results import citation, shelf

    entries = shelf.measured(shelf.read(args.reference), args.name, args.version)
    print(citation.sentence(entries, args.condition), citation.references(entries), sep="\n\n", end="")
    if args.condition is None and len(labels := citation.labels(studies(entry.chain for entry in entries))) > 1:
        print("Conditions that --condition takes:", *labels, sep="\n  ", file=sys.stderr)
    return 0


def check(args: argparse.Namespace) -> int:
    """Check a run like a submission: protocol, hashes, audit, seeds, generation 0, likeness to the reference."""
    from bench.results import shelf
    from bench.results.verification import verify

    entries = shelf.read(args.reference)
    status = 0
    for name, run in _runs(args.run).items():
        found = verify(run, entries)
        for line in found.problems:
            print(f"PROBLEM {line}")
        for line in found.notes:
            print(f"NOTE {line}")
        outcome = found.likeness.outcome if found.likeness else "there is none"
        print(f"{name}: {_many(run, 'chain')}, {_many(found.problems, 'problem')}; beside the reference: {outcome}")
        status = 1 if found.problems else status
    return status


def _many(found: Collection, word: str) -> str:
    return f"{len(found)} {word}{'' if len(found) == 1 else 's'}"


def compare(args: argparse.Namespace) -> int:
    """Compare a run with the reference: z per condition, score and generation, and which samples are the same."""
    from bench.results import likeness, shelf
    from bench.results.z_table import z_table

    entries = shelf.read(args.reference)
    status = 0
    for name, run in _runs(args.run).items():
        reference = [entry.chain for entry in shelf.of_the_study(entries, run[0])]
        found = likeness.liken(run, reference)
        print(f"## {name}\n\n{z_table(found)}")
        status = 1 if found.outcome == likeness.DIFFERENT else status
    return status


def _runs(paths: Sequence[Path]) -> "dict[str, list[Chain]]":
    """Return the chains of these paths, which are ledgers or files of results, by study.

    Below a folder with ledgers, other JSON files, such as those of a report, are not read as files of results.
    """
    from bench import ledger
    from bench.results import result_file, shelf

    packed: dict[Path, Chain] = {}
    ledgers = []
    for path in (path.resolve() for path in paths):
        if path.suffix == ".json" and path.is_file():
            packed[path] = result_file.read(path)
        elif path.is_dir() and not ledger.files_below(path) and (entries := shelf.read(path)):
            packed |= {entry.path: entry.chain for entry in entries}
        else:
            ledgers.append(path)
    runs: dict[str, list[Chain]] = {}
    try:
        read = ledger.read_runs(ledgers) if ledgers else []
    except LedgerError as error:  # these may be somebody else's files, which no command here writes again
        raise LedgerError(str(error).removesuffix(f"; {ledger.REBUILD}")) from error
    for chain in [*packed.values(), *read]:
        study = result_file.study_of(chain.rows[0])
        runs.setdefault(f"{study['name']} {study['version']}", []).append(chain)
    return runs


def pack(args: argparse.Namespace) -> int:
    """Write one file of results for every chain of a run, as a submission needs them."""
    from bench import ledger
    from bench.results import shelf

    chains = ledger.read_runs(args.run)
    for path in shelf.pack(chains, args.out, args.claimed_by):
        print(path)
    if args.samples:
        from bench.results.samples import draw_samples

        drawn, missing = draw_samples(chains, args.samples)
        for line in missing:
            print(f"NOTE {line}", file=sys.stderr)
        for path in drawn:
            print(path)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    args = parser().parse_args(arguments)
    register_schemas()
    try:
        if args.reference is None:
            from bench.results import shelf

            args.reference = shelf.shipped()
        status: int = args.verb(args)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m bench.results", description="Reference results, and your own.")
    top.add_argument(
        "--reference", type=Path, metavar="DIR", help="a folder of results (default: those of the package)"
    )
    verbs = top.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, function: object, about: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=about, description=about)
        one.set_defaults(verb=function)
        return one

    verb("list", list_results, "list the studies that have results")
    for name, function, about in (
        ("show", show, "show tables, verdicts and commands of a study"),
        ("cite", cite, "print a sentence with number, interval, protocol and version, and BibTeX"),
    ):
        one = verb(name, function, about)
        one.add_argument("name", help="a protocol, or the name of a sweep without one")
        one.add_argument("version", nargs="?", help="needed where there are several")
        if function is cite:
            one.add_argument(
                "--condition", metavar="LABEL", help="default: that of the highest synthetic ratio, if there is one"
            )
    for name, function, about in (
        ("check", check, "check a run as a submission is checked; exit status 1 where it does not pass"),
        ("compare", compare, "compare a run with the reference: z-scores, and which samples are the same"),
    ):
        verb(name, function, about).add_argument("run", nargs="+", type=Path, help="ledgers, or files of results")
    one = verb("pack", pack, "write the files of a finished run")
    one.add_argument("run", nargs="+", type=Path, help="a chain's folder, or one above several")
    one.add_argument("--out", type=Path, default=Path("data/results"), help="default: data/results")
    one.add_argument("--samples", type=Path, metavar="DIR", help="also draw samples: a small PNG per study")
    one.add_argument(
        "--claimed-by", default="", metavar="NAME", help="whose numbers they are, unless the maintainers measured them"
    )
    return top


if __name__ == "__main__":
    exit_with(main)
