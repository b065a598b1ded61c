"""Mutation testing: plants one error at a time in a copy of the tree and asks whether the tests notice.

    make mutants                                             every error, two at a time
    .venv/bin/python tests/mutants/run.py mixing --all       one list; those that its tests miss meet the whole suite

A list is a TOML file in this folder. Each `[[mutant]]` replaces `was`, which must occur once in `file`, by `now`.
`tests` are the files that are expected to fail. `survives` says why no test can notice: the mutant is equivalent, or
what it breaks cannot be seen on this machine; such a mutant is applied and must pass its tests. `slow = true` runs the
slow ones among its tests, too.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COPIED = ("bench", "conf", "data", "docs", "tests", "pyproject.toml", "mkdocs.yml")
COPIED += ("README.md", "CHANGELOG.md", "CITATION.cff", "Makefile")
TIMEOUT = 900
"""Seconds; an error that makes the tests hang is noticed, too."""


@dataclass(frozen=True)
class Mutant:
    """One planted error. room: the list that it stands in; why: what would go wrong unnoticed."""

    room: str
    file: str
    was: str
    now: str
    why: str
    tests: tuple[str, ...]
    survives: str | None = None
    slow: bool = False

    def apply(self, root: Path) -> None:
        """Plants the error below `root`. Raises `ValueError` where `was` is not there exactly once."""
        path = root / self.file
        source = path.read_text()
        if source.count(self.was) != 1:
            raise ValueError(f"{self.room}: {self.was!r} occurs {source.count(self.was)} times in {self.file}")
        path.write_text(source.replace(self.was, self.now))


def load(rooms: list[str] | None = None) -> list[Mutant]:
    """The mutants of the named lists, or of all."""
    found = []
    for path in sorted(HERE.glob("*.toml")):
        if not rooms or path.stem in rooms:
            found += [
                Mutant(path.stem, **{**entry, "tests": tuple(entry["tests"])})
                for entry in tomllib.loads(path.read_text())["mutant"]
            ]
    return found


def caught_by(mutant: Mutant, whole_suite: bool) -> str:
    """The first failing test of a mutant; "" where all pass."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("cache", "__pycache__"))
            else:
                shutil.copy(source, root / name)
        mutant.apply(root)
        said = _pytest(root, mutant.tests, *(["-m", "slow or not slow"] if mutant.slow else []))
        return said or (_pytest(root, ("tests",)) if whole_suite else "")


def _pytest(root: Path, tests: tuple[str, ...], *options: str) -> str:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-rfE",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        *options,
        *tests,
    ]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"nothing within {TIMEOUT} s"
    if done.returncode == 0:
        return ""
    named = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode > 2 or not named:  # pytest itself could not run: no test has noticed anything
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return named[0].split(" - ")[0]


def main() -> int:
    """Exit status: 0 where every mutant is caught that should be; 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="*", help="lists to run: names of the TOML files; none: all")
    parser.add_argument("--all", action="store_true", help="run the whole suite on those that their own tests miss")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    mutants = load(options.rooms)
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = []
        for mutant, test in zip(mutants, pool.map(lambda m: caught_by(m, options.all), mutants), strict=True):
            verdicts.append(bool(test))
            word = "caught  " if test else "SURVIVES" if mutant.survives is None else "survives"
            print(f"{word} {mutant.file}: {mutant.why}: {test or mutant.survives or 'no test notices'}", flush=True)
    print("\n| list | planted | caught | survive | of these explained |\n|---|---|---|---|---|")
    for room in sorted({mutant.room for mutant in mutants}):
        here = [(m, caught) for m, caught in zip(mutants, verdicts, strict=True) if m.room == room]
        alive = [m for m, caught in here if not caught]
        explained = sum(m.survives is not None for m in alive)
        print(f"| {room} | {len(here)} | {len(here) - len(alive)} | {len(alive)} | {explained} |")
    unexplained = sum(not caught and m.survives is None for m, caught in zip(mutants, verdicts, strict=True))
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
