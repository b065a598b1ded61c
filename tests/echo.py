"""Stand-ins for the two networks, so that a chain of four generations takes a second and says what each stage was
handed: a generator whose pictures name their model and seed, and features that can be worked out by hand."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from configs import (
    BlendConfig,
    DDPMConfig,
    NoiseConfig,
    ProceduralConfig,
    SamplingConfig,
    TrainingConfig,
    UNetConfig,
    checked,
)
from torch import nn

from bench import generators, ledger, loop
from bench.config import Config, MetricsConfig, RuntimeConfig
from bench.machine.console import Console

VERSION = 1
SIDE = 8
N = 16
"""Scored images a side."""


class Pixels(nn.Module):
    """Means of 4 × 4 blocks; exact in float32."""

    dimension, input_size = 12, SIDE

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().reshape(len(images), 3, 2, 4, 2, 4).mean(dim=(3, 5)).flatten(1)


WEIGHTS_GIVEN: list[str | None] = []


def pixels(weights: str | None) -> nn.Module:
    WEIGHTS_GIVEN.append(weights)
    return Pixels()


def features(images: np.ndarray) -> np.ndarray:
    """What `Pixels` makes of images, by NumPy."""
    blocks = np.asarray(images, np.float32).reshape(len(images), 3, 2, 4, 2, 4)
    return blocks.mean(axis=(3, 5)).reshape(len(images), 12)


def picture(model: Path, seed: int) -> np.ndarray:
    """What the stand-in draws from one noise seed: another picture for any other model or seed."""
    text = (model / "weights").read_bytes() + str(int(seed)).encode()
    return np.frombuffer(hashlib.shake_128(text).digest(3 * SIDE * SIDE), np.uint8).reshape(3, SIDE, SIDE)


class Lines(Console):
    """A console that shows nothing and keeps the lines."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def print(self, text: str) -> None:
        self.lines.append(text)


class Echo:
    """Takes the place of the generator; keeps the arguments of every call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fits: list[SimpleNamespace] = []
        self.samplings: list[SimpleNamespace] = []
        monkeypatch.setattr(generators, "fit", self.fit)
        monkeypatch.setattr(generators, "sample", self.sample)

    def fit(self, config: Any, images: Any, *, out: Path, **given: Any) -> dict[str, Any]:
        shown = images[np.arange(len(images))]
        self.fits.append(SimpleNamespace(config=config, images=shown, **given))
        if hasattr(given["progress"], "loss"):
            given["progress"].loss(4, config.training.num_steps, 0.5)
        init = given["init"]
        start = (init / "weights").read_bytes() if init else b""
        out.mkdir()
        (given["work"] / "scratch").write_text("what a checkpoint would be")
        (out / "weights").write_bytes(hashlib.sha256(start + shown.tobytes() + str(given["seed"]).encode()).digest())
        return {"num_steps": config.training.num_steps}

    def sample(self, config: Any, model: Path, seeds: np.ndarray, **given: Any) -> np.ndarray:
        self.samplings.append(SimpleNamespace(config=config, model=model, seeds=seeds, **given))
        (given["work"] / "scratch").write_text("what a finished block would be")
        return np.stack([picture(model, seed) for seed in seeds])


def small(out: Path, **changes: Any) -> Config:
    """A chain of the stand-ins."""
    settings: dict[str, Any] = {
        "name": "echo",
        "seed": 5,
        "num_generations": 4,
        "num_probes": 3,
        "output_dir": str(out),
        "store_dir": str(out / "store"),
        "data": with_reserve(0),
        "generator": DDPMConfig(
            unet=UNetConfig([8, 16], [False, False], layers_per_block=1, attention_head_dim=8),
            noise=NoiseConfig(num_timesteps=100),
            training=TrainingConfig(num_steps=4, batch_size=8, warmup_steps=0),
            sampling=SamplingConfig(num_steps=2),
        ),
        "mixing": BlendConfig(synthetic_ratio=0.4),
        "metrics": MetricsConfig(feature_space="echo:pixels", num_images=N, scores=["frechet", "manifold"]),
        "runtime": RuntimeConfig(device="cpu", precision="fp32", num_threads=1),
    }
    return checked(Config(**{**settings, **changes}))


def played(out: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[ledger.Chain, Echo]:
    """Run a chain of the stand-ins. Return it as its ledger has it, and the stand-in."""
    stand_in, config = Echo(monkeypatch), small(out, **changes)
    loop.run_chain(config, Lines())
    (chain,) = ledger.read_runs([out / config.name])
    return chain, stand_in


def with_reserve(num: int) -> ProceduralConfig:
    """The data of the stand-ins with `num` more real images."""
    return checked(ProceduralConfig(resolution=SIDE, num_train=20, num_heldout=24, num_reserve=num, num_calibration=0))
