"""The schedule of a training by gradient steps, for every family: steps, batches, learning rate, weight average."""

import math
from dataclasses import dataclass

from bench.errors import ConfigError
from bench.options import option


@dataclass
class TrainingConfig:
    """The schedule of a training. num_steps: optimiser steps, equal in every generation and condition, so that compute
    never differs. decay: after the warm-up, the learning rate is constant (`none`) or falls to 0 at num_steps
    (`linear`, `cosine`). num_micro_batches: number of passes that a batch is split into, to save memory or to divide
    the batch among processes; the gradient is the same up to rounding."""

    num_steps: int = option(100_000, at_least=1)
    num_epochs: float | None = option(None, above=0)
    batch_size: int = option(128, at_least=1)
    num_micro_batches: int = option(1, at_least=1, local=True)
    learning_rate: float = option(2e-4, above=0)
    warmup_steps: int = option(500, at_least=0)
    decay: str = option("none", one_of=("none", "linear", "cosine"))
    weight_decay: float = option(0.0, at_least=0)
    ema_decay: float = option(0.9999, at_least=0.0, at_most=0.999999)
    gradient_clip: float = option(1.0, above=0)
    horizontal_flip: bool = True
    checkpoint_every: int = option(5000, at_least=1, stage=None, local=True)  # resuming changes no byte of a model

    def validate(self) -> None:
        if self.num_micro_batches > self.batch_size:
            allowed = f"must lie in [1, {self.batch_size}], at most batch_size"
            raise ConfigError("num_micro_batches", self.num_micro_batches, allowed)


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Return the learning rate of a step: a linear warm-up to the full rate, then the decay `training.decay`."""
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
    """Return the decay of the weight average at step s: (1 + s) / (10 + s), at most `training.ema_decay`. It rises, so
    that the average soon forgets the random initial weights."""
    return min(training.ema_decay, (1 + step) / (10 + step))
