"""The smallest DDPM, or flow, that has every part: two levels, attention, and a training of about a second."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from configs import (
    DDPMConfig,
    FlowConfig,
    FlowSamplingConfig,
    NoiseConfig,
    SamplingConfig,
    TimeConfig,
    TrainingConfig,
    UNetConfig,
)

from bench.machine.device import Runtime


@pytest.fixture
def tiny() -> Callable[..., Any]:
    """Return a function tiny(unet={...}, noise={...}, training={...}, sampling={...}): the small DDPM with some values
    changed; or with time={...}, and without noise, the small flow."""

    def make(**changes: dict[str, Any]) -> Any:
        unet: dict[str, Any] = {
            "channels": [8, 16],
            "attention": [False, True],
            "layers_per_block": 1,
            "attention_head_dim": 16,
        }
        training: dict[str, Any] = {
            "num_steps": 12,
            "batch_size": 8,
            "learning_rate": 2e-3,
            "warmup_steps": 3,
            "ema_decay": 0.9,
            "checkpoint_every": 4,
        }
        about: dict[str, Any] = {
            "unet": UNetConfig(**unet | changes.get("unet", {})),
            "training": TrainingConfig(**training | changes.get("training", {})),
        }
        sampling = {"num_steps": 4, "batch_size": 64} | changes.get("sampling", {})
        if "time" in changes:
            return FlowConfig(**about, time=TimeConfig(**changes["time"]), sampling=FlowSamplingConfig(**sampling))
        noise = NoiseConfig(**{"num_timesteps": 100} | changes.get("noise", {}))
        return DDPMConfig(**about, noise=noise, sampling=SamplingConfig(**sampling))

    return make


@pytest.fixture
def cpu() -> Runtime:
    return Runtime(torch.device("cpu"), None, False)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8)).astype(np.uint8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: tiny tensors gain nothing from more, and it leaves the cores to other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
