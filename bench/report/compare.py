"""python -m bench.report.compare CARD.json CARD.json…: print results as one table, or why they may not be compared."""

import argparse
import sys
from pathlib import Path

from bench.analysis.results_card import load
from bench.errors import BenchError
from bench.machine.pipes import exit_with
from bench.report.card import comparison


def main(arguments: list[str] | None = None) -> int:
    """Print the table on stdout and return 0, or print on stderr why cards may not be compared or read and return 2."""
    parser = argparse.ArgumentParser(prog="python -m bench.report.compare", description="Compare results cards.")
    parser.add_argument("cards", nargs="+", type=Path, help="two or more card.json files")
    given = parser.parse_args(arguments)
    if len(set(given.cards)) < 2:
        parser.error("give at least two different cards")
    try:
        print(comparison(dict(zip(short_names(given.cards), map(load, given.cards), strict=True))), end="")
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def short_names(paths: list[Path]) -> list[str]:
    """Return the paths without the folders that they share, which tell a reader of the table nothing."""
    parts = [path.absolute().parts for path in paths]
    shared = 0
    while len({part[: shared + 1] for part in parts}) == 1 and all(len(part) > shared + 1 for part in parts):
        shared += 1
    return ["/".join(part[shared:]) for part in parts]


if __name__ == "__main__":
    exit_with(main)
