"""Shared by all tests: how to compose a configuration, and how small a whole run can be."""

import os
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from bench.config import Config, from_hydra, register_schemas

os.environ.setdefault("WANDB_MODE", "offline")  # no test ever sends anything
register_schemas()

TINY = [
    "data=procedural",
    "data.resolution=16",
    "data.num_train=24",
    "data.num_heldout=24",
    "metrics=efficientnet_lite0",
    "metrics.num_images=16",
    "generator.unet.channels=[8,16]",
    "generator.unet.attention=[false,false]",
    "generator.unet.layers_per_block=1",
    "generator.training.num_steps=4",
    "generator.training.num_epochs=null",
    "generator.training.batch_size=8",
    "generator.training.warmup_steps=0",
    "generator.sampling.num_steps=2",
    "num_probes=2",
    "runtime.device=cpu",
    "runtime.num_threads=1",
]
"""Overrides that shrink any experiment to a second or two of one CPU core."""


def composed(*overrides: str) -> Config:
    """The checked configuration of a command line."""
    with initialize_config_module("bench.conf", version_base="1.3"):
        return from_hydra(compose("config", overrides=list(overrides)))


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """Overrides of a run that takes a second or two and leaves everything below the test's own folder."""
    return [*TINY, f"output_dir={tmp_path}/outputs"]
