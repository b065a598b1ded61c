"""python -m bench.certify [--short]: run loops with a known outcome, and compare them with exact theory.

Each line is one quantity of one loop: its exact expectation, the mean over independent chains, and
z = (observed − exact) / standard error. The last column is the largest |z| of the quantity in any generation.
Exit status: 0 all agree; 1 some |z| is above the limit, or the chain through the store differs.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.machine.pipes import exit_with

if TYPE_CHECKING:
    from bench.certify.chains import Loop, Observed

LIMIT = 4.0
"""Largest accepted |z|. A normal z exceeds it once in 16 000. By chance, one of the 200 or so comparisons of a
certificate does so in about 1 of 80 certificates. Chains have fixed seeds, so code that passes once always passes on
the same kind of machine."""

SHORT, FULL = (100, 5), (1000, 6)
"""Number of chains of each loop, and number of generations."""

SCORED = 4
"""Factor by which loops with scores have more chains, because their points have one dimension and not eight."""


@dataclass(frozen=True, eq=False)
class Check:
    """One quantity of a loop: exact (G,) and observed (chains, G), one column for each generation that is checked.
    at_most: whether theory gives only an upper bound, so that lower values pass."""

    loop: str
    quantity: str
    generations: Sequence[int]
    exact: np.ndarray
    observed: np.ndarray
    at_most: bool = False

    @property
    def z(self) -> np.ndarray:
        """Return (mean − exact) / standard error of every generation, float64 (G,); infinite where nothing varies."""
        error = self.observed.std(axis=0, ddof=1) / np.sqrt(len(self.observed))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(error > 0, (self.observed.mean(axis=0) - self.exact) / error, np.inf)

    @property
    def passes(self) -> bool:
        """Return whether every generation agrees."""
        return bool(((self.z if self.at_most else np.abs(self.z)) <= LIMIT).all())

    def __str__(self) -> str:
        words = "" if self.passes else "  OFF"
        return (
            f"{self.loop:<21} {self.quantity:<26} {self.generations[-1]:>3} {self.exact[-1]:>9.4f} "
            f"{self.observed[:, -1].mean():>9.4f} {self.z[-1]:>6.2f} {np.abs(self.z).max():>6.2f}{words}"
        )


HEADER = f"{'loop':<21} {'quantity':<26} {'gen':>3} {'exact':>9} {'observed':>9} {'z':>6} {'max':>6}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.certify", description="Compare loops with mathematics.")
    add = parser.add_argument
    add("--short", action="store_true", help=f"{SHORT[0]} chains of every loop instead of {FULL[0]}; in one process")
    add("--loops", nargs="+", metavar="LOOP", help="only these; default: all")
    add("--processes", type=int, help="default: as many as cores; with --short 1")
    options = parser.parse_args(arguments)
    from bench.certify import chains  # here, because it imports torch, which --help does not need

    unknown = [name for name in options.loops or [] if name not in chains.LOOPS]
    if unknown:
        parser.error(f"--loops: {unknown[0]!r} is none of: {'; '.join(chains.LOOPS)}")
    started = time.monotonic()
    num_chains, num_generations = SHORT if options.short else FULL
    num_processes = options.processes or (1 if options.short else os.cpu_count() or 1)
    print(f"{num_chains} chains of {num_generations} generations, {chains.NUM_POINTS} points in every pool\n\n{HEADER}")
    loops = [chains.LOOPS[name] for name in options.loops or chains.LOOPS]
    passed = []
    for loop, seen in observe(loops, num_chains, num_generations, num_processes):
        for check in checks(loop, seen):
            print(check, flush=True)
            passed.append(check.passes)
    differences = compare_with_the_store(chains.LOOPS["blend .5"])
    for line in differences:
        print(line)
    num_off = len(passed) - sum(passed)
    print(
        f"\n{len(passed)} quantities, {num_off} off (|z| > {LIMIT:g}); one chain through stages, store and ledger: "
        f"{len(differences)} differences; {time.monotonic() - started:.0f} s"
    )
    return 1 if num_off or differences else 0


def observe(
    loops: "Sequence[Loop]", num_chains: int, num_generations: int, num_processes: int
) -> "Iterator[tuple[Loop, Observed]]":
    """Run the chains of each loop, and yield each loop with what its chains did.

    Args:
        loops: The loops to run.
        num_chains: The number of chains of each loop; loops with scores have `SCORED` times as many.
        num_generations: The number of generations of each chain, unless the loop has its own number.
        num_processes: The number of processes; 1 runs everything in this process.
    """
    from bench.certify import chains

    block = 100
    names = list(chains.LOOPS)
    jobs = {}
    for loop in loops:
        first = 1_000_000 * names.index(loop.name)  # loops share no chain, so their deviations are independent
        last = first + num_chains * (SCORED if loop.with_scores else 1)
        jobs[loop] = [range(start, min(start + block, last)) for start in range(first, last, block)]
    if num_processes == 1:
        for loop, parts in jobs.items():
            yield loop, chains.Observed.joined([chains.run(loop.name, part, num_generations) for part in parts])
        return
    with ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn")) as pool:
        futures = {
            loop: [pool.submit(chains.run, loop.name, part, num_generations) for part in parts]
            for loop, parts in jobs.items()
        }
        for loop, running in futures.items():
            yield loop, chains.Observed.joined([future.result() for future in running])


def checks(loop: "Loop", seen: "Observed") -> Iterator[Check]:
    """Yield a check of every quantity of a loop for which there is an exact value or an upper bound."""
    from bench.certify import categories, chains, regression, theory

    num_generations = seen.variance.shape[1]
    m, variance, generations = loop.num_points, chains.SD**2, range(num_generations)
    fits = [g + 1 for g in generations]

    def check(quantity: str, exact: Sequence[float] | np.ndarray, observed: np.ndarray, at_most: bool = False) -> Check:
        return Check(loop.name, quantity, generations, np.asarray(exact), observed, at_most)

    if loop.world == "categories":
        accumulated, shares = loop.policy == "accumulate", categories.SHARES
        start = 1 - float((shares**2).sum())
        yield check("E[1 − Σp̂²]", [theory.category_diversity(m, n, start, accumulated) for n in fits], seen.variance)
        if not accumulated:
            rarest, commonest = shares[categories.RAREST], shares[categories.COMMONEST]
            yield check("P(rarest lost)", [theory.category_counts(m, n, rarest)[0] for n in fits], seen.lost)
            if loop.num_generations:  # enough for some chains to end
                some = [g for g in generations if g]
                ended = np.array([theory.category_counts(m, g + 1, commonest)[-1] for g in some])
                yield Check(loop.name, "P(only commonest left)", some, ended, seen.fixed[:, some])
        return
    if loop.world == "regression":
        size = m, len(regression.WEIGHTS)
        if loop.policy == "replace":
            yield check("E‖ŵ − w‖²", [theory.regression_risk(*size, n) for n in fits], seen.error)
        else:
            yield check("E‖ŵ − w‖², at most", [theory.regression_bound(*size, n) for n in fits], seen.error, True)
        return
    error, spread = theory.moments(loop.plan, num_generations, loop.estimator == "unbiased", variance)

    yield check("E μ̂ − μ", np.zeros(num_generations), seen.shift)
    yield check("M E(μ̂ − μ)² / σ²", m * error / variance, m * seen.error / variance)
    yield check("E σ̂² / σ²", spread / variance, seen.variance / variance)
    if loop.policy == "replace" and loop.estimator == "unbiased":
        yield check("E W₂², of the model", [theory.replace_distance(m, n, variance) for n in fits], seen.distance)
    if loop.with_scores:
        loss = np.array([theory.replace_risk(m, n, variance) for n in fits])
        yield check("held-out loss", loss, seen.risk)
        yield check("excess risk", loss - theory.entropy(variance), seen.excess)
        # FID makes two more fits: one to the sample and one to the held-out set.
        exact = np.array([theory.replace_distance(m, n + 2, variance) for n in fits])
        some = [0, num_generations - 1]
        yield Check(loop.name, "FID to held-out", some, exact[some], seen.fid[:, some])
        floor = np.array([theory.replace_distance(m, 2, variance)])
        yield Check(loop.name, "FID, floor", [0], floor, seen.floor[:, None])


def compare_with_the_store(loop: "Loop") -> list[str]:
    """Run one chain with `bench.loop`, through stages, store and ledger, and again in memory. Return what differs."""
    from bench import datasets, ledger
    from bench.certify import chains
    from bench.loop import run_chain
    from bench.machine.console import Console
    from bench.pool import Pool

    num_generations = 3
    with tempfile.TemporaryDirectory() as folder:
        places = {"output_dir": f"{folder}/outputs", "store_dir": f"{folder}/store"}
        config = loop.config(0, num_generations, **places)
        rows = ledger.read(run_chain(config, Console(quiet=True)) / ledger.FILENAME)
        made = chains.generate(config, datasets.load_real(config.data), Path(folder) / "memory")
        differences = []
        for row, (_, samples) in zip(rows, made, strict=True):
            stored = Pool.load(Path(row.store_dir) / row.artifacts["samples"])
            if stored.id != samples.id:
                differences.append(f"{loop.name}: generation {row.generation} has other samples in the store")
    return differences


if __name__ == "__main__":
    exit_with(main)
