"""Training of a DDPM. Everything but the forward process is in `bench.generators.shared.unet_training`."""

from pathlib import Path

from diffusers.schedulers.scheduling_edm_euler import EDMEulerScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from bench.generators.ddpm.process import build_process, build_scheduler
from bench.generators.ddpm.settings import Config, NoiseConfig
from bench.generators.shared import unet_training
from bench.kinds import Items
from bench.machine.device import Runtime


class DDPMTraining(unet_training.UNetTraining):
    """The training of a DDPM's network. Args are those of `UNetTraining`."""

    def __init__(self, config: Config, images: Items, seed: int, runtime: Runtime, init: Path | None) -> None:
        process, scheduler = build_process(config.noise, runtime.device), stored_scheduler(config.noise)
        super().__init__(config, images, seed, runtime, init, process, scheduler)


def stored_scheduler(noise: NoiseConfig) -> SchedulerMixin:
    """Return the diffusers scheduler that is stored with a model."""
    if noise.prediction == "edm":
        return EDMEulerScheduler(sigma_data=noise.edm.sigma_data)
    return build_scheduler(noise)
