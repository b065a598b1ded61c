"""Scores from stored features, compared with other packages that compute them."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bench.config import RuntimeConfig
from bench.machine.device import resolve_runtime
from bench.metrics.shared.frechet_distance import Statistics, frechet_distance
from bench.metrics.shared.kernel_distance import kernel_distance
from bench.metrics.shared.precision_recall import manifold_scores
from bench.perf.pairs import Comparison, Turn, alternate, timed
from bench.perf.peers import scores as peers
from bench.perf.peers.scores import Work
from bench.perf.sides import Side

SHORT = {"frechet": 2000, "kernel": 1000, "manifold": 4000}
LATENT = 32
"""Intrinsic dimension of the artificial features; that of photographs is estimated at 26 to 43 (Pope et al. 2021)."""


def features(n: int, d: int = 2048) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets of artificial features, float32 (n, d). Like those of a network's last layer, they are
    non-negative and correlated and have full rank."""
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((LATENT, d), dtype=np.float32) / LATENT**0.5

    def one(scale: float) -> np.ndarray:
        values = rng.standard_normal((n, LATENT), dtype=np.float32) @ mix * scale
        values += 0.3 * rng.standard_normal((n, d), dtype=np.float32)
        return np.maximum(values, 0, out=values)

    return one(1.0), one(1.1)


WORK: dict[str, Callable[[np.ndarray, np.ndarray], Work]] = {
    "frechet": lambda x, y: partial(frechet_distance, x, Statistics.of(y)),
    "kernel": lambda x, y: lambda: kernel_distance(x, y, 100, min(1000, len(x) // 2)).mean,
    "manifold": lambda x, y: lambda: vars(manifold_scores(x, y, k=3)),
    "torchmetrics_fid": partial(peers.torchmetrics, "FrechetInceptionDistance"),
    "torchmetrics_kid": partial(peers.torchmetrics, "KernelInceptionDistance"),
    "scipy_sqrtm": peers.scipy_fid,
    "clean_fid": peers.clean_fid,
    "torch_fidelity_full": partial(peers.torch_fidelity, save_cpu_ram=False),
    "torch_fidelity_parts": partial(peers.torch_fidelity, save_cpu_ram=True),
    "prdc": peers.prdc,
}
"""The work that is timed, by name. Each function takes two sets of features, prepares what may be cached, and returns
the work."""

TARGETS = {
    "frechet": {"torchmetrics_fid": 6.0, "scipy_sqrtm": 8.0, "clean_fid": 8.0},
    "kernel": {"torchmetrics_kid": 1.0},
    "manifold": {"torch_fidelity_full": 2.0, "torch_fidelity_parts": 2.0, "prdc": 4.0},
}
"""Our score -> the peers that it is compared with -> the ratio to reach."""


def rows(short: bool) -> Iterator[Comparison]:
    """Yield one row per score and peer; if `short`, with small N and d."""
    for ours, targets in TARGETS.items():
        n, d = (SHORT[ours], 512) if short else (10_000, 2048)
        names = [name for name in targets if name != "clean_fid" or peers.clean_fid_runs()]
        with contextlib.ExitStack() as stack:
            sides = [stack.enter_context(Side(turn, name, n, d)) for name in (ours, *names)]
            seconds, values = alternate(*sides, num_pairs=3)
        for name, theirs, value in zip(names, seconds[1:], values[1:], strict=True):
            row, notes = f"{ours} from features, {n} x {n} x {d}", {"ours": values[0], "theirs": value}
            yield Comparison(row, name, "s per set", seconds[0], theirs, targets[name], notes)


def turn(name: str, n: int, d: int = 2048) -> Turn:
    """Return a turn that runs one of `WORK` on `features`."""
    if name in TARGETS:
        resolve_runtime(RuntimeConfig(device="cpu"))  # applies the settings of a run
    return partial(timed, WORK[name](*features(n, d)))
