"""python -m bench.report.compare CARD.json CARD.json…: prints results as one table, or why they may not be compared."""

import argparse
import sys
from pathlib import Path

from bench.analysis.results_card import load
from bench.errors import BenchError
from bench.report.card import comparison


def main(arguments: list[str] | None = None) -> int:
    """Print the table on stdout. Exit status 2, with the reasons on stderr, where the cards may not be compared."""
    parser = argparse.ArgumentParser(prog="python -m bench.report.compare", description="Compare results cards.")
    parser.add_argument("cards", nargs="+", type=Path, help="two or more card.json files")
    given = parser.parse_args(arguments)
    if len(set(given.cards)) < 2:
        parser.error("give at least two different cards")
    try:
        print(comparison({str(path): load(path) for path in given.cards}), end="")
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
