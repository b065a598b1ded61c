"""Flow matching along straight paths (Lipman et al. 2023; Liu et al. 2023), with the network and training of the DDPM.

The verbs load torch when they are called; importing this module does not.
"""

from typing import Any

from bench.errors import ConfigError
from bench.generators.flow.settings import Config
from bench.generators.shared import ode
from bench.generators.shared.unet_config import check

VERSION = {"train": 1, "sample": 1, "risk": 1, "invert": 1}
"""Must be raised, each by its stage, by any change that changes a trained model, the pixels of a sample, or a loss."""
KINDS = ("images",)
CITATION = """@inproceedings{lipman2023flow,
  title     = {Flow Matching for Generative Modeling},
  author    = {Lipman, Yaron and Chen, Ricky T. Q. and Ben-Hamu, Heli and Nickel, Maximilian and Le, Matt},
  booktitle = {International Conference on Learning Representations},
  year      = {2023},
}

@inproceedings{liu2023flow,
  title     = {Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow},
  author    = {Liu, Xingchao and Gong, Chengyue and Liu, Qiang},
  booktitle = {International Conference on Learning Representations},
  year      = {2023},
}"""
LOGIT_NORMAL = """@inproceedings{esser2024sd3,
  title     = {Scaling Rectified Flow Transformers for High-Resolution Image Synthesis},
  author    = {Esser, Patrick and Kulal, Sumith and Blattmann, Andreas and others},
  booktitle = {International Conference on Machine Learning},
  year      = {2024},
}"""

__all__ = [
    "CITATION",
    "KINDS",
    "VERSION",
    "Config",
    "check",
    "check_invertible",
    "cite",
    "extrapolate",
    "fit",
    "guide",
    "invert",
    "num_evaluations",
    "risk",
    "sample",
]


def cite(config: dict[str, Any]) -> str:
    """Return the BibTeX entries of the model and of the distribution of its training times."""
    is_logit_normal = config.get("time", {}).get("distribution") == "logit_normal"
    return "\n\n".join([CITATION, LOGIT_NORMAL] if is_logit_normal else [CITATION])


def num_evaluations(config: Config) -> int:
    """Return how often the sampling of an image evaluates the network."""
    return ode.num_evaluations(config.sampling.sampler, config.sampling.num_steps)


def fit(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Train a model; see `bench.generators.shared.unet_training.fit`."""
    from bench.generators.flow.training import FlowTraining
    from bench.generators.shared import unet_training

    return unet_training.fit(FlowTraining, VERSION["train"], *args, **kwargs)


def sample(*args: Any, **kwargs: Any) -> Any:
    """Draw images; see `bench.generators.flow.sampling.sample`."""
    from bench.generators.flow import sampling

    return sampling.sample(*args, **kwargs)


def risk(*args: Any, **kwargs: Any) -> Any:
    """Compute the squared error of the velocity; see `bench.generators.flow.sampling.velocity_loss`."""
    from bench.generators.flow.sampling import velocity_loss

    return velocity_loss(*args, **kwargs)


def check_invertible(config: Config, needed_by: str) -> None:
    """Raise `ConfigError` if the temperature is 0, so that there is no noise to find. Every sampler of a flow is
    deterministic, so any of them can be inverted."""
    if config.sampling.temperature == 0:
        raise ConfigError("generator.sampling.temperature", 0.0, f"{needed_by} marks the noise, of which there is none")


def invert(*args: Any, **kwargs: Any) -> Any:
    """Invert sampling, from images to noise; see `bench.generators.flow.sampling.invert`."""
    from bench.generators.flow import sampling

    return sampling.invert(*args, **kwargs)


def extrapolate(*args: Any) -> None:
    """Write a model of extrapolated weights; see `bench.generators.shared.unet_remedies.extrapolate`."""
    from bench.generators.shared import unet_remedies

    unet_remedies.extrapolate(*args)


def guide(*args: Any) -> None:
    """Write a guided model; see `bench.generators.shared.unet_remedies.guide`."""
    from bench.generators.shared import unet_remedies

    unet_remedies.guide(*args)
