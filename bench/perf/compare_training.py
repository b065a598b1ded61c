"""Training images per second: `fit` compared with the loops that a user would write or install instead.

Our side is timed within `generators.fit`, between two calls of its progress callback. The time covers data, timesteps,
loss, gradient, clipping, optimiser, moving average and reading the loss. Each side runs in its own process.
"""

import contextlib
import functools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import generators
from bench.config import RuntimeConfig, register_schemas
from bench.datasets import load_real
from bench.generators.shared.unet import build_unet
from bench.machine.device import resolve_runtime
from bench.perf.machine_limits import device_types
from bench.perf.pairs import Comparison, Spread, Turn, alternate, drain, timed
from bench.perf.peers.diffusers_loop import DiffusersLoop
from bench.perf.roofline import gflop
from bench.perf.sides import Side
from bench.protocols import compose_config

STOCK, INSTALLED = "stock diffusers loop, fp32", "denoising-diffusion-pytorch Trainer"
TARGET = 2.0
WARM = 2  # the first steps of each training are not timed
AS_THE_EXAMPLE = """
    experiment=none data=procedural data.num_calibration=0 data.num_train=256 data.num_heldout=256
    metrics.num_images=256
    generator.unet.dropout=0 generator.training.horizontal_flip=true
    generator.noise.beta_schedule=linear generator.noise.prediction=epsilon generator.noise.min_snr_gamma=null
    generator.training.num_epochs=null generator.training.warmup_steps=0 generator.training.decay=none
"""
"""The settings of diffusers' example: epsilon prediction with the plain squared error, and random horizontal flips."""


@dataclass(frozen=True)
class Case:
    """A network, given by the overrides that select it, on images of one size. turn: steps timed in each turn."""

    name: str
    network: tuple[str, ...]
    resolution: int
    batch_size: int
    turn: int

    @functools.cached_property
    def config(self) -> Any:
        register_schemas()
        sizes = {"batch_size": self.batch_size, "num_steps": WARM + self.turn, "checkpoint_every": WARM + self.turn}
        chosen = [f"generator.training.{key}={value}" for key, value in sizes.items()]
        return compose_config([*self.network, *AS_THE_EXAMPLE.split(), *chosen, f"data.resolution={self.resolution}"])

    def images(self) -> np.ndarray:
        return load_real(self.config.data).train.items

    def rate(self, seconds: list[float]) -> float:
        """Return GFLOP/s at the median of the given seconds per turn."""
        step = gflop(self.config.generator.unet, (self.batch_size, 3, self.resolution, self.resolution), training=True)
        return step * self.turn / Spread.of(seconds).median


TINY = Case("ddpm_tiny", ("generator=ddpm_tiny",), 16, 8, 40)
SMALL = Case("ddpm_small", ("generator=ddpm_small",), 16, 16, 20)
WIDE = Case("64-128-128", ("generator=ddpm_small", "generator.unet.channels=[64,128,128]"), 32, 32, 3)
HEADLINE = Case("ddpm", ("generator=ddpm",), 64, 128, 20)


def rows(short: bool) -> Iterator[Comparison]:
    """Compare on the CPU, and on a CUDA device if there is one; if `short`, only the smallest network on the CPU."""
    yield from compare(replace(TINY, turn=20) if short else TINY, "cpu", 3 if short else 9, STOCK)
    if not short:
        yield from compare(SMALL, "cpu", 9, STOCK, INSTALLED)
        yield from compare(WIDE, "cpu", 9, STOCK)
        yield from compare(replace(HEADLINE, batch_size=8, turn=1), "cpu", 5, STOCK)
        if "cuda" in device_types():
            yield from compare(HEADLINE, "cuda", 5, STOCK, INSTALLED)


def compare(case: Case, device: str, num_pairs: int, *peers: str) -> Iterator[Comparison]:
    """Yield one row per peer, with each side timed `num_pairs` times."""
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Side(our_turn, case, device))
        theirs = [stack.enter_context(Side(peer_turn, peer, case, device)) for peer in peers]
        seconds, parameters = alternate(ours, *theirs, num_pairs=num_pairs)
    per_image = [[s / case.turn / case.batch_size for s in each] for each in seconds]
    notes = {"parameters": parameters[0], "gflop_per_second": case.rate(seconds[0])}
    row = f"training, {case.name}: {case.resolution} px, batch {case.batch_size}, {device}"
    for peer, each, count in zip(peers, per_image[1:], parameters[1:], strict=True):
        yield Comparison(row, peer, "image", per_image[0], each, TARGET, {**notes, "their_parameters": count})


def our_turn(case: Case, device: str) -> Turn:
    """Return a turn that times `fit` after its first `WARM` steps. Its result is the number of parameters."""
    runtime = resolve_runtime(RuntimeConfig(device=device))
    images = case.images()

    def turn() -> tuple[float, int]:
        times = []

        def look(done: int, total: int) -> None:
            if done in (WARM, total):
                drain()
                times.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as folder:
            paths = {"out": Path(folder, "out"), "work": Path(folder, "work")}
            facts = generators.fit(case.config.generator, images, seed=0, runtime=runtime, progress=look, **paths)
        return times[1] - times[0], facts["num_parameters"]

    return turn


def peer_turn(peer: str, case: Case, device: str) -> Turn:
    """Return a turn that continues one long training. Its result is the number of parameters."""
    unet = build_unet(case.config.generator.unet, case.resolution, seed=0)
    loop: Any
    if peer == STOCK:
        loop = DiffusersLoop(unet, case.images(), case.batch_size, torch.device(device))
    else:
        from bench.perf.peers.denoising_diffusion import DenoisingDiffusion

        loop = DenoisingDiffusion(case.images(), case.batch_size, unet.num_parameters(), len(unet.down_blocks))
    return lambda: (timed(lambda: loop.run(case.turn))[0], loop.num_parameters)
