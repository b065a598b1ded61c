"""`make faults`: cause every fault that docs/reliability.md lists, many times, and print what survived.

python tests/faults/run.py [--short] [--row WORD]... Exit status: 0 everything survived, 1 something did not.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")

from faults.shared import finished, generator_of  # noqa: E402
from faults.table import ROWS  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="minutes instead of hours")
    parser.add_argument("--row", action="append", help="only rows with this word in their name")
    options = parser.parse_args()
    chosen = [row for row in ROWS if not options.row or any(word in row.name for word in options.row)]
    folder, lines, lost = Path(tempfile.mkdtemp(prefix="faults-")), [], 0
    finished()
    for row in chosen:
        began = time.monotonic()
        place = folder / row.cause.__name__
        tally = row.cause(place, row.short if options.short else row.full, generator_of(row.name))
        shutil.rmtree(place, ignore_errors=True)
        seconds = time.monotonic() - began
        lost += tally.tried - tally.survived
        lines.append(f"| {row.name} | {tally.tried} | {tally.survived} | {seconds:.0f} |")
        print(lines[-1], dict(tally.places) or "", flush=True)
        for trouble in tally.troubles:
            print(f"  LOST {trouble}", flush=True)
    print("\n".join(["", "| fault | tried | survived | seconds |", "|---|--:|--:|--:|", *lines]))
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
