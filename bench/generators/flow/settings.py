"""The options of a flow: network, path and its times, training, sampling."""

from dataclasses import dataclass

from bench.config import GeneratorConfig
from bench.errors import ConfigError
from bench.generators.shared.ode import SOLVERS
from bench.generators.shared.schedule import TrainingConfig
from bench.generators.shared.unet_config import UNetConfig
from bench.options import option


@dataclass
class TimeConfig:
    """The times of the path x_t = (1 - t) x0 + t eps at which the network is trained. distribution: `uniform`, as in
    Lipman et al. 2023 and Liu et al. 2023; or `logit_normal`, which favours the middle of the path: the sigmoid of a
    normal with this mean and deviation (Esser et al. 2024, section 3.1)."""

    distribution: str = option("uniform", one_of=("uniform", "logit_normal"))
    mean: float = option(0.0, at_least=-10.0, at_most=10.0)
    deviation: float = option(1.0, above=0, at_most=10.0)

    def validate(self) -> None:
        for key, default in (("mean", 0.0), ("deviation", 1.0)):
            if self.distribution == "uniform" and getattr(self, key) != default:
                allowed = f"has no effect with distribution 'uniform': set {default}"
                raise ConfigError(key, getattr(self, key), allowed)


@dataclass
class SamplingConfig:
    """How images are drawn from a trained model. sampler: the solver of the path's equation: `euler`, with one network
    evaluation per step; or `heun`, with two, but one for the last step. num_steps: number of steps from noise to image.
    spacing: the spacing of their times: `cosine`, denser at both ends; or `uniform`, as published. temperature:
    standard deviation of the initial noise. batch_size: number of images per block; a block is stored when it is
    finished. It never changes a pixel."""

    sampler: str = option("heun", one_of=SOLVERS)
    num_steps: int = option(25, at_least=1, at_most=10_000)
    spacing: str = option("cosine", one_of=("cosine", "uniform"))
    temperature: float = option(1.0, at_least=0.0, at_most=2.0)
    batch_size: int = option(512, at_least=1, stage=None, local=True)


@dataclass
class Config(GeneratorConfig):
    """A flow along straight paths with diffusers' UNet."""

    name: str = "flow"
    unet: UNetConfig = option(UNetConfig)
    time: TimeConfig = option(TimeConfig)
    training: TrainingConfig = option(TrainingConfig)
    sampling: SamplingConfig = option(SamplingConfig, stage="sample")
