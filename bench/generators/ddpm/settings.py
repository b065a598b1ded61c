"""The options of a DDPM: network, forward process, training, sampling."""

from dataclasses import dataclass

from bench.config import GeneratorConfig
from bench.errors import ConfigError
from bench.generators.shared.schedule import TrainingConfig
from bench.options import option

MOST_LEVELS, MOST_CHANNELS = 8, 8192
"""Of a network: 1024 px are halved to 8, and one layer of 8192 channels takes 2.4 GB."""


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


@dataclass
class NoiseConfig:
    """The forward process of DDPM (Ho et al. 2020) and what the network predicts."""

    num_timesteps: int = option(1000, at_least=2)
    beta_schedule: str = option("linear", one_of=("linear", "scaled_linear", "squaredcos_cap_v2"))
    prediction: str = option("epsilon", one_of=("epsilon", "sample", "v_prediction"))
    min_snr_gamma: float | None = option(None, above=0)


@dataclass
class SamplingConfig:
    """How images are drawn from a trained model. sampler: `ddpm` (ancestral; the reference when num_steps is
    noise.num_timesteps), `ddim` (stochasticity eta), `dpmsolver++` (second-order ODE), `sde-dpmsolver++` (second-order
    SDE). num_steps: network evaluations per image. spacing: of their timesteps: `cosine`,
    denser at both ends; `quadratic`, ever denser towards the image (Song et al. 2021), which narrows the spread of mean
    colours in every generation; or `uniform`. temperature: standard deviation of the initial noise; below 1 it
    trades variety for typical images (the sampling bias of MAD, arXiv 2307.01850). batch_size: images of a block,
    which is stored when it is done; it never changes a pixel."""

    sampler: str = option("dpmsolver++", one_of=("ddpm", "ddim", "dpmsolver++", "sde-dpmsolver++"))
    num_steps: int = option(25, at_least=1)
    spacing: str = option("cosine", one_of=("cosine", "quadratic", "uniform"))
    eta: float = option(0.0, at_least=0.0, at_most=1.0)
    temperature: float = option(1.0, at_least=0.0, at_most=2.0)
    batch_size: int = option(512, at_least=1, stage=None, local=True)

    def validate(self) -> None:
        if self.eta > 0 and self.sampler != "ddim":
            raise ConfigError("eta", self.eta, f"has no effect with sampler {self.sampler!r}: set 0")


@dataclass
class Config(GeneratorConfig):
    """A DDPM with diffusers' UNet."""

    name: str = "ddpm"
    unet: UNetConfig = option(UNetConfig)
    noise: NoiseConfig = option(NoiseConfig)
    training: TrainingConfig = option(TrainingConfig)
    sampling: SamplingConfig = option(SamplingConfig, stage="sample")

    def validate(self) -> None:
        if self.sampling.num_steps > self.noise.num_timesteps:
            allowed = f"at most {self.noise.num_timesteps} timesteps"
            raise ConfigError("sampling.num_steps", self.sampling.num_steps, allowed)
