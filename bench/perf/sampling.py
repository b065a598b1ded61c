"""Sampling beside diffusers' pipelines: images per second at equal network evaluations, and time to equal quality.

Ours is the whole of `generators.sample`: the network read from disk, noise from seeds, the solver, quantising, and
finished blocks written. The pipelines are built once, untimed, and give float arrays, not PIL images.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from bench import generators
from bench.config import DDPMConfig, ProceduralConfig, RuntimeConfig, register_schemas
from bench.datasets import load_real
from bench.metrics.features import FeatureSpace, extract, load_feature_space
from bench.metrics.frechet import Statistics, frechet_distance
from bench.perf.counting import beside_limits, evaluation
from bench.perf.pairs import Comparison, Spread, Work, alternate, drain
from bench.perf.profiles import by_operator
from bench.perf.sides import Side, repeat, set_threads
from bench.perf.training import GUARD
from bench.protocols import compose_config
from bench.runtime import Runtime, resolve

RATE_TARGET = 1.7
QUALITY_TARGET = 25.0

WITHIN = 1.02
"""Of the Frechet distance of ancestral sampling: as good as it."""

LADDER = [(sampler, steps) for steps in (10, 15, 20, 25, 30, 40, 50, 80) for sampler in ("ddpm", "dpmsolver++")]
"""Tried in this order, cheapest first, until one is as good as ancestral sampling."""

LARGER = ("data.resolution=32", "generator.unet.channels=[64,128,128]", "generator.unet.attention=[false,false,true]")
"""A network whose time goes to arithmetic more than to calls."""

NUM_SEEDS = 3
"""Sets of sampling seeds that our Frechet distances are averaged over."""

ANCESTRAL_STEPS = 1000

BATCH = 32
"""Images in one network evaluation, on both sides; what we always take on the CPU."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A model on disk and how it was trained."""

    config: DDPMConfig
    model: Path
    runtime: Runtime

    @property
    def resolution(self) -> int:
        return int(UNet2DModel.load_config(self.model / "unet")["sample_size"])

    def sample(self, seeds: np.ndarray, runtime: Runtime | None = None, **sampling: Any) -> np.ndarray:
        """uint8 (n, 3, H, H), through `generators.sample`. sampling: values that differ from the configuration's."""
        config = replace(self.config, sampling=replace(self.config.sampling, **sampling))
        with tempfile.TemporaryDirectory() as work:
            return generators.sample(config, self.model, seeds, work=Path(work), runtime=runtime or self.runtime)


def rows(short: bool) -> Iterator[Comparison]:
    """Images per second and, unless `short`, the time to the quality of ancestral sampling."""
    set_threads()
    runtime = resolve(RuntimeConfig())
    with tempfile.TemporaryDirectory() as folder:
        trained = train(Path(folder), runtime, num_steps=20 if short else None)
        yield at_equal_steps(
            trained,
            num_images=64 if short else 512,
            num_pairs=3 if short else 7,
            target=GUARD if short else RATE_TARGET,
        )
        if not short:
            larger = train(Path(folder, "larger"), runtime, num_steps=1, overrides=LARGER)
            yield at_equal_steps(larger, num_images=128, num_pairs=5)
            yield to_equal_quality(trained, Path(folder), num_images=256)


def train(
    folder: Path, runtime: Runtime, seed: int = 0, num_steps: int | None = None, overrides: Sequence[str] = ()
) -> Trained:
    """The quick experiment's first training. num_steps: fewer, where only the time of sampling is wanted."""
    register_schemas()
    config = compose_config(["experiment=quick", *overrides])
    assert isinstance(config.generator, DDPMConfig)
    steps = num_steps or config.generator.training.num_steps
    training = replace(config.generator.training, num_steps=steps, warmup_steps=min(50, steps - 1))
    generator = replace(config.generator, training=training)
    model = folder / f"model-{seed}-{runtime.precision}"
    images = load_real(config.data).train.images
    generators.fit(generator, images, seed=seed, out=model, work=folder / f"{model.name}.work", runtime=runtime)
    return Trained(generator, model, runtime)


def our_sampling(trained: Trained, num_images: int) -> Work:
    resolve(RuntimeConfig(device=trained.runtime.device.type))  # in this process, as a run does
    return lambda: trained.sample(np.arange(num_images), batch_size=BATCH).shape


def ddim_sampling(trained: Trained, num_images: int, batch: int) -> Work:
    """As many network evaluations by diffusers' pipeline."""
    pipeline = DDIMPipeline.from_pretrained(trained.model)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(trained.runtime.device)

    def work() -> None:
        for _ in range(num_images // batch):
            pipeline(batch_size=batch, num_inference_steps=trained.config.sampling.num_steps, output_type="np")

    return work


def at_equal_steps(trained: Trained, num_images: int, num_pairs: int, target: float = RATE_TARGET) -> Comparison:
    full = num_pairs > 3
    half = num_images // 2
    with contextlib.ExitStack() as stack:
        arguments: list[tuple[Any, ...]] = [(our_sampling, trained, num_images)]
        arguments += [(ddim_sampling, trained, num_images, batch) for batch in ((BATCH, half) if full else (BATCH,))]
        sides = [stack.enter_context(Side(repeat, *each)) for each in arguments]
        found = alternate(*sides, num_pairs=num_pairs)
    ours, theirs, *at_half = ([s / num_images for s in seconds] for seconds in found)
    steps = trained.config.sampling.num_steps
    notes: dict[str, Any] = {"network_evaluations": steps, "batch": BATCH, "precision": trained.runtime.precision}
    if full:
        ratios = Spread.of([b / a for a, b in zip(ours, at_half[0], strict=True)])
        notes[f"ratio_to_their_batch_of_{half}"] = str(ratios)
        notes["time_goes_to"] = {
            "ours": by_operator(our_sampling(trained, num_images)),
            "DDIMPipeline": by_operator(ddim_sampling(trained, num_images, BATCH)),
        }
    channels = "-".join(map(str, trained.config.unet.channels))
    notes["limits"] = limits(trained, ours, steps)
    row = f"sampling, {steps} steps, {channels}, {trained.resolution} px, {trained.runtime.device.type}"
    return Comparison(row, "DDIMPipeline, fp32", "image", ours, theirs, target, notes)


def limits(trained: Trained, seconds_per_image: list[float], num_steps: int) -> dict[str, Any]:
    """Of one network evaluation."""
    count = evaluation(trained.config, trained.resolution, BATCH, trained.runtime.autocast or torch.float32)
    return beside_limits(count, Spread.of(seconds_per_image).median * BATCH / num_steps, trained.runtime)


class Judge:
    """Frechet distance from held-out images, as many as are judged."""

    def __init__(self, num_images: int, runtime: Runtime) -> None:
        config = ProceduralConfig(num_train=num_images, num_heldout=num_images)
        real = load_real(config)
        self.space: FeatureSpace = load_feature_space("efficientnet_lite0", runtime)
        self.reference = Statistics.of(extract(self.space, real.heldout.images))
        self.floor = self.distance(real.train.images)

    def distance(self, images: np.ndarray) -> float:
        return frechet_distance(extract(self.space, images), self.reference)


def to_equal_quality(trained: Trained, folder: Path, num_images: int) -> Comparison:
    """Ours is the first rung of `LADDER` whose mean distance over sampling seeds is `WITHIN` ancestral sampling's.

    Where none is, the last rung is timed, `reached` in the notes says False, and the row has no target to be held to.
    """
    judge = Judge(num_images, trained.runtime)
    pipeline = DDPMPipeline.from_pretrained(trained.model)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(trained.runtime.device)
    drain()
    started = time.perf_counter()
    count = num_images // BATCH
    asked: dict[str, Any] = {"batch_size": BATCH, "num_inference_steps": ANCESTRAL_STEPS, "output_type": "np"}
    batches = [np.asarray(pipeline(**asked, return_dict=False)[0]) for _ in range(count)]
    drain()
    theirs = time.perf_counter() - started
    images = (np.concatenate(batches) * 255).round().astype(np.uint8).transpose(0, 3, 1, 2)
    ancestral = judge.distance(images)

    climbed: dict[str, list[float]] = {}
    found: dict[str, Any] = {}
    seconds: list[float] = []
    reached = False
    for sampler, steps in LADDER:
        found = {"sampler": sampler, "num_steps": steps}
        distances, seconds = distances_by_seed(trained, judge, num_images, trained.runtime, found)
        climbed[f"{sampler}, {steps}"] = distances
        reached = bool(np.mean(distances) <= WITHIN * ancestral)
        if reached:
            break
    notes = {
        "num_images": num_images,
        "frechet_distance_ancestral": ancestral,
        "frechet_distance_floor": judge.floor,
        "frechet_distances_ours_by_seed": climbed,
        "reached": reached,
        **found,
        "precision": trained.runtime.precision,
        **precision_beside_seeds(trained, judge, num_images, folder, found),
    }
    row = f"time to the quality of 1000 ancestral steps, {trained.resolution} px, {trained.runtime.device.type}"
    per_image = [s / num_images for s in seconds]
    notes["limits"] = limits(trained, per_image, found["num_steps"])
    peer = [theirs / num_images] * len(seconds)  # one run of 1000 steps is long enough to be its own average
    target = QUALITY_TARGET if reached else None
    return Comparison(row, "DDPMPipeline, 1000 steps, fp32", "image", per_image, peer, target, notes)


def distances_by_seed(
    trained: Trained, judge: Judge, num_images: int, runtime: Runtime, sampling: dict[str, Any]
) -> tuple[list[float], list[float]]:
    """Frechet distance and seconds of each set of sampling seeds."""
    distances, seconds = [], []
    for index in range(NUM_SEEDS):
        seeds = np.arange(num_images) + index * num_images
        drain()
        started = time.perf_counter()
        images = trained.sample(seeds, runtime, **sampling)
        drain()
        seconds.append(time.perf_counter() - started)
        distances.append(judge.distance(images))
    return distances, seconds


def precision_beside_seeds(
    trained: Trained, judge: Judge, num_images: int, folder: Path, sampling: dict[str, Any]
) -> dict[str, list[float]]:
    """Frechet distances with bf16 and with fp32, of sampling and of training, beside other seeds of the same."""
    plain = replace(trained.runtime, autocast=None)
    half = replace(trained.runtime, autocast=torch.bfloat16)
    found = {}
    for name, runtime in (("bf16", half), ("fp32", plain)):
        found[f"fd_sampled_in_{name}"] = distances_by_seed(trained, judge, num_images, runtime, sampling)[0]
        retrained = [train(folder, runtime, seed) for seed in (0, 1)]
        seeds = np.arange(num_images)
        found[f"fd_trained_in_{name}"] = [judge.distance(t.sample(seeds, plain, **sampling)) for t in retrained]
    return found
