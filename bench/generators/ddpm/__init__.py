"""Denoising diffusion (Ho et al. 2020) with diffusers' UNet: the generator of the headline results.

The verbs load torch when they are called; importing this module does not.
"""

from typing import Any

from bench.errors import ConfigError
from bench.generators.ddpm.settings import Config
from bench.generators.shared import ode
from bench.generators.shared.unet_config import check

VERSION = {"train": 6, "sample": 7, "risk": 1, "invert": 1}
"""Must be raised, each by its stage, by any change that changes a trained model, the pixels of a sample, or a loss."""
KINDS = ("images",)
CITATION = """@inproceedings{ho2020ddpm,
  title     = {Denoising Diffusion Probabilistic Models},
  author    = {Ho, Jonathan and Jain, Ajay and Abbeel, Pieter},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020},
}"""
SAMPLER_CITATIONS = {
    "ddim": """@inproceedings{song2021ddim,
  title     = {Denoising Diffusion Implicit Models},
  author    = {Song, Jiaming and Meng, Chenlin and Ermon, Stefano},
  booktitle = {International Conference on Learning Representations},
  year      = {2021},
}""",
    "edm": """@inproceedings{karras2022edm,
  title     = {Elucidating the Design Space of Diffusion-Based Generative Models},
  author    = {Karras, Tero and Aittala, Miika and Aila, Timo and Laine, Samuli},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2022},
}""",
    "dpmsolver++": """@misc{lu2022dpmsolverpp,
  title         = {{DPM-Solver++}: Fast Solver for Guided Sampling of Diffusion Probabilistic Models},
  author        = {Lu, Cheng and Zhou, Yuhao and Bao, Fan and Chen, Jianfei and Li, Chongxuan and Zhu, Jun},
  year          = {2022},
  eprint        = {2211.01095},
  archivePrefix = {arXiv},
}""",
}

DETERMINISTIC = ("ddim with eta=0", "dpmsolver++", "euler", "heun")
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


def num_evaluations(config: Config) -> int:
    """Return how often the sampling of an image evaluates the network."""
    return ode.num_evaluations(config.sampling.sampler, config.sampling.num_steps)


def cite(config: dict[str, Any]) -> str:
    """Return the BibTeX entries of the model and of its preconditioning or sampler, if that has one."""
    is_edm = config.get("noise", {}).get("prediction") == "edm"
    sampler = "edm" if is_edm else config.get("sampling", {}).get("sampler", "").removeprefix("sde-")
    return "\n\n".join(entry for entry in (CITATION, SAMPLER_CITATIONS.get(sampler)) if entry)


def fit(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Train a model; see `bench.generators.shared.unet_training.fit`."""
    from bench.generators.ddpm.training import DDPMTraining
    from bench.generators.shared import unet_training

    return unet_training.fit(DDPMTraining, VERSION["train"], *args, **kwargs)


def sample(*args: Any, **kwargs: Any) -> Any:
    """Draw images; see `bench.generators.ddpm.sampling.sample`."""
    from bench.generators.ddpm import sampling

    return sampling.sample(*args, **kwargs)


def risk(*args: Any, **kwargs: Any) -> Any:
    """Compute the denoising loss; see `bench.generators.ddpm.denoising_loss.denoising_loss`."""
    from bench.generators.ddpm.denoising_loss import denoising_loss

    return denoising_loss(*args, **kwargs)


def check_invertible(config: Config, needed_by: str) -> None:
    """Raise `ConfigError` if the sampler adds noise in its steps, so that it cannot be inverted, or if the temperature
    is 0, so that there is no noise to find."""
    sampling = config.sampling
    if sampling.sampler in ("ddpm", "sde-dpmsolver++") or sampling.eta > 0:
        shown = f"{sampling.sampler} with eta={sampling.eta:g}" if sampling.eta > 0 else sampling.sampler
        raise ConfigError(
            "generator.sampling.sampler",
            shown,
            f"{needed_by} inverts the sampler, which must be deterministic: {' or '.join(DETERMINISTIC)}",
        )
    if sampling.temperature == 0:
        raise ConfigError("generator.sampling.temperature", 0.0, f"{needed_by} marks the noise, of which there is none")


def invert(*args: Any, **kwargs: Any) -> Any:
    """Invert sampling, from images to noise; see `bench.generators.ddpm.inversion.invert`."""
    from bench.generators.ddpm import inversion

    return inversion.invert(*args, **kwargs)


def extrapolate(*args: Any) -> None:
    """Write a model of extrapolated weights; see `bench.generators.shared.unet_remedies.extrapolate`."""
    from bench.generators.shared import unet_remedies

    unet_remedies.extrapolate(*args)


def guide(*args: Any) -> None:
    """Write a guided model; see `bench.generators.shared.unet_remedies.guide`."""
    from bench.generators.shared import unet_remedies

    unet_remedies.guide(*args)
