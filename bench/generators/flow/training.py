"""Training of a flow. Everything but the path is in `bench.generators.shared.unet_training`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from bench.generators.flow import VERSION, check
from bench.generators.flow.process import SCALE, FlowProcess
from bench.generators.flow.settings import Config
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
    trainee = FlowTraining(config, images, seed, runtime, init)
    return unet_training.fit(trainee, version=VERSION["train"], init=init, out=out, work=work, progress=progress)


class FlowTraining(unet_training.UNetTraining):
    """The training of the network of a flow. Args are those of `UNetTraining`."""

    def __init__(self, config: Config, images: Items, seed: int, runtime: Runtime, init: Path | None) -> None:
        scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=SCALE)
        super().__init__(config, images, seed, runtime, init, FlowProcess(config.time), scheduler)
