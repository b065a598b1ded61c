"""Sampling compared with diffusers' pipeline: images per second at equal network evaluations.

Our side is timed over the whole of `generators.sample`: reading the network from disk, noise from seeds, the solver,
quantising, and writing finished blocks. The pipeline is built once, untimed, and returns float arrays, not PIL images.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from bench import generators
from bench.config import RuntimeConfig, register_schemas
from bench.datasets import load_real
from bench.machine.device import resolve_runtime
from bench.perf.pairs import Comparison, Spread, Turn, alternate, timed
from bench.perf.roofline import gflop
from bench.perf.sides import Side
from bench.protocols import compose_config

TARGET = 1.7
LARGER = ("data.resolution=32", "generator.unet.channels=[64,128,128]", "generator.unet.attention=[false,false,true]")
"""Overrides for a network that spends more time on arithmetic than on calls."""

BATCH = 32  # images in one network evaluation, on both sides


def rows(short: bool) -> Iterator[Comparison]:
    """Compare on two networks; if `short`, only on the smaller one, with few images."""
    yield compare(num_images=64 if short else 512, num_pairs=3 if short else 7)
    if not short:
        yield compare(num_images=128, num_pairs=5, overrides=LARGER)


def compare(num_images: int, num_pairs: int, overrides: tuple[str, ...] = ()) -> Comparison:
    """Compare on the network of `experiment=quick`, with the given overrides, after one training step."""
    register_schemas()
    config = compose_config(["experiment=quick", "generator.training.num_steps=1", *overrides])
    generator: Any = config.generator
    images, runtime = load_real(config.data).train.items, resolve_runtime(RuntimeConfig())
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        generators.fit(generator, images, seed=0, out=model, work=Path(folder, "work"), runtime=runtime)
        with Side(our_turn, generator, model, num_images) as a, Side(ddim_turn, generator, model, num_images) as b:
            seconds, _ = alternate(a, b, num_pairs=num_pairs)
    ours, theirs = ([s / num_images for s in each] for each in seconds)
    steps = generator.sampling.num_steps
    rate = gflop(generator.unet, (1, *images.shape[1:]), training=False) * steps / Spread.of(ours).median
    notes = {"network_evaluations": steps, "precision": runtime.precision, "gflop_per_second": rate}
    network = "-".join(map(str, generator.unet.channels))
    row = f"sampling, {steps} steps, {network}, {config.data.resolution} px, {runtime.device.type}"
    return Comparison(row, "DDIMPipeline, fp32", "image", ours, theirs, TARGET, notes)


def our_turn(generator: Any, model: Path, num_images: int) -> Turn:
    """Return a turn that samples with `generators.sample`."""
    runtime = resolve_runtime(RuntimeConfig())
    config = replace(generator, sampling=replace(generator.sampling, batch_size=BATCH))

    def sample() -> None:
        with tempfile.TemporaryDirectory() as work:
            generators.sample(config, model, np.arange(num_images), work=Path(work), runtime=runtime)

    return partial(timed, sample)


def ddim_turn(generator: Any, model: Path, num_images: int) -> Turn:
    """Return a turn that samples with diffusers' pipeline, with the same number of network evaluations."""
    pipeline: Any = DDIMPipeline.from_pretrained(model).to(resolve_runtime(RuntimeConfig()).device)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    one = partial(pipeline, BATCH, num_inference_steps=generator.sampling.num_steps, output_type="np")
    return partial(timed, lambda: len([one() for _ in range(num_images // BATCH)]))
