"""A sweep whose chains share one store, compared with the same chains with one store each; and a repeated sweep.

Each sweep is one command in its own process. The two commands differ in a single override, so start-up and the time
outside stages are the same.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from bench import ledger
from bench.perf.pairs import Comparison, alternate, timed

TARGET = 1.3
AGAIN_LIMIT = 10.0  # seconds for a finished sweep, from a shell
APART = "store_dir=${output_dir}/stores/${mixing.policy}-${mixing.synthetic_ratio}"
"""Override that gives each chain its own store."""

SMALL = """
    experiment=none name=sweep mixing=blend,window num_probes=2 runtime.device=cpu runtime.num_threads=1
    data=procedural data.resolution=16 data.num_train=64 data.num_heldout=64 data.num_calibration=0
    metrics.num_images=64 num_samples=64
    generator.unet.channels=[8,16] generator.unet.layers_per_block=1
    generator.training.batch_size=16 generator.training.warmup_steps=0 generator.sampling.num_steps=5
"""

FULL = "num_generations=5 mixing.synthetic_ratio=0,0.25,0.5,0.75,1 generator.training.num_steps=20"
SHORT = "num_generations=2 mixing.synthetic_ratio=0,0.5 generator.training.num_steps=10"


def rows(short: bool) -> Iterator[Comparison]:
    """Compare the two commands; unless `short`, also compare repeating the finished sweep with a limit in seconds."""
    size, num_pairs = (SHORT, 1) if short else (FULL, 3)
    with TemporaryDirectory(prefix="bench-sweep-") as root:
        ways = [lambda: sweep(Path(mkdtemp(dir=root)), size), lambda: sweep(Path(mkdtemp(dir=root)), size, APART)]
        (ours, theirs), (shared, apart) = alternate(*ways, num_pairs=num_pairs, warmup=False)
        made = {"shared": results(shared), "apart": results(apart)}
        if scores(shared) != scores(apart):
            raise RuntimeError("scores differ with and without a shared store")
        what, peer = f"a sweep: {size}, two policies", "the same chains run apart"
        yield Comparison(what, peer, "sweep", ours, theirs, TARGET, {"made": made})
        if not short:
            again = [sweep(shared, size)[0] for _ in range(5)]
            flaw = None if results(shared) == made["shared"] else "made results again"
            what, peer = "a finished sweep, the command again", f"limit of {AGAIN_LIMIT:g} s"
            yield Comparison(what, peer, "sweep", again, [AGAIN_LIMIT] * len(again), target=1.0, flaw=flaw)


def sweep(out: Path, size: str, *overrides: str) -> tuple[float, Path]:
    """Run the command and return its seconds and `out`."""
    command = [sys.executable, "-m", "bench", "-m", *SMALL.split(), *size.split(), f"output_dir={out}", *overrides]
    seconds, done = timed(partial(subprocess.run, command, capture_output=True, text=True))
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return seconds, out


def results(out: Path) -> dict[str, int]:
    """Return stage -> number of results, for all stores below `out`."""
    return dict(sorted(Counter(path.parts[-4] for path in out.glob("store*/**/manifest.json")).items()))


def scores(out: Path) -> dict[str, Any]:
    """Return chain -> scores by generation."""
    return {path.parent.name: [row.scores for row in ledger.read(path)] for path in out.rglob(ledger.FILENAME)}
