"""Training a DDPM: `fit` reads from top to bottom.

Every draw of step s comes from (seed, s), so there is no random state to save, and a resumed training ends in
the same bytes as an uninterrupted one. Nothing in a step waits for the device; the loss is read every `WATCH`
steps.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bench.config import DDPMConfig, TrainingConfig
from bench.errors import ConfigError, DataError, TrainingError
from bench.generators.ddpm.batches import Batch, Batches
from bench.generators.ddpm.network import Process, autocast, build_process, build_scheduler, build_unet, place
from bench.generators.ddpm.specs import check, train_spec
from bench.generators.shared import checkpoint
from bench.machine import distributed, interrupt
from bench.machine.device import Runtime, silent
from bench.pool import Images, check_images
from bench.seeds import derive_seed

log = logging.getLogger(__name__)

WATCH = 100
"""Steps between looks at the loss: each look waits for the device."""


def fit(
    config: DDPMConfig,
    images: Images,
    *,
    seed: int,
    out: Path,
    work: Path,
    runtime: Runtime,
    progress: Callable[[int, int], None] | None = None,
    init: Path | None = None,
) -> dict[str, Any]:
    """See `bench.generators.fit`. `out` opens with `DDPMPipeline.from_pretrained`; its weights are the
    average (EMA). Saves a checkpoint and raises `Interrupted` at the end of a step in which SIGTERM came."""
    progress = progress or silent
    training, device = config.training, runtime.device
    check_images(images)
    if len(images) == 0:
        raise DataError("there are no images to train on")
    resolution = images.shape[-1]
    check(config, resolution)
    processes = distributed.world_size()
    if processes > 1 and training.num_micro_batches != processes:
        raise ConfigError(
            "generator.training.num_micro_batches",
            training.num_micro_batches,
            f"{processes} processes share each batch: must be {processes}",
        )
    train = Training(config, resolution, seed, runtime, init)
    batches = Batches(images, training, seed, device)
    process = build_process(config.noise, device)

    position = train.resume(work)
    start = position["step"]
    losses: list[tuple[int, float]] = position["losses"]
    loss_sum = torch.tensor(position["loss_sum"], device=device)
    healthy = torch.zeros((), dtype=torch.int64, device=device)  # steps with a finite loss, of those not yet looked at
    watched = start
    started = time.monotonic()
    with interrupt.deferred():
        for step in range(start, training.num_steps):
            loss_sum += train.gradient(process, batches.draw(step, config.noise.num_timesteps), step)
            healthy += loss_sum.isfinite()  # once it is not, it stays so
            train.update(step)

            done = step + 1
            save = done % training.checkpoint_every == 0
            look = save or done % WATCH == 0 or done == training.num_steps
            together = look or distributed.world_size() == 1  # processes that share a batch stop in the same step
            stop = together and distributed.any_process(interrupt.requested())
            if look or stop:
                since = losses[-1][0] if losses else 0
                mean = distributed.total(loss_sum).item() / (done - since)
                if not math.isfinite(mean):
                    bad = min(watched + healthy.item() + 1, done)
                    raise _diverged(mean, int(bad), training, work)
            if look:
                losses.append((done, mean))
                loss_sum.zero_()
                healthy.zero_()
                watched = done
            if stop or (save and done < training.num_steps):
                spent = position["seconds"] + time.monotonic() - started
                if distributed.is_first():
                    train.save(work, done, losses, loss_sum.item(), spent)
            progress(done, training.num_steps)
            if stop:
                raise interrupt.Interrupted

    seconds = time.monotonic() - started
    train.write(out, losses)
    return {
        "num_steps": training.num_steps,
        "images_seen": training.num_steps * training.batch_size,
        "num_parameters": sum(p.numel() for p in train.unet.parameters()),
        "mean_loss": _mean_loss(losses),
        "final_loss": losses[-1][1],
        "seconds": position["seconds"] + seconds,
        "images_per_second": (training.num_steps - start) * training.batch_size / seconds if seconds else None,
        "resumed_from_step": start,
        "num_micro_batches": train.num_micro_batches,
        "data": batches.data,
    }


class Training:
    """Everything that a step changes: weights, their average, and the optimiser's moments."""

    def __init__(self, config: DDPMConfig, resolution: int, seed: int, runtime: Runtime, init: Path | None) -> None:
        self.config = config
        self.runtime = runtime
        self.seed = seed
        self.num_micro_batches = config.training.num_micro_batches
        self.identity = _identity(config, resolution, seed, init)
        self.unet = build_unet(config.unet, resolution, derive_seed(seed, 0, "weights"))
        if init is not None:
            _copy_weights(self.unet, init)
        self.unet.train()
        self.network = place(self.unet, runtime)
        self.weights = dict(self.unet.named_parameters())
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.optimizer = torch.optim.AdamW(
            self.weights.values(),
            lr=config.training.learning_rate,
            weight_decay=config.training.weight_decay,
            fused=True,  # one kernel; on the CPU it takes a quarter of the time of foreach
        )

    def gradient(self, process: Process, batch: Batch, step: int) -> torch.Tensor:
        """The mean loss of the batch; its gradient is left in the weights' `grad`.

        Where the device's memory does not suffice, it is tried again in twice as many micro-batches, and they are kept
        for the steps that follow. The batch, and so the gradient up to rounding, stays the same.
        """
        size = len(batch[0])
        while True:
            try:
                return self._accumulate(process, batch, step)
            except torch.OutOfMemoryError:
                if self.num_micro_batches >= size or distributed.world_size() > 1:
                    raise
            self.num_micro_batches = min(2 * self.num_micro_batches, size)
            log.warning(
                "out of device memory in step %d: batches of %d in %d passes from here on",
                step,
                size,
                self.num_micro_batches,
            )
            torch.cuda.empty_cache()

    def _accumulate(self, process: Process, batch: Batch, step: int) -> torch.Tensor:
        size, passes = len(batch[0]), self.num_micro_batches
        total = torch.zeros((), device=batch[0].device)
        parts = list(zip(*(values.tensor_split(passes) for values in batch), strict=True))
        mine = distributed.share(range(passes))
        assert mine, "a process without a part of the batch has no gradient to add"
        self.optimizer.zero_grad()
        for index in mine:
            x0, eps, t = parts[index]
            if self.config.unet.dropout:
                torch.manual_seed(derive_seed(self.seed, 0, "dropout", step * passes + index))
            with autocast(self.runtime):
                loss = process.loss(self.network, x0, eps, t) * (len(x0) / size)
            loss.backward()
            total += loss.detach()
        if distributed.world_size() > 1:  # one exchange for all
            gradients = [weight.grad for weight in self.weights.values() if weight.grad is not None]
            together = torch.nn.utils.parameters_to_vector(gradients)
            distributed.ordered_total(together)
            torch.nn.utils.vector_to_parameters(together, gradients)
        return total

    def update(self, step: int) -> None:
        training = self.config.training
        torch.nn.utils.clip_grad_norm_(self.weights.values(), training.gradient_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(training, step)
        self.optimizer.step()
        average = get_ema_multi_avg_fn(ema_decay(training, step))
        average(list(self.average.values()), [weight.detach() for weight in self.weights.values()], None)

    def tensors(self) -> dict[str, torch.Tensor]:
        """For a checkpoint: weights, their averages and AdamW's state, each by the weight's name."""
        states = {name: self.optimizer.state[weight] for name, weight in self.weights.items()}
        moments = {f"{key}/{name}": value for name, state in states.items() for key, value in state.items()}
        weights = {f"weight/{name}": value for name, value in self.weights.items()}
        return {**weights, **{f"average/{name}": value for name, value in self.average.items()}, **moments}

    def save(self, work: Path, step: int, losses: list[tuple[int, float]], loss_sum: float, seconds: float) -> None:
        """losses: (step, mean loss since the entry before); loss_sum: of the steps after the last entry."""
        about = {
            "identity": self.identity,
            "losses": losses,
            "loss_sum": loss_sum,
            "seconds": seconds,
            "num_micro_batches": self.num_micro_batches,
        }
        checkpoint.save(work, step, self.tensors(), about)

    def resume(self, work: Path) -> dict[str, Any]:
        """Takes up the newest checkpoint in `work`. Returns its position; that of the start where there is
        none."""
        found = checkpoint.load(work, self.identity)
        if found is None:
            return {"step": 0, "losses": [], "loss_sum": 0.0, "seconds": 0.0}
        tensors, about = found
        for name, weight in self.weights.items():
            weight.detach().copy_(tensors[f"weight/{name}"])
            self.average[name].copy_(tensors[f"average/{name}"])
            # in the weight's own memory format, which the fused optimiser reads them in
            moments = {key: torch.empty_like(weight).copy_(tensors[f"{key}/{name}"]) for key in MOMENTS}
            self.optimizer.state[weight] = {"step": tensors[f"step/{name}"].to(weight.device), **moments}
        self.num_micro_batches = about["num_micro_batches"]
        log.info("going on from step %d of %d", about["step"], self.config.training.num_steps)
        return {**about, "losses": [(step, loss) for step, loss in about["losses"]]}

    def write(self, out: Path, losses: list[tuple[int, float]]) -> None:
        """The averaged weights as a diffusers pipeline, and the curve of the loss."""
        unet = UNet2DModel.from_config(self.unet.config)
        unet.load_state_dict(self.average)
        pipeline = DDPMPipeline(unet, build_scheduler(self.config.noise))  # type: ignore[arg-type]  # diffusers types a dummy
        pipeline.save_pretrained(out, safe_serialization=True)
        (out / "losses.json").write_text(json.dumps([{"step": s, "mean_loss": loss} for s, loss in losses]) + "\n")


MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each weight, by its own names."""


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Linear warm-up to the full rate, then as `training.decay` says."""
    peak, warmup = training.learning_rate, training.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    left = (training.num_steps - step) / max(training.num_steps - warmup, 1)
    if training.decay == "linear":
        return peak * left
    if training.decay == "cosine":
        return peak * 0.5 * (1 - math.cos(math.pi * left))
    return peak


def ema_decay(training: TrainingConfig, step: int) -> float:
    """Rises to `training.ema_decay` as (1 + s) / (10 + s), so that the average soon forgets the random
    start."""
    return min(training.ema_decay, (1 + step) / (10 + step))


def _identity(config: DDPMConfig, resolution: int, seed: int, init: Path | None) -> str:
    """Says which training a checkpoint belongs to."""
    about = [train_spec(config), resolution, seed, str(init)]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _copy_weights(unet: UNet2DModel, init: Path) -> None:
    source = UNet2DModel.from_pretrained(init / "unet", low_cpu_mem_usage=False).state_dict()
    shapes = {name: weight.shape for name, weight in unet.state_dict().items()}
    if shapes != {name: weight.shape for name, weight in source.items()}:
        raise ConfigError("generator.unet", str(init), "the model to start from has another network than this config")
    unet.load_state_dict(source)


def _mean_loss(losses: list[tuple[int, float]]) -> float:
    total, since = 0.0, 0
    for step, loss in losses:
        total += loss * (step - since)
        since = step
    return total / since


def _diverged(loss: float, step: int, training: TrainingConfig, work: Path) -> TrainingError:
    good = checkpoint.newest(work)
    return TrainingError(
        f"the loss became {loss} at step {step} of {training.num_steps} "
        f"(generator.training.learning_rate={training.learning_rate:g}, at this step "
        f"{learning_rate(training, step - 1):g}); last good checkpoint: {good or 'none'}"
    )
