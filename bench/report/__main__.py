"""python -m bench.report RUN_DIR… [--out DIR] [--mixed]: write tables, figures and a page for finished chains."""

import argparse
import logging
import sys
from pathlib import Path

from bench.errors import BenchError
from bench.machine.pipes import exit_with


def main(arguments: list[str] | None = None) -> int:
    """Print the tables on stdout and paths of the files on stderr. Return exit status 2 if the report fails, else 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="Tables and figures from ledgers.")
    parser.add_argument("runs", nargs="+", type=Path, help="directories of chains, of sweeps, or ledger files")
    parser.add_argument("--out", type=Path, help="where to write (default: report/ in the first sweep's directory)")
    parser.add_argument(
        "--mixed", action="store_true", help="allow different protocols or feature spaces, and mark them"
    )
    given = parser.parse_args(arguments)
    from bench.report.build import write  # imported late, so that --help does not wait for Matplotlib

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    try:
        report = write(given.runs, given.out or default_out(given.runs[0]), mixed=given.mixed)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.text)
    print("Written:", *(f"  {line}" for line in shown(report.paths)), sep="\n", file=sys.stderr)
    print(f"Next: python -m bench.audit --deep {' '.join(map(str, given.runs))}", file=sys.stderr)
    return 0


def shown(paths: list[Path]) -> list[str]:
    """Return the paths of the page, the tables and one picture, and the number of other files beside them."""
    wanted = ("report.html", "tables.md", "samples.png", "scores.png")
    main = [path for name in wanted for path in paths if path.name == name or path.name.endswith(f"_{name}")][:3]
    rest = len(paths) - len(main)
    return [*map(str, main), *([f"and {rest} others in {paths[0].parent}"] if rest else [])]


def default_out(run: Path) -> Path:
    """Return report/ in the sweep's directory, even if a single chain or its ledger is given."""
    directory = run.parent if run.is_file() else run
    return (directory.parent if (directory / "ledger.jsonl").exists() else directory) / "report"


if __name__ == "__main__":
    exit_with(main)
