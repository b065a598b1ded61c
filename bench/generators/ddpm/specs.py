"""What identifies a DDPM's training and sampling, and whether its network can be built. No torch in here."""

import logging
from dataclasses import asdict
from typing import Any

from bench.config import DDPMConfig
from bench.errors import ConfigError

log = logging.getLogger(__name__)

TRAIN_VERSION = 5
"""Raised with any change of the code that changes a trained model."""

SAMPLE_VERSION = 5
"""Raised with any change of the code that changes the pixels of a sample."""


def train_spec(config: DDPMConfig) -> dict[str, Any]:
    training = asdict(config.training)
    del training["checkpoint_every"]  # resuming does not change a byte
    if training["num_micro_batches"] == 1:  # what a spec without the field says
        del training["num_micro_batches"]
    return {
        "generator": config.name,
        "version": TRAIN_VERSION,
        "unet": asdict(config.unet),
        "noise": asdict(config.noise),
        "training": training,
    }


def sample_spec(config: DDPMConfig) -> dict[str, Any]:
    sampling = asdict(config.sampling)
    del sampling["batch_size"]  # never changes a pixel
    return {"generator": config.name, "version": SAMPLE_VERSION, "sampling": sampling}


def check(config: DDPMConfig, resolution: int) -> None:
    """Raises `ConfigError` where the network of `config` does not fit images of `resolution` pixels a
    side."""
    unet = config.unet
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
        attended.add(unet.channels[-1])  # the middle block attends too
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
