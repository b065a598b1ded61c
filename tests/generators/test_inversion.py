"""Inversion of the sampler, on Gaussian data whose optimal denoiser is known: it finds the noise of each image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from configs import DDPMConfig

from bench import generators
from bench.generators.ddpm import inversion, sampling
from bench.generators.ddpm.process import build_process
from bench.generators.ddpm.settings import EDMConfig
from bench.generators.flow import sampling as flow_sampling
from bench.generators.flow.settings import Config as FlowConfig
from bench.generators.flow.settings import SamplingConfig as FlowSampling
from bench.generators.shared.noise import normal
from bench.machine.device import Runtime

SPREAD = 0.25
"""Standard deviation of the data, so small that the clipping of x0 in sampling hardly ever matters."""


def optimal(config: DDPMConfig, device: torch.device) -> Callable[..., Any]:
    """Return the network that is best for data of N(0, SPREAD²): eps = noise x / (signal² SPREAD² + noise²)."""
    process = build_process(config.noise, device)

    def network(x: torch.Tensor, t: torch.Tensor, return_dict: bool = False) -> tuple[torch.Tensor]:
        signal, noise = (values[t][:, None, None, None] for values in (process.signal, process.noise))
        return (noise * x / (signal**2 * SPREAD**2 + noise**2),)

    return network


@pytest.fixture
def there_and_back(tiny: Any, cpu: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(**chosen: Any) -> tuple[np.ndarray, np.ndarray]:
        config = tiny(noise={"num_timesteps": 1000}, sampling={"sampler": "ddim", **chosen})
        network = optimal(config, cpu.device)
        return both_ways(config, network, (sampling, inversion), cpu, tmp_path / str(chosen), monkeypatch)

    return run


@pytest.mark.parametrize("sampler", ["ddim", "dpmsolver++"])
def test_the_noise_of_a_sample_is_found(there_and_back, sampler):
    drawn, found = there_and_back(sampler=sampler, num_steps=50)
    assert found.shape == drawn.shape and found.dtype == np.float32
    assert np.corrcoef(drawn.ravel(), found.ravel())[0, 1] > 0.99
    assert (np.sign(drawn) == np.sign(found)).mean() > 0.97


def test_more_steps_invert_more_exactly(there_and_back):
    errors = [np.abs(np.subtract(*there_and_back(num_steps=n))).mean() for n in (10, 40, 160)]
    assert errors[0] > 1.5 * errors[1] > 2.2 * errors[2]


def test_the_noise_of_an_edm_is_found(tiny, cpu, tmp_path, monkeypatch):
    """With sigma_data the spread of the data, c_skip x is the optimal denoiser, and the network's output 0."""
    edm = EDMConfig(sigma_data=SPREAD)
    config = tiny(noise={"prediction": "edm", "edm": edm}, sampling={"sampler": "heun", "num_steps": 40})

    def network(x: torch.Tensor, t: torch.Tensor, return_dict: bool = False) -> tuple[torch.Tensor]:
        return (torch.zeros_like(x),)

    drawn, found = both_ways(config, network, (sampling, inversion), cpu, tmp_path, monkeypatch)
    assert np.corrcoef(drawn.ravel(), found.ravel())[0, 1] > 0.99


def test_the_noise_of_a_flow_is_found(cpu, tmp_path, monkeypatch):
    config = FlowConfig(sampling=FlowSampling(num_steps=40))

    def network(x: torch.Tensor, t: torch.Tensor, return_dict: bool = False) -> tuple[torch.Tensor]:
        part = (t / 1000)[:, None, None, None]
        return ((part - (1 - part) * SPREAD**2) / ((1 - part) ** 2 * SPREAD**2 + part**2) * x,)

    drawn, found = both_ways(config, network, (flow_sampling,), cpu, tmp_path, monkeypatch)
    assert np.corrcoef(drawn.ravel(), found.ravel())[0, 1] > 0.99


def both_ways(
    config: Any, network: Any, modules: Any, cpu: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray, np.ndarray]:
    """Return the noise that images are drawn from, and the noise that inversion finds."""
    for module in modules:
        monkeypatch.setattr(module, "load_network", lambda model, runtime: (network, 8))
    seeds = np.arange(40) + 3
    images = generators.sample(config, folder, seeds, work=folder / "work", runtime=cpu)
    found = generators.invert(config, folder, images, runtime=cpu)
    return normal(torch.from_numpy(seeds), (3, 8, 8), draw=0).numpy(), found


def test_an_image_is_inverted_alike_alone_and_among_others(tiny, cpu, tmp_path, monkeypatch):
    config = tiny(noise={"num_timesteps": 1000}, sampling={"sampler": "ddim", "num_steps": 5})
    monkeypatch.setattr(inversion, "load_network", lambda model, runtime: (optimal(config, cpu.device), 8))
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
    together = generators.invert(config, tmp_path, images, runtime=cpu)
    for row in (0, 31, 39):
        np.testing.assert_array_equal(together[row], generators.invert(config, tmp_path, images[[row]], runtime=cpu)[0])
