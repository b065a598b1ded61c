"""python -m bench.report.compare CARD.json CARD.json…: whether results may be compared, and if so, their table."""

import argparse
import sys
from pathlib import Path

from bench.errors import BenchError
from bench.report.card import comparison, load


def main(arguments: list[str] | None = None) -> int:
    """Prints the table on stdout. Exit status 2 where the cards may not be compared, with the reasons on stderr."""
    parser = argparse.ArgumentParser(prog="python -m bench.report.compare", description="Compare results cards.")
    parser.add_argument("cards", nargs="+", type=Path, help="card.json files, two at least")
    given = parser.parse_args(arguments)
    if len(set(given.cards)) < 2:
        parser.error("give two different cards at least")
    try:
        print(comparison({str(path): load(path) for path in given.cards}), end="")
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
