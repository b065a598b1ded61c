"""A sweep whose chains share one store, beside the same chains with a store each; and a finished sweep run again.

Both ways run in this process through the same loop, chain by chain in turn, after a chain that neither counts: so
starting Python, loading torch and the feature network, and the machine's drift fall on neither. A user who starts the
chains apart pays the first two per chain as well. Work that is equal is found by the keys that the store gives it: the
share of equal stages is the share of seconds, in the chains run apart, of results that an earlier chain had made.
"""

import functools
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import ledger
from bench.config import Config, chain_id, from_hydra, register_schemas
from bench.perf.pairs import Comparison, Spread, timed
from bench.store import Result, Store
from bench.store.store import Produce
from bench.sweep import Combinations

POLICIES = ("blend", "window")

AGAIN_LIMIT = 5.0
"""Seconds for a finished sweep, from a shell."""

SMALL = (
    "experiment=none",
    "data=procedural",
    "data.resolution=16",
    "metrics=efficientnet_lite0",
    "generator.unet.channels=[8,16]",
    "generator.unet.attention=[false,false]",
    "generator.unet.layers_per_block=1",
    "generator.training.num_epochs=null",
    "generator.training.batch_size=16",
    "generator.training.warmup_steps=0",
    "generator.sampling.num_steps=5",
    "num_probes=2",
    "runtime.device=cpu",
    "runtime.num_threads=1",
    "name=sweep",
)


@dataclass(frozen=True)
class Size:
    """num_images: real, held-out and scored ones. num_again: how often the finished sweep is run again. allowance: by
    how much the share of time saved may be less than the share of equal stages; wide where a run takes seconds."""

    ratios: tuple[float, ...]
    num_generations: int
    num_images: int
    num_steps: int
    num_repeats: int
    num_again: int
    allowance: float

    @property
    def command(self) -> list[str]:
        """The overrides of the sweep."""
        n = self.num_images
        return [
            *SMALL,
            *(f"data.num_train={n}", f"data.num_heldout={n}", f"metrics.num_images={n}"),
            *(f"generator.training.num_steps={self.num_steps}", f"num_generations={self.num_generations}"),
            *(f"mixing={','.join(POLICIES)}", f"mixing.synthetic_ratio={','.join(map(str, self.ratios))}"),
        ]

    def chains(self) -> list[Config]:
        """One policy after the other."""
        return [from_hydra(tree) for tree in Combinations(self.command).all()]


FULL = Size(
    (0.0, 0.25, 0.5, 0.75, 1.0),
    num_generations=5,
    num_images=64,
    num_steps=20,
    num_repeats=3,
    num_again=5,
    allowance=0.03,
)
SHORT = Size((0.0, 0.5, 1.0), num_generations=2, num_images=64, num_steps=10, num_repeats=1, num_again=1, allowance=0.2)


@dataclass(frozen=True)
class Stage:
    """One call of `Store.make`. seconds: without those of the stages that it asked for itself."""

    key: str
    seconds: float
    reused: bool


class TimedStore(Store):
    """A store that keeps the time of every stage."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.stages: list[Stage] = []
        self._inside: list[float] = []

    def make(self, stage: str, spec: dict[str, Any], produce: Produce) -> Result:
        self._inside.append(0.0)
        started = time.perf_counter()
        result = super().make(stage, spec, produce)
        seconds = time.perf_counter() - started
        own = seconds - self._inside.pop()
        if self._inside:
            self._inside[-1] += seconds
        self.stages.append(Stage(result.key, own, result.reused))
        return result


@dataclass
class Run:
    """The chains of a sweep, run one way. seconds: of each chain. stages: of each chain, in the order of their end."""

    seconds: list[float] = field(default_factory=list)
    stages: list[list[Stage]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The part of all seconds in stages that went into results which an earlier chain had made as well."""
        known: set[str] = set()
        equal = 0.0
        for chain in self.stages:
            made = [stage for stage in chain if not stage.reused]
            equal += sum(stage.seconds for stage in made if stage.key in known)
            known |= {stage.key for stage in made}
        return equal / self.in_stages

    @property
    def in_stages(self) -> float:
        return sum(stage.seconds for chain in self.stages for stage in chain)

    def made(self) -> dict[str, int]:
        """Kind of stage -> how many results were made."""
        counts = Counter(s.key.split("/")[0] for chain in self.stages for s in chain if not s.reused)
        return dict(sorted(counts.items()))

    def facts(self) -> dict[str, Any]:
        finding = sum(stage.seconds for chain in self.stages for stage in chain if stage.reused)
        return {
            "made": self.made(),
            "seconds": sum(self.seconds),
            "seconds in stages that were found": finding,
            "seconds outside stages": sum(self.seconds) - self.in_stages,
        }


@dataclass(frozen=True)
class Measured:
    """shared, apart: one entry a repeat. again: seconds of the finished sweep as a command."""

    size: Size
    shared: list[Run]
    apart: list[Run]
    again: list[float]

    @property
    def saved(self) -> list[float]:
        return [1 - sum(s.seconds) / sum(a.seconds) for s, a in zip(self.shared, self.apart, strict=True)]


def rows(short: bool) -> Iterator[Comparison]:
    """The sweep beside the chains run apart. In full, also the finished sweep beside its limit, which is absolute."""
    found = measured(short)
    size = found.size
    share = Spread.of([run.share for run in found.apart])
    yield Comparison(
        row=f"a sweep of {len(size.ratios)} ratios × {size.num_generations} generations × {len(POLICIES)} policies",
        peer="the same chains run apart",
        unit="sweep",
        ours=[sum(run.seconds) for run in found.shared],
        theirs=[sum(run.seconds) for run in found.apart],
        target=round(1 / (1 - share.median + size.allowance), 3),
        notes={
            "share of equal stages": str(share),
            "saved": str(Spread.of(found.saved)),
            "shared": found.shared[-1].facts(),
            "apart": found.apart[-1].facts(),
            "again": str(Spread.of(found.again)),
        },
    )
    if not short:
        yield Comparison(
            row="a finished sweep, the command again",
            peer=f"limit of {AGAIN_LIMIT:g} s",
            unit="sweep",
            ours=found.again,
            theirs=[AGAIN_LIMIT] * len(found.again),
            target=1.0,
        )


def growth(numbers: tuple[int, ...] = (1, 2, 5, 10)) -> list[dict[str, Any]]:
    """How the cost grows with the number of chains: medians of seconds with one store and with a store each, and how
    much of the latter was saved."""
    found = measured(short=False)
    entries = []
    for n in numbers:
        shared, apart = ([sum(run.seconds[:n]) for run in runs] for runs in (found.shared, found.apart))
        saved = [1 - s / a for s, a in zip(shared, apart, strict=True)]
        medians = {
            "shared": Spread.of(shared).median,
            "apart": Spread.of(apart).median,
            "saved": Spread.of(saved).median,
        }
        entries.append({"chains": n, **medians})
    return entries


@functools.cache
def measured(short: bool) -> Measured:
    """Both ways, `num_repeats` times. Raises `RuntimeError` where they do not end in the same scores."""
    import torch

    size = SHORT if short else FULL
    register_schemas()
    num_threads = torch.get_num_threads()
    shared, apart = [], []
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as root:
        try:
            add_chain(Run(), replace(size.chains()[0], num_generations=1, seed=1), Path(root) / "warm")
            for repeat in range(size.num_repeats):
                one, other = both_ways(size, Path(root) / str(repeat), first=repeat % 2)
                shared.append(one)
                apart.append(other)
        finally:
            torch.set_num_threads(num_threads)
        again = [run_again(size, Path(root) / "0" / "shared") for _ in range(size.num_again)]
    return Measured(size, shared, apart, again)


def both_ways(size: Size, root: Path, first: int) -> tuple[Run, Run]:
    """(with one store, with a store each). Which way goes first changes from chain to chain."""
    shared, apart = Run(), Run()
    for number, chain in enumerate(size.chains()):
        ways = [(shared, root / "shared"), (apart, root / "apart" / str(number))]
        one, other = [add_chain(run, chain, out) for run, out in (ways if (number + first) % 2 == 0 else ways[::-1])]
        if one != other:
            raise RuntimeError(f"scores differ with and without a shared store: {chain_id(chain)}")
    return shared, apart


def add_chain(run: Run, config: Config, out: Path) -> list[list[dict[str, Any]]]:
    """Runs one chain below `out`, where its store is too. Returns its scores, by generation."""
    from bench.console import Console
    from bench.loop import run_chain

    config = replace(config, output_dir=str(out), store_dir=str(out / "store"))
    store = TimedStore(out / "store")
    directories: list[Path] = []
    run.seconds.append(timed(lambda: directories.append(run_chain(config, Console(quiet=True), store))))
    run.stages.append(store.stages)
    return [row.scores for row in ledger.read(directories[0] / ledger.FILENAME)]


def run_again(size: Size, out: Path) -> float:
    """Seconds of the sweep's command in a process of its own, where every chain below `out` is finished."""
    command = [sys.executable, "-m", "bench", "-m", *size.command, f"output_dir={out}"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    read = done.stderr.count("from the store")
    if done.returncode != 0 or read != len(POLICIES) * len(size.ratios) * size.num_generations:
        raise RuntimeError(f"{' '.join(command)}: {read} generations were read\n{done.stderr}")
    return seconds
