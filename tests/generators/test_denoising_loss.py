"""The risk of a diffusion model against losses computed by hand, and what it must not depend on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from configs import DDPMConfig

from bench import generators
from bench.generators.ddpm import denoising_loss as module
from bench.generators.ddpm.process import build_process
from bench.generators.shared.noise import normal
from bench.generators.shared.risk_by_level import LEVELS
from bench.machine.device import Runtime

Make = Callable[..., DDPMConfig]
SEEDS = np.arange(100, 120, dtype=np.int64)
PREDICTIONS = ("epsilon", "sample", "v_prediction")


def noise(level: int, side: int) -> np.ndarray:
    return normal(torch.from_numpy(SEEDS), (3, side, side), draw=level).double().numpy()


def stand_in(monkeypatch: pytest.MonkeyPatch, network: Callable[..., torch.Tensor], side: int) -> None:
    monkeypatch.setattr(
        module, "load_network", lambda model, runtime: (lambda x, t, **_: (network(x, int(t[0])),), side)
    )


def losses(config: DDPMConfig, images: np.ndarray, cpu: Runtime, seeds: np.ndarray = SEEDS) -> dict[str, np.ndarray]:
    return generators.risk(config, Path(), images, seeds, runtime=cpu)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_network_that_knows_the_image_has_no_loss(
    prediction: str, tiny: Make, images: np.ndarray, cpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(noise={"prediction": prediction})
    process = build_process(config.noise, cpu.device)
    same = np.repeat(images[:1], 20, axis=0)
    x0 = torch.from_numpy(same[0]).float() / 127.5 - 1

    def network(x: torch.Tensor, t: int) -> torch.Tensor:
        signal, sigma = process.signal[t], process.noise[t]
        eps = (x - signal * x0) / sigma
        target = {"epsilon": eps, "sample": x0.expand_as(x), "v_prediction": signal * eps - sigma * x0}
        return target[prediction]

    stand_in(monkeypatch, network, same.shape[-1])
    found = losses(config, same, cpu)
    assert len(found) == LEVELS + 1 and all(len(values) == 20 for values in found.values())
    assert max(values.max() for values in found.values()) < 1e-6


def test_a_network_that_predicts_no_noise_has_the_power_of_the_noise(
    tiny: Make, images: np.ndarray, cpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, lambda x, t: torch.zeros_like(x), images.shape[-1])
    found = losses(tiny(noise={"prediction": "epsilon"}), images, cpu)
    levels = [name for name in found if name != "total"]
    by_hand = [(noise(level, images.shape[-1]) ** 2).mean(axis=(1, 2, 3)) for level in range(LEVELS)]
    for name, expected in zip(levels, by_hand, strict=True):
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)
    np.testing.assert_allclose(found["total"], np.mean(by_hand, axis=0), rtol=1e-5)


def test_a_network_that_predicts_grey_has_the_power_of_the_image(
    tiny: Make, images: np.ndarray, cpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """x0 estimated as 0: the estimate of the noise is off by signal / noise times the image."""
    stand_in(monkeypatch, lambda x, t: torch.zeros_like(x), images.shape[-1])
    config = tiny(noise={"prediction": "sample"})
    process = build_process(config.noise, cpu.device)
    power = ((images / 127.5 - 1) ** 2).mean(axis=(1, 2, 3))
    for name, values in losses(config, images, cpu).items():
        if name != "total":
            t = int(name[1:])
            ratio = float(process.signal[t] / process.noise[t]) ** 2
            np.testing.assert_allclose(values, ratio * power, rtol=1e-4)


@pytest.fixture
def fitted(tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path) -> Path:
    config = tiny(training={"num_steps": 40})
    generators.fit(config, images, seed=1, out=tmp_path / "model", work=tmp_path / "work", runtime=cpu)
    return tmp_path / "model"


def test_the_loss_of_an_item_is_its_own(fitted: Path, tiny: Make, images: np.ndarray, cpu: Runtime) -> None:
    whole = generators.risk(tiny(), fitted, images, SEEDS, runtime=cpu)
    order = np.random.default_rng(0).permutation(20)[:7]
    some = generators.risk(tiny(), fitted, images[order], SEEDS[order], runtime=cpu)
    assert whole.keys() == some.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values[order], some[name])
    other = generators.risk(tiny(), fitted, images, SEEDS + 1, runtime=cpu)
    assert (other["total"] != whole["total"]).all()


def test_training_lowers_the_risk(fitted: Path, tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path) -> None:
    def risk(model: Path) -> Any:
        return generators.risk(tiny(), model, images, SEEDS, runtime=cpu)["total"].mean()

    config = tiny(training={"num_steps": 1, "learning_rate": 1e-9})
    generators.fit(config, images, seed=1, out=tmp_path / "untrained", work=tmp_path / "w", runtime=cpu)
    assert risk(fitted) < 0.9 * risk(tmp_path / "untrained")
