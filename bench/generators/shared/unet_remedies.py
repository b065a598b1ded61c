"""Combinations of a stored UNet model with its self-trained copy: extrapolated weights, or a guided network."""

import json
import shutil
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from bench.generators.shared.unet import Network

SELF_TRAINED, GUIDANCE = "self_trained", "guidance.json"
"""Names within a combined model: the folder with the pipeline of the self-trained model, and the file with the weight,
which only a guided model has."""


def extrapolate(model: Path, self_trained: Path, weight: float, out: Path) -> None:
    """Write the model with the weights (1 + w) θ_r − w θ_s (Alemohammad et al. 2025). Args are those of
    `bench.generators.combine`."""
    _put_together(model, self_trained, out)
    unet, other = (load_unet(folder) for folder in (out, out / SELF_TRAINED))
    theirs = other.state_dict()
    unet.load_state_dict({name: (1 + weight) * own - weight * theirs[name] for name, own in unet.state_dict().items()})
    unet.save_pretrained(out / "unet", safe_serialization=True)


def guide(model: Path, self_trained: Path, weight: float, out: Path) -> None:
    """Write both models and the guidance weight as one guided model. Args are those of `bench.generators.combine`."""
    _put_together(model, self_trained, out)
    (out / GUIDANCE).write_text(json.dumps({"weight": weight}) + "\n")


def _put_together(model: Path, self_trained: Path, out: Path) -> None:
    shutil.copytree(model, out)
    self_trained.rename(out / SELF_TRAINED)


def load_unet(model: Path) -> UNet2DModel:
    """Return the network of a stored model, on the CPU."""
    return UNet2DModel.from_pretrained(model / "unet", low_cpu_mem_usage=False)


def guidance_weight(model: Path) -> float | None:
    """Return the weight of a guided model; None for any other model."""
    file = model / GUIDANCE
    return float(json.loads(file.read_text())["weight"]) if file.exists() else None


def guided(network: Network, other: Network, weight: float) -> Network:
    """Return a network with the output (1 + ω) f_r(x, t) − ω f_s(x, t) (Alemohammad et al. 2024, algorithm 1).

    Noise, x0, v, velocity and EDM's output are affine functions of the score, whose factor and offset depend only on x
    and t. So combining outputs with factors that sum to 1 is the same as combining the scores.
    """

    def evaluate(x: torch.Tensor, t: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        assert not return_dict, "a guided network returns tuples"
        # The product copies the output: with CUDA graphs, the second evaluation may overwrite the output of the first.
        ahead = (1 + weight) * network(x, t, return_dict=False)[0].float()
        return (ahead - weight * other(x, t, return_dict=False)[0].float(),)

    return evaluate
