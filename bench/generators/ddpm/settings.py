"""The options of a DDPM: network, forward process, training, sampling."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from bench.config import GeneratorConfig
from bench.errors import ConfigError
from bench.generators.shared.ode import SOLVERS
from bench.generators.shared.schedule import TrainingConfig
from bench.generators.shared.unet_config import UNetConfig
from bench.options import default_of, option

SAMPLERS = ("ddpm", "ddim", "dpmsolver++", "sde-dpmsolver++", *SOLVERS)


@dataclass
class EDMConfig:
    """The preconditioning of Karras et al. 2022 (EDM). sigma_data: standard deviation of the values of images in [-1,
    1]. log_sigma_mean, log_sigma_deviation: mean and deviation of ln σ in training, with σ the deviation of the
    noise."""

    sigma_data: float = option(0.5, above=0, at_most=1.0)
    log_sigma_mean: float = option(-1.2, at_least=-10.0, at_most=10.0)
    log_sigma_deviation: float = option(1.2, above=0, at_most=10.0)


@dataclass
class SigmaConfig:
    """The noise deviations σ of the sampling steps with EDM (Karras et al. 2022, eq. 5)."""

    least: float = option(0.002, above=0)
    most: float = option(80.0)
    rho: float = option(7.0, above=0)

    def validate(self) -> None:
        if self.least >= self.most:
            raise ConfigError("least", self.least, f"must be below most, and that is {self.most}")


@dataclass
class NoiseConfig:
    """The forward process of DDPM (Ho et al. 2020) and what the network predicts. prediction: with `edm`, the process
    is x0 + σ eps with continuous σ instead (Karras et al. 2022); `edm` holds its options, and the other options have no
    effect."""

    num_timesteps: int = option(1000, at_least=2)
    beta_schedule: str = option("linear", one_of=("linear", "scaled_linear", "squaredcos_cap_v2"))
    prediction: str = option("epsilon", one_of=("epsilon", "sample", "v_prediction", "edm"))
    min_snr_gamma: float | None = option(None, above=0)
    edm: EDMConfig = option(EDMConfig)

    def validate(self) -> None:
        without = ("num_timesteps", "beta_schedule", "min_snr_gamma") if self.prediction == "edm" else ("edm",)
        refuse_without_effect(self, without, f"prediction {self.prediction!r}")


def refuse_without_effect(config: Any, names: Sequence[str], because: str, path: str = "") -> None:
    """Raise `ConfigError` for the first field of a configuration at `path` that is in `names` and not the default."""
    for f in fields(config):
        value, default = getattr(config, f.name), default_of(f)
        if f.name in names and value != default:
            told = "its defaults" if is_dataclass(default) else "null" if default is None else default
            raise ConfigError(f"{path}{f.name}", value, f"has no effect with {because}: set {told}")


@dataclass
class SamplingConfig:
    """How images are drawn from a trained model. sampler: `ddpm` (ancestral; the reference when num_steps is
    noise.num_timesteps), `ddim` (stochasticity eta), `dpmsolver++` (second-order ODE), `sde-dpmsolver++` (second-order
    SDE); and only for prediction `edm`, at the deviations `sigma`, `euler` or `heun` (second-order ODE). num_steps:
    network evaluations per image; with heun, n steps take 2 n - 1. spacing: the spacing of the timesteps: `cosine`,
    denser at both ends; `quadratic`, increasingly dense towards the image (Song et al. 2021), which narrows the spread
    of mean colours in every generation; or `uniform`. temperature: standard deviation of the initial noise; a value
    below 1 trades variety for typical images (the sampling bias of MAD, arXiv 2307.01850). batch_size: number of images
    per block; a block is stored when it is finished. It never changes a pixel."""

    sampler: str = option("dpmsolver++", one_of=SAMPLERS)
    num_steps: int = option(25, at_least=1)
    spacing: str = option("cosine", one_of=("cosine", "quadratic", "uniform"))
    eta: float = option(0.0, at_least=0.0, at_most=1.0)
    temperature: float = option(1.0, at_least=0.0, at_most=2.0)
    batch_size: int = option(512, at_least=1, stage=None, local=True)
    sigma: SigmaConfig = option(SigmaConfig)

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
        sampling, is_edm = self.sampling, self.noise.prediction == "edm"
        if is_edm != (sampling.sampler in SOLVERS):
            samplers = [name for name in SAMPLERS if is_edm == (name in SOLVERS)]
            allowed = f"with noise.prediction {self.noise.prediction!r} must be one of {', '.join(samplers)}"
            raise ConfigError("sampling.sampler", sampling.sampler, allowed)
        without, because = ("spacing",) if is_edm else ("sigma",), f"noise.prediction {self.noise.prediction!r}"
        refuse_without_effect(sampling, without, because, "sampling.")
        if not is_edm and sampling.num_steps > self.noise.num_timesteps:
            allowed = f"at most {self.noise.num_timesteps} timesteps"
            raise ConfigError("sampling.num_steps", sampling.num_steps, allowed)
