"""`python -m bench.perf`: measure every row of the performance table; `make perf` installs what it needs.

Writes results.json and table.md. `--short`, which continuous integration runs, takes about two minutes. It exits with
status 1 if a row fails or none of its pairs reaches a quarter of the target. It never compares with an absolute time.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from bench.machine.pipes import exit_with
from bench.perf.pairs import Comparison, table

SHORT_SECTIONS = ["training", "sampling", "scores", "sweep"]
SECTIONS = ["startup", *SHORT_SECTIONS, "growth"]
SHORT_SHARE = 0.25  # share of each target that `--short` requires: noise cannot explain less
PEERS = ("diffusers", "denoising-diffusion-pytorch", "torchmetrics", "torch-fidelity", "prdc", "clean-fid", "scipy")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.perf", description=__doc__)
    parser.add_argument("--short", action="store_true", help="small sizes, few pairs, a quarter of each target")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="default: all")
    parser.add_argument("--out", type=Path, default=Path("outputs/perf"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    installed = {str(package.name).replace("_", "-") for package in metadata.distributions()}
    missing = [name for name in PEERS if name not in installed]
    if missing:
        print(f"error: not installed: {', '.join(missing)}; run `make perf`", file=sys.stderr)
        return 2
    os.environ.setdefault("OMP_NUM_THREADS", "2")  # the targets assume it; also set for child processes
    from bench.perf.machine_limits import device_types, measured_machine

    report: dict[str, Any] = {"machine": [measured_machine(kind) for kind in device_types()]}
    report["versions"] = {name: metadata.version(name) for name in PEERS}
    print(json.dumps(report, indent=1), flush=True)
    comparisons: list[Comparison] = []
    for section in [s for s in options.only if s in SHORT_SECTIONS or not options.short]:
        for what, value in measure(section, options.short):
            if isinstance(value, Comparison):
                comparisons.append(value)
                print(table([value])[2], flush=True)
            else:
                report[what] = value
                print(f"{what}: {json.dumps(value, indent=1)}", flush=True)
            save(options.out, report, comparisons)  # at once, because the following sections take long and may fail
    print("\n".join(["", *table(comparisons), "", f"{options.out}/results.json has the rest"]))
    return 1 if options.short and any(row.flaw or row.ratio.high < (row.target or 0) for row in comparisons) else 0


def measure(section: str, short: bool) -> Iterator[tuple[str, Any]]:
    """Yield each (name, measurement) of a section as soon as it is measured."""
    if section == "growth":
        growth = import_module("bench.perf.growth")
        yield "growth of training", growth.training()
        yield "growth of scores", growth.scores()
        return
    module = import_module(f"bench.perf.compare_{section}")
    for row in module.rows(short):
        eased = short and row.target is not None
        yield section, replace(row, target=SHORT_SHARE * row.target) if eased else row


def save(out: Path, report: dict[str, Any], comparisons: list[Comparison]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    everything = {**report, "rows": [row.as_json() for row in comparisons]}
    (out / "results.json").write_text(json.dumps(everything, indent=1, default=str) + "\n")
    (out / "table.md").write_text("\n".join(table(comparisons)) + "\n")


if __name__ == "__main__":
    exit_with(main)
