"""Command lines for tests: how one composes, and overrides that shrink any experiment to a second or two."""

from bench.config import Config, register_schemas
from bench.protocols import compose_config

register_schemas()

TINY = [
    "data=procedural",
    "data.resolution=16",
    "data.num_train=24",
    "data.num_heldout=24",
    "data.num_calibration=0",
    "metrics=efficientnet_lite0",
    "metrics.num_images=16",
    "metrics.extra_spaces=[]",
    "generator.unet.channels=[8,16]",
    "generator.unet.attention=[false,false]",
    "generator.unet.layers_per_block=1",
    "generator.training.num_steps=4",
    "generator.training.num_epochs=null",
    "generator.training.batch_size=8",
    "generator.training.warmup_steps=0",
    "generator.sampling.num_steps=2",
    "num_samples=null",
    "warm_start=false",
    "retrain_epochs=null",
    "num_probes=2",
    "runtime.device=cpu",
    "runtime.num_threads=1",
]
"""Overrides that shrink any experiment to a second or two of one CPU core."""


def composed(*overrides: str) -> Config:
    """The checked configuration of a command line."""
    return compose_config(overrides)
