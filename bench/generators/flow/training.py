"""Training of a flow. Everything but the path is in `bench.generators.shared.unet_training`."""

from pathlib import Path

from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from bench.generators.flow.process import SCALE, FlowProcess
from bench.generators.flow.settings import Config
from bench.generators.shared import unet_training
from bench.kinds import Items
from bench.machine.device import Runtime


class FlowTraining(unet_training.UNetTraining):
    """The training of a flow's network. Args are those of `UNetTraining`."""

    def __init__(self, config: Config, images: Items, seed: int, runtime: Runtime, init: Path | None) -> None:
        scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=SCALE)
        super().__init__(config, images, seed, runtime, init, FlowProcess(config.time), scheduler)
