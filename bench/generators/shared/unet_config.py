"""The options of the UNet of the image models, and the check that they fit the images."""

import logging
from dataclasses import dataclass
from typing import Protocol

from bench.errors import ConfigError
from bench.generators.shared.schedule import TrainingConfig
from bench.options import option

log = logging.getLogger(__name__)

MOST_LEVELS, MOST_CHANNELS = 8, 8192
"""Limits of a network: 8 levels halve 1024 px to 8, and one layer of 8192 channels takes 2.4 GB."""


@dataclass
class UNetConfig:
    """The network, diffusers' `UNet2DModel`. `channels` and `attention` have one entry per resolution level;
    `attention` marks the levels with attention blocks."""

    channels: list[int] = option([128, 128, 256, 256], multiple_of=8)
    attention: list[bool] = option([False, False, True, False])
    layers_per_block: int = option(2, at_least=1)
    attention_head_dim: int = option(64, at_least=8)
    dropout: float = option(0.0, at_least=0.0, at_most=0.9)

    def validate(self) -> None:
        if len(self.channels) > MOST_LEVELS or max(self.channels) > MOST_CHANNELS:
            allowed = f"must have at most {MOST_LEVELS} levels of at most {MOST_CHANNELS} channels"
            raise ConfigError("channels", self.channels, allowed)
        if len(self.attention) != len(self.channels):
            raise ConfigError("attention", self.attention, f"needs {len(self.channels)} entries, as many as channels")


class UNetGeneratorConfig(Protocol):
    """The configuration of a generator that trains a UNet."""

    unet: UNetConfig
    training: TrainingConfig


def check(config: UNetGeneratorConfig, shape: tuple[int, ...]) -> None:
    """Raise `ConfigError` if the network of `config` cannot process images of `shape` (3, H, H).

    Logs a warning if the warm-up of the learning rate is longer than the training.
    """
    unet, resolution = config.unet, shape[-1]
    factor = 2 ** (len(unet.channels) - 1)
    if resolution % factor:
        raise ConfigError(
            "generator.unet.channels",
            unet.channels,
            f"{len(unet.channels)} levels halve the image {len(unet.channels) - 1} times, so data.resolution "
            f"must be a multiple of {factor}, and it is {resolution}",
        )
    attended = {width for width, attention in zip(unet.channels, unet.attention, strict=True) if attention}
    if attended:
        attended.add(unet.channels[-1])  # the middle block has attention, too
    for width in sorted(attended):
        if width % unet.attention_head_dim:
            raise ConfigError(
                "generator.unet.attention_head_dim",
                unet.attention_head_dim,
                f"must divide the width of each level with attention and of the last: {sorted(attended)}",
            )
    if config.training.warmup_steps >= config.training.num_steps:
        log.warning(
            "generator.training.warmup_steps=%d: the learning rate never reaches %g within %d steps",
            config.training.warmup_steps,
            config.training.learning_rate,
            config.training.num_steps,
        )
