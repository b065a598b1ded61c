"""Scores from stored features, and all scores of one generation from images, beside the packages that offer them."""

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from bench.config import MetricsConfig, RuntimeConfig
from bench.metrics.features import FeatureSpace, extract, load_feature_space
from bench.metrics.frechet import Statistics, frechet_distance
from bench.metrics.kernel import kernel_distance
from bench.metrics.manifold import manifold_scores
from bench.metrics.scores import know, score
from bench.metrics.screening import BLOCK, levels
from bench.perf.counting import Count, counted
from bench.perf.machine import measured_machine
from bench.perf.pairs import Comparison, Work, alternate
from bench.perf.peak import measure
from bench.perf.peers import scores as peers
from bench.perf.profiles import by_function
from bench.perf.sides import Side, repeat, set_threads
from bench.perf.training import GUARD
from bench.runtime import resolve

DIMENSION = 2048
"""Of the standard Inception features."""

LATENT = 32
"""Directions in which the made-up features vary most: the intrinsic dimension of photographs is estimated at 26 to 43
(Pope et al. 2021), and how many points lie near a point's k-th neighbour depends on it."""

K = 3


def features(n: int, d: int = DIMENSION) -> tuple[np.ndarray, np.ndarray]:
    """Two made-up sets, float32 (n, d), like a network's last features: not negative, correlated, of full rank."""
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((LATENT, d), dtype=np.float32) / LATENT**0.5

    def one(scale: float) -> np.ndarray:
        values = rng.standard_normal((n, LATENT), dtype=np.float32) @ mix * scale
        values += 0.3 * rng.standard_normal((n, d), dtype=np.float32)
        return np.maximum(values, 0, out=values)

    return one(1.0), one(1.1)


# -------------------------------------------- what is timed: given two sets, ready to run; what may be cached is


def our_frechet(subject: np.ndarray, reference: np.ndarray) -> Work:
    known = Statistics.of(reference)
    _ = known.lower
    return lambda: frechet_distance(subject, known)


def our_frechet_known(subject: np.ndarray, reference: np.ndarray) -> Work:
    """From the statistics of both sets, with the factor of the reference's that is made once for all subjects."""
    own, known = Statistics.of(subject), Statistics.of(reference)
    _ = known.lower
    return lambda: frechet_distance(own, known)


def our_manifold(subject: np.ndarray, reference: np.ndarray) -> Work:
    return lambda: vars(manifold_scores(subject, reference, K))


def our_kernel(subject: np.ndarray, reference: np.ndarray) -> Work:
    size = min(1000, len(subject) // 2)
    return lambda: kernel_distance(subject, reference, 100, size).mean


OURS = {
    "frechet": "frechet from features, {n} x {n} x {d}",
    "frechet_known": "frechet from statistics, {d}, the reference's factor known",
    "manifold": "manifold from features, {n} x {n} x {d}",
    "kernel": "kernel from features, {n} x {n} x {d}",
}
"""Our own, and what their rows are called."""

WORK: dict[str, Callable[[np.ndarray, np.ndarray], Work]] = {
    "frechet": our_frechet,
    "frechet_known": our_frechet_known,
    "manifold": our_manifold,
    "kernel": our_kernel,
    "torchmetrics_fid": peers.torchmetrics_fid,
    "torchmetrics_fid_compute": peers.torchmetrics_fid_compute,
    "scipy_sqrtm": peers.scipy_fid,
    "clean_fid": peers.clean_fid,
    "torch_fidelity_full": peers.torch_fidelity_full,
    "torch_fidelity_parts": peers.torch_fidelity_parts,
    "prdc": peers.prdc,
    "torchmetrics_kid": peers.torchmetrics_kid,
}


def set_up(name: str) -> None:
    """Threads as the targets say; for our own scores the memory too as a run has it."""
    set_threads()
    if name in OURS:
        resolve(RuntimeConfig(device="cpu"))


def from_made_up(name: str, n: int, d: int) -> Work:
    """One of `WORK`, on `features`."""
    set_up(name)
    return _silent(WORK[name](*features(n, d)))


def rows(short: bool) -> Iterator[Comparison]:
    """From features; then from images. short: small N and width, seconds in all."""
    yield from from_features(short)
    yield from from_images(short)


def from_features(short: bool) -> Iterator[Comparison]:
    """The short form's guards are well below what was measured, and lower where bf16 makes the difference."""
    n, d, pairs = (4000, 1024, 3) if short else (10_000, DIMENSION, 3)
    about = {} if short else {name: _about(name, n, d) for name in OURS}
    for ours, peer, target, guard in (
        ("frechet", "torchmetrics_fid", 6.0, 2.5),
        ("frechet_known", "torchmetrics_fid_compute", 6.0, 3.5),
        ("frechet", "scipy_sqrtm", 8.0, 3.5),
        ("frechet", "clean_fid", None, 3.5),
        ("kernel", "torchmetrics_kid", None, 2.5),
        ("manifold", "torch_fidelity_full", 4.0, GUARD),
        ("manifold", "torch_fidelity_parts", 4.0, GUARD),
        ("manifold", "prdc", 4.0, 1.5),
    ):
        if peer == "clean_fid" and not peers.clean_fid_runs():
            print("clean-fid does not run on this scipy: no row", file=sys.stderr)
            continue
        with Side(repeat, from_made_up, ours, n, d) as a, Side(repeat, from_made_up, peer, n, d) as b:
            found = {"ours": a(), "theirs": b()}
            seconds = alternate(a, b, num_pairs=pairs, warmup=False)
        yield Comparison(
            row=OURS[ours].format(n=n, d=d),
            peer=peer,
            unit="s per set",
            ours=seconds[0],
            theirs=seconds[1],
            target=guard if short else target,
            notes={**found, "limits": _limit(ours, n, d), **about.get(ours, {})},
        )


def _about(name: str, n: int, d: int) -> dict[str, Any]:
    """Where the time goes, and how much memory is needed beyond the features."""
    return {"time_goes_to": by_function(from_made_up(name, n, d)), "memory": measure(name, n)}


def _limit(work: str, n: int, d: int) -> dict[str, float]:
    """GFLOP and GB that the score cannot do without, and seconds of them at the machine's matrix rate and bandwidth."""
    rough = levels(torch.device("cpu"), d)[0]
    flop, moved, dtype = {
        # covariance, congruence, and a reduction to three diagonals, which reads all that is left of one triangle for
        # each column
        "frechet": (n * d**2 + 7 / 3 * d**3, 4 * n * d + 4 / 3 * d**3, "float64"),
        "frechet_known": (7 / 3 * d**3, 4 / 3 * d**3, "float64"),
        # half of either set with itself, and the two with each other; each block reads its points
        "kernel": (4 * n**2 * d, 4 * n**2 / BLOCK * 4 * d, "float32"),
        "manifold": (4 * n**2 * d, 4 * n**2 / BLOCK * rough.itemsize * d, str(rough).removeprefix("torch.")),
    }[work]
    machine = measured_machine("cpu")
    return {
        "gflop": flop / 1e9,
        "gigabytes": moved / 1e9,
        "seconds_at_matrix_rate": flop / 1e9 / machine.matrix_rate[dtype],
        "seconds_at_bandwidth": moved / 1e9 / machine.bandwidth,
    }


def from_images(short: bool) -> Iterator[Comparison]:
    """All families of scores of N samples, beside separate passes of torchmetrics' FID, KID and IS and of prdc.

    All use one feature network, in the memory format that suits it, and each has what it can keep of the real images
    ready before: only the samples pass through the network. Ours are more scores than theirs: beside FID, KID and
    P/R/D/C also Vendi, entropy and near duplicates; theirs have IS. N is the quick experiment's: too small for FD∞,
    which takes as long as seven Frechet distances.
    """
    n = 256 if short else 1024
    with Side(repeat, our_scores, n) as a, Side(repeat, separate_passes, n) as b:
        found = {"ours": a(), "theirs": b()}
        seconds = alternate(a, b, num_pairs=2 if short else 3, warmup=False)
    yield Comparison(
        row=f"all scores from {n} images, 64 px",
        peer="torchmetrics FID, KID, IS and prdc",
        unit="s per generation",
        ours=seconds[0],
        theirs=seconds[1],
        target=1.5 if short else 3.0,
        notes=found if short else {**found, "limits": _network_limit(n), "time_goes_to": by_function(our_scores(n))},
    )


def _network_limit(n: int) -> dict[str, Any]:
    """Of the passes of n images through the feature network, in float32: most of the work. As `beside_limits`."""
    space, images, _ = _scored(n)
    num_parameters = sum(p.numel() for p in space.network.parameters())
    count = Count(n, num_parameters, *counted(lambda: extract(space, images[0])))
    machine = measured_machine("cpu")
    seconds = count.seconds(1e9 * machine.matrix_rate["float32"], 1e9 * machine.bandwidth)
    return {"gflop": count.flops / 1e9, "seconds_at_limit": seconds}


def our_scores(n: int) -> Work:
    space, images, reference = _scored(n)
    config = MetricsConfig(num_images=n, k=K, kid_subset_size=n // 2)
    known = know(reference, config)

    def work() -> dict[str, float]:
        rows = score(extract(space, images[0]), reference, config, known=known)
        return {row["metric"]: row["value"] for row in rows}

    return work


def separate_passes(n: int) -> Work:
    space, images, reference = _scored(n)
    return _silent(peers.separate_passes(space.network, images[0], images[1], reference, K, n // 2))


def _scored(n: int) -> tuple[FeatureSpace, list[np.ndarray], np.ndarray]:
    """The network, samples and real images, and the features of these."""
    rng = np.random.default_rng(0)
    images = [_pictures(rng, n) for _ in range(2)]
    space = load_feature_space("efficientnet_lite0", resolve(RuntimeConfig(device="cpu", precision="fp32")))
    return space, images, extract(space, images[1])


def _pictures(rng: np.random.Generator, n: int) -> np.ndarray:
    """uint8 (n, 3, 64, 64): smooth random colours, whose features differ between images."""
    coarse = torch.from_numpy(rng.random((n, 3, 6, 6), dtype=np.float32))
    fine = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1)
    return (fine * 255).to(torch.uint8).numpy()


def _silent(work: Work) -> Work:
    """prdc prints."""

    def run() -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return work()

    return run
