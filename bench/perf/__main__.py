"""`python -m bench.perf`: every row of the performance table, measured here and now; `make perf` sets up what it needs.

Writes results.json and table.md. `--short` takes seconds a row and ends with status 1 where a ratio has fallen below
the value it guards, which continuous integration asks: never an absolute time.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.perf import table
from bench.perf.pairs import Comparison

SECTIONS = ("startup", "training", "sampling", "scores", "sweep", "growth")

PEERS = ("diffusers", "denoising-diffusion-pytorch", "torchmetrics", "torch-fidelity", "prdc", "clean-fid", "scipy")


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    missing = [name for name in PEERS if _version(name) is None]
    if missing:
        print(
            f"error: not installed: {', '.join(missing)}; run `make perf`, or pip install -e '.[perf]'", file=sys.stderr
        )
        return 2
    from bench.perf.machine import devices, measured_machine
    from bench.perf.sides import set_threads

    set_threads()
    found: dict[str, Any] = {
        "machine": [measured_machine(device).facts() for device in devices()],
        "versions": {name: _version(name) for name in PEERS},
    }
    print(json.dumps(found, indent=1), flush=True)
    comparisons: list[Comparison] = []
    _save(options.out, found, comparisons)
    for section in options.only:
        for kind, value in measure(section, options.short):
            if isinstance(value, Comparison):
                comparisons.append(value)
                print("\n".join(table.lines([value])[2:]), flush=True)
            else:
                found[kind] = value
                print(f"{kind}: {json.dumps(value, indent=1)}", flush=True)
            _save(options.out, found, comparisons)  # at once: what follows takes long, and may fail
    print("\n".join(["", *table.lines(comparisons), "", f"{options.out}/results.json has the rest"]))
    missed = [row for row in comparisons if row.reached is False]
    return 1 if options.short and missed else 0


def _save(out: Path, found: dict[str, Any], comparisons: list[Comparison]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    everything = {**found, "rows": [table.as_json(row) for row in comparisons]}
    (out / "results.json").write_text(json.dumps(everything, indent=1, default=str) + "\n")
    (out / "table.md").write_text("\n".join(table.lines(comparisons)) + "\n")


def measure(section: str, short: bool) -> Iterator[tuple[str, Any]]:
    """(name, what was measured), as it is measured."""
    if section == "growth":
        yield from _growth()
    else:
        for row in _rows(section)(short):
            yield section, row


def _rows(section: str) -> Callable[[bool], Iterator[Comparison]]:
    if section == "startup":
        from bench.perf import startup

        return lambda short: startup.rows()
    if section == "training":
        from bench.perf import training

        return training.rows
    if section == "sampling":
        from bench.perf import sampling

        return sampling.rows
    if section == "scores":
        from bench.perf import scores

        return scores.rows
    from bench.perf import sweep

    return sweep.rows


def _growth() -> Iterator[tuple[str, Any]]:
    from bench.perf import growth, sweep, training

    yield "growth of training", training.growth()
    yield "growth of sweeps", sweep.growth()
    yield "growth of scores", growth.scores()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.perf", description=__doc__)
    parser.add_argument("--short", action="store_true", help="small sizes, few pairs, no growth: a guard of ratios")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="default: all")
    parser.add_argument("--out", type=Path, default=Path("outputs/perf"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.short:
        options.only = [section for section in options.only if section not in ("growth", "startup")]
    return options


if __name__ == "__main__":
    sys.exit(main())
