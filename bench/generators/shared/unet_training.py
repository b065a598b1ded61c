"""Training of a UNet to remove noise. The loop over the steps is in `bench.generators.shared.steps`."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from bench.errors import ConfigError, TrainingError
from bench.generators.shared import steps
from bench.generators.shared.gradients import GradientExchange
from bench.generators.shared.noisy_batches import NoisyBatch, NoisyBatches
from bench.generators.shared.steps import Trainee
from bench.generators.shared.unet import Network, build_unet, place
from bench.generators.shared.unet_config import UNetGeneratorConfig, check
from bench.kinds import Items
from bench.machine import distributed, out_of_memory
from bench.machine.device import Runtime
from bench.options import stage_values
from bench.seeds import derive_seed

log = logging.getLogger(__name__)

MOMENTS = ("exp_avg", "exp_avg_sq")
"""The moments that AdamW keeps for each weight, by torch's names."""


class Process(Protocol):
    """The mixture of an image and noise at each time, and the loss of the network on it."""

    def times(self, u: torch.Tensor) -> torch.Tensor:
        """Return the times (n,) of training for uniform numbers in [0, 1], float32 (n,)."""

    def loss(self, network: Network, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of images in [-1, 1], float32 (n, 3, H, W), with noise of their shape, at times (n,)."""


def fit(
    training: "Callable[[Any, Items, int, Runtime, Path | None], UNetTraining]",
    version: int,
    config: UNetGeneratorConfig,
    images: Items,
    *,
    seed: int,
    out: Path,
    work: Path,
    runtime: Runtime,
    progress: Callable[[int, int], None],
    init: Path | None = None,
) -> dict[str, Any]:
    """Train on images, uint8 (N, 3, H, H), and write the model as a diffusers pipeline with the averaged (EMA) weights.

    Other Args, Returns and Raises are those of `bench.generators.fit`.

    Args:
        training: The generator's training class, called with (config, images, seed, runtime, init).
        version: Version of the generator's training code. A checkpoint of another version is not resumed.
    """
    check(config, images.shape[1:])
    trainee = training(config, images, seed, runtime, init)
    identity = training_identity(config, version, trainee.resolution, seed, init)
    course = steps.train(
        trainee, config.training, identity=identity, device=runtime.device, work=work, progress=progress
    )
    trainee.write(out, course.losses)
    return {
        **course.facts(config.training),
        "num_parameters": sum(p.numel() for p in trainee.unet.parameters()),
        "num_micro_batches": trainee.num_micro_batches,
        "out_of_memory": list(trainee.out_of_memory),
        "num_processes": distributed.world_size(),
        "data": trainee.batches.batches.data,
    }


def training_identity(config: UNetGeneratorConfig, version: int, resolution: int, seed: int, init: Path | None) -> str:
    """Return a hash of everything that a training must have in common with a checkpoint that it resumes from.

    Args:
        config: The generator's configuration.
        version: Version of the generator's training code.
        resolution: Side of the images, in pixels.
        seed: Seed of the training.
        init: Directory of the model to start from, if any.
    """
    about = [version, stage_values(config, "train", "train"), resolution, seed, str(init)]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


class UNetTraining(Trainee):
    """Everything that a step changes: the weights, their average, and the optimiser's moments.

    Args:
        config: The generator's configuration.
        images: uint8 (N, 3, H, H).
        seed: Seed of every draw of the training.
        runtime: Device and precision.
        init: Directory of a model to start from; None: weights drawn from `seed`.
        process: The process that the network learns, on the runtime's device.
        scheduler: The diffusers scheduler that is stored with the model.
    """

    shares_batches = True

    def __init__(
        self,
        config: UNetGeneratorConfig,
        images: Items,
        seed: int,
        runtime: Runtime,
        init: Path | None,
        process: Process,
        scheduler: SchedulerMixin,
    ) -> None:
        if distributed.world_size() not in (1, config.training.num_micro_batches):
            allowed = f"{distributed.world_size()} processes share each batch: must be {distributed.world_size()}"
            raise ConfigError("generator.training.num_micro_batches", config.training.num_micro_batches, allowed)
        self.config = config
        self.process = process
        self.scheduler = scheduler
        self.resolution = images.shape[-1]
        self.runtime = runtime
        self.seed = seed
        self.num_micro_batches = config.training.num_micro_batches
        self.batches = NoisyBatches(images, config.training, seed, runtime.device, runtime.draw_on)
        self.unet = build_unet(config.unet, self.resolution, derive_seed(seed, 0, "weights"))
        if init is not None:
            _copy_weights(self.unet, init)
        self.unet.train()
        self.network = place(self.unet, runtime)
        self.weights = dict(self.unet.named_parameters())
        self.exchange = GradientExchange(list(self.weights.values()), runtime.ordered_gradients)
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.optimizer = torch.optim.AdamW(
            self.weights.values(),
            lr=config.training.learning_rate,
            weight_decay=config.training.weight_decay,
            fused=True,  # one kernel; on the CPU it takes a quarter of the time of foreach
        )

    def step(self, step: int) -> torch.Tensor:
        """Take one optimiser step and return the mean loss of its batch."""
        loss = self.gradient(self.batches.draw(step), step)
        self.update(step)
        return loss

    def gradient(self, batch: NoisyBatch, step: int) -> torch.Tensor:
        """Return this process's part of the batch's mean loss, and leave the whole batch's gradient in the weights'
        `grad`.

        If the device of any process runs out of memory, the batch is retried in twice as many micro-batches, and so are
        the following batches. The batch stays the same, and so does the gradient up to rounding. Raises `TrainingError`
        in all processes if memory does not suffice for one image at a time.
        """
        size = len(batch[0])
        while True:
            loss, failure = None, None
            try:
                loss = self._accumulate(batch, step)
            except torch.OutOfMemoryError as error:
                failure = error
            if not distributed.any_process(loss is None):
                break
            passes = self.num_micro_batches
            event = out_of_memory.describe(failure, self.runtime.device) | {"step": step, "num_micro_batches": passes}
            what = f"{out_of_memory.sentence(event)} in step {step}"
            if passes >= size:
                raise TrainingError(f"{what}, for one image at a time") from failure
            self.out_of_memory = (*self.out_of_memory, event)
            self.num_micro_batches = min(2 * passes, size)
            log.warning("%s: batches of %d are computed in %d passes from now on", what, size, self.num_micro_batches)
            failure = None  # releases the tensors of the pass that failed
            torch.cuda.empty_cache()
        assert loss is not None
        if distributed.world_size() > 1:
            self.exchange()
        return loss

    def _accumulate(self, batch: NoisyBatch, step: int) -> torch.Tensor:
        size, passes = len(batch[0]), self.num_micro_batches
        total = torch.zeros((), device=batch[0].device)
        parts = list(zip(*(values.tensor_split(passes) for values in batch), strict=True))
        mine = distributed.shard(range(passes))
        assert mine, "every process needs a part of the batch"
        self.optimizer.zero_grad()
        if len(mine) > 1 and self.runtime.compile:
            # A replayed graph leaves gradients in its own memory, where the next pass would overwrite them before they
            # are accumulated. So they are added to separate buffers from the first pass on.
            for weight in self.weights.values():
                weight.grad = torch.zeros_like(weight)
        for index in mine:
            x0, eps, u = parts[index]
            if self.config.unet.dropout:
                torch.manual_seed(derive_seed(self.seed, 0, "dropout", step * passes + index))
            with self.runtime.mixed_precision():
                loss = self.process.loss(self.network, x0, eps, self.process.times(u)) * (len(x0) / size)
            loss.backward()
            total += loss.detach()
        return total

    def update(self, step: int) -> None:
        """Update the weights by the gradient in `grad`, and then update their average."""
        steps.update(self.weights, self.average, self.optimizer, self.config.training, step)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the weights, their averages and AdamW's state, as `<what>/<name of the weight>`."""
        return steps.tensors_of(self.weights, self.average, self.optimizer)

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore the state from the tensors of a checkpoint."""
        for name, weight in self.weights.items():
            weight.detach().copy_(tensors[f"weight/{name}"])
            self.average[name].copy_(tensors[f"average/{name}"])
            moments = {key: torch.empty_like(weight).copy_(tensors[f"{key}/{name}"]) for key in MOMENTS}
            self.optimizer.state[weight] = {"step": tensors[f"step/{name}"].to(weight.device), **moments}

    def write(self, out: Path, losses: list[tuple[int, float]]) -> None:
        """Write the averaged weights as a diffusers pipeline, and the loss curve."""
        unet = UNet2DModel.from_config(self.unet.config)
        unet.load_state_dict(self.average)
        pipeline = DDPMPipeline(unet, self.scheduler)  # type: ignore[arg-type]  # diffusers types a dummy
        pipeline.save_pretrained(out, safe_serialization=True)
        (out / "losses.json").write_text(json.dumps([{"step": s, "mean_loss": loss} for s, loss in losses]) + "\n")


def _copy_weights(unet: UNet2DModel, init: Path) -> None:
    source = UNet2DModel.from_pretrained(init / "unet", low_cpu_mem_usage=False).state_dict()
    shapes = {name: weight.shape for name, weight in unet.state_dict().items()}
    if shapes != {name: weight.shape for name, weight in source.items()}:
        raise ConfigError("generator.unet", str(init), "the model to start from has another network than this config")
    unet.load_state_dict(source)
