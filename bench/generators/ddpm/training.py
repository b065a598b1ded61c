"""Training of a DDPM. Everything but the forward process is in `bench.generators.shared.unet_training`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers.schedulers.scheduling_edm_euler import EDMEulerScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from bench.generators.ddpm import VERSION, check
from bench.generators.ddpm.process import build_process, build_scheduler
from bench.generators.ddpm.settings import Config, NoiseConfig
from bench.generators.shared import unet_training
from bench.kinds import Items
from bench.machine.device import Runtime


def fit(
    config: Config,
    images: Items,
    *,
    seed: int,
    out: Path,
    work: Path,
    runtime: Runtime,
    progress: Callable[[int, int], None],
    init: Path | None = None,
) -> dict[str, Any]:
    """Train on images, uint8 (N, 3, H, H), and write the model as a diffusers pipeline, whose weights are the average
    (EMA).

    Args, Returns and Raises are those of `bench.generators.fit`.
    """
    check(config, images.shape[1:])
    trainee = DDPMTraining(config, images, seed, runtime, init)
    return unet_training.fit(trainee, version=VERSION["train"], init=init, out=out, work=work, progress=progress)


class DDPMTraining(unet_training.UNetTraining):
    """The training of the network of a DDPM. Args are those of `UNetTraining`."""

    def __init__(self, config: Config, images: Items, seed: int, runtime: Runtime, init: Path | None) -> None:
        process, scheduler = build_process(config.noise, runtime.device), stored_scheduler(config.noise)
        super().__init__(config, images, seed, runtime, init, process, scheduler)


def stored_scheduler(noise: NoiseConfig) -> SchedulerMixin:
    """Return the scheduler of diffusers that is stored with a model."""
    if noise.prediction == "edm":
        return EDMEulerScheduler(sigma_data=noise.edm.sigma_data)
    return build_scheduler(noise)
