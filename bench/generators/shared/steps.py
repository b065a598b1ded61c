"""The loop of a checkpointed training, shared by every family that is trained by gradient steps.

A step's draws come from (seed, step), so there is no random state to save, and a resumed training ends in the same
bytes as an uninterrupted one (on CUDA only if the kernels are deterministic). A step does not wait for the device. The
loss is read every `WATCH` steps. The loss and the weights are checked before every checkpoint and at the end, so that
no model with a NaN or infinite weight is stored.
"""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bench.errors import TrainingError
from bench.generators.shared import checkpoint
from bench.generators.shared.schedule import TrainingConfig, ema_decay, learning_rate
from bench.machine import distributed, interrupt

log = logging.getLogger(__name__)

WATCH = 100
"""Steps between two entries of the loss curve. Each reading of the loss waits for the device. This is a constant,
because the curve is part of a model and must not depend on the interval of checkpoints."""


class Trainee(ABC):
    """A model in training: the state that a step changes, and the step itself.

    Attributes:
        num_micro_batches: Number of passes that a batch is currently split into.
        out_of_memory: One ledger record for each time that a device ran out of memory and `num_micro_batches` was
            raised.
        shares_batches: Whether processes that run together compute a part of each batch each, so that the loss of a
            process is a part of the batch's loss. Otherwise every process computes whole batches.
    """

    num_micro_batches = 1
    out_of_memory: tuple[dict[str, Any], ...] = ()
    shares_batches = False

    @abstractmethod
    def step(self, step: int) -> torch.Tensor:
        """Take one optimiser step and return its mean loss, a scalar on the device, or this process's part of it."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """Return everything that a step changes, by name, for a checkpoint."""

    @abstractmethod
    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore the state from the tensors of a checkpoint, which are on the CPU."""


@dataclass
class Course:
    """The progress of a training.

    Attributes:
        step: Number of steps done.
        losses: The loss curve: entries (step, mean loss since the previous entry).
        loss_sum: Sum of the losses since the last entry, over all processes that share batches.
        seconds: Seconds spent in this process and in earlier, interrupted ones.
        resumed_from: Step of the checkpoint that this process started from; 0 without one.
        seconds_here: Seconds spent in this process.
    """

    step: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    loss_sum: float = 0.0
    seconds: float = 0.0
    resumed_from: int = 0
    seconds_here: float = 0.0

    @property
    def mean_loss(self) -> float:
        """Return the mean loss over all steps."""
        total, since = 0.0, 0
        for step, loss in self.losses:
            total += loss * (step - since)
            since = step
        return total / since

    def facts(self, training: TrainingConfig) -> dict[str, Any]:
        """Return the facts that the ledger records about a finished training."""
        here = (training.num_steps - self.resumed_from) * training.batch_size
        return {
            "num_steps": training.num_steps,
            "images_seen": training.num_steps * training.batch_size,
            "mean_loss": self.mean_loss,
            "final_loss": self.losses[-1][1],
            "seconds": self.seconds,
            "images_per_second": here / self.seconds_here if self.seconds_here else None,
            "resumed_from_step": self.resumed_from,
        }


def train(
    trainee: Trainee,
    training: TrainingConfig,
    *,
    identity: str,
    device: torch.device,
    work: Path,
    progress: Callable[[int, int], None],
) -> Course:
    """Run all steps of a training, starting from the newest checkpoint in `work`.

    Args:
        trainee: The model in training, in its state before the first step.
        training: Gives the number of steps and the interval of checkpoints.
        identity: Identifies the training; checkpoints with another identity are not used.
        device: Device of the losses.
        work: Directory that outlives a killed process, for checkpoints.
        progress: Called with (steps done, total steps). If it has a method `loss` (`bench.machine.device.Watched`),
            the method is called with every entry of the loss curve.

    Returns:
        The course of the finished training.

    Raises:
        TrainingError: The loss or a weight is no longer finite; the message names the step.
        Interrupted: SIGTERM was received; a checkpoint of the last complete step is saved.
    """
    course = resume(trainee, training, identity, work)
    start = watched = course.step
    tell = getattr(progress, "loss", None)
    mine = distributed.is_first() or not trainee.shares_batches  # a checkpoint's sum is of all processes: count it once
    loss_sum = torch.tensor(course.loss_sum if mine else 0.0, device=device)
    healthy = torch.zeros((), dtype=torch.int64, device=device)  # steps with a finite loss since the last reading
    before, started = course.seconds, time.monotonic()
    with interrupt.deferred(), checkpoint.Writer(work) as writer:
        for step in range(start, training.num_steps):
            loss_sum += trainee.step(step)
            healthy += loss_sum.isfinite()  # a sum that is not finite stays not finite

            done = step + 1
            last = done == training.num_steps
            record = last or done % WATCH == 0
            save = done % training.checkpoint_every == 0 and not last
            stop = distributed.any_process(interrupt.requested())  # sharers of a batch must stop in the same step
            if record or save or stop:
                total = (distributed.all_reduce_sum(loss_sum.clone()) if trainee.shares_batches else loss_sum).item()
                if not math.isfinite(total):
                    first = int(min(watched + healthy.item() + 1, done))
                    raise diverged(f"the loss became {total}", first, training, writer)
            if last or save or stop:
                check_weights(trainee, done, training, writer)
            if record:
                since = course.losses[-1][0] if course.losses else 0
                course.losses.append((done, total / (done - since)))
                if tell is not None:
                    tell(done, training.num_steps, course.losses[-1][1])
                loss_sum.zero_()
                healthy.zero_()
                watched, total = done, 0.0
            if stop or save:
                course.step, course.loss_sum = done, total
                course.seconds = before + time.monotonic() - started
                if distributed.is_first():
                    save_checkpoint(trainee, course, identity, writer)
            progress(done, training.num_steps)
            if stop:
                interrupt.stop()
    course.seconds_here = time.monotonic() - started
    course.seconds = before + course.seconds_here
    return course


def save_checkpoint(trainee: Trainee, course: Course, identity: str, writer: checkpoint.Writer) -> None:
    """Hand a checkpoint of the current step to the writer.

    Args:
        trainee: The model in training.
        course: The progress of the training.
        identity: Identifies the training.
        writer: Writes the checkpoint.
    """
    about = {
        "identity": identity,
        "losses": list(course.losses),
        "loss_sum": course.loss_sum,
        "seconds": course.seconds,
        "num_micro_batches": trainee.num_micro_batches,
        "out_of_memory": trainee.out_of_memory,
    }
    writer.save(course.step, trainee.tensors(), about)


def resume(trainee: Trainee, training: TrainingConfig, identity: str, work: Path) -> Course:
    """Restore the newest checkpoint of this training, if there is one.

    Args:
        trainee: The model in training; its state is replaced by that of the checkpoint.
        training: Gives the number of steps, for the log.
        identity: Identifies the training; checkpoints with another identity are not used.
        work: Directory of the checkpoints.

    Returns:
        The course of the checkpoint, or a new one if there is none.
    """
    newest = checkpoint.load(work, identity)
    if newest is None:
        return Course()
    tensors, about = newest
    trainee.restore(tensors)
    trainee.num_micro_batches = about["num_micro_batches"]
    trainee.out_of_memory = tuple(about["out_of_memory"])
    log.info("resuming from step %d of %d", about["step"], training.num_steps)
    losses = [(step, loss) for step, loss in about["losses"]]
    return Course(about["step"], losses, about["loss_sum"], about["seconds"], resumed_from=about["step"])


def check_weights(trainee: Trainee, step: int, training: TrainingConfig, writer: checkpoint.Writer) -> None:
    """Raise `TrainingError` if a tensor that the step changed has NaN or infinity. The step's own loss does not show
    this, because it was computed before the weights changed.

    Args:
        trainee: The model in training, after the step.
        step: Number of steps done.
        training: Gives the number of steps and the learning rate, for the message.
        writer: The writer of the checkpoints.
    """
    tensors = trainee.tensors()
    finite = torch.stack([tensor.isfinite().all().cpu() for tensor in tensors.values()])
    bad = [name for name, good in zip(tensors, finite.tolist(), strict=True) if not good]
    if bad:
        raise diverged(f"{len(bad)} weights or moments, e.g. {bad[0]}, became NaN or infinite", step, training, writer)


def diverged(what: str, step: int, training: TrainingConfig, writer: checkpoint.Writer) -> TrainingError:
    """Return the error to raise for a training whose loss or weights are no longer finite.

    Args:
        what: States what is no longer finite.
        step: The step that it is reported for, counted from 1.
        training: Gives the number of steps and the learning rate, for the message.
        writer: The writer of the checkpoints.
    """
    writer.wait()
    good = checkpoint.newest(writer.directory)
    return TrainingError(
        f"{what} at step {step} of {training.num_steps} "
        f"(generator.training.learning_rate={training.learning_rate:g}, at this step "
        f"{learning_rate(training, step - 1):g}); last good checkpoint: {good or 'none'}"
    )


def update(
    weights: dict[str, torch.nn.Parameter],
    average: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    training: TrainingConfig,
    step: int,
) -> None:
    """Clip the gradient in the weights' `grad`, update the weights by it, and then update their average (EMA)."""
    torch.nn.utils.clip_grad_norm_(weights.values(), training.gradient_clip)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(training, step)
    optimizer.step()
    move = get_ema_multi_avg_fn(ema_decay(training, step))
    move(list(average.values()), [weight.detach() for weight in weights.values()], None)


def tensors_of(
    weights: dict[str, torch.nn.Parameter], average: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """Return the weights, their averages and the optimiser's state, as `<what>/<name of the weight>`."""
    moments = {
        f"{key}/{name}": value for name, weight in weights.items() for key, value in optimizer.state[weight].items()
    }
    averages = {f"average/{name}": value for name, value in average.items()}
    return {**{f"weight/{name}": value for name, value in weights.items()}, **averages, **moments}
