"""The solvers compared with diffusers' schedulers for the same noise, and with a case whose answer is known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from configs import DDPMConfig, NoiseConfig, SamplingConfig
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.schedulers import scheduling_ddpm

from bench.generators.ddpm.process import build_process
from bench.generators.ddpm.sampling import trajectory
from bench.generators.ddpm.solvers import SPACINGS, DDIMSolver, build_solver, spaced
from bench.machine.device import Runtime
from bench.protocols import compose_config


def estimate(x: torch.Tensor) -> torch.Tensor:
    """Return an arbitrary smooth function of x as the network's estimate of x0."""
    return torch.tanh(x.roll(1, -1) - 0.2)


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_ancestral_is_ddpm(monkeypatch: pytest.MonkeyPatch, schedule: str) -> None:
    noise = NoiseConfig(num_timesteps=50, beta_schedule=schedule)
    random = torch.Generator().manual_seed(0)
    given = torch.randn((50, 2, 3, 4, 4), generator=random)
    mine = theirs = torch.randn((2, 3, 4, 4), generator=random)
    reference = DDPMScheduler(num_train_timesteps=50, beta_schedule=schedule, prediction_type="sample")
    reference.set_timesteps(50)
    solver = build_solver(SamplingConfig(sampler="ddpm", num_steps=50), noise)
    assert solver.timesteps == reference.timesteps.tolist()
    for step, t in enumerate(solver.timesteps):
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *args, step=step, **kw: given[step])
        mine = solver.step(mine, estimate(mine), given[step])
        theirs = reference.step(estimate(theirs), t, theirs).prev_sample
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_posterior_is_ddim(eta: float) -> None:
    random = torch.Generator().manual_seed(0)
    mine = theirs = torch.randn((2, 3, 4, 4), generator=random)
    reference = DDIMScheduler(
        num_train_timesteps=100, prediction_type="sample", clip_sample=False, timestep_spacing="trailing"
    )
    reference.set_timesteps(10)
    timesteps = [99, 89, 79, 69, 59, 49, 39, 29, 19, 9]
    solver = DDIMSolver(timesteps, NoiseConfig(num_timesteps=100), eta)
    assert solver.timesteps == reference.timesteps.tolist()
    for t in solver.timesteps:
        given = torch.randn(mine.shape, generator=random)
        mine = solver.step(mine, estimate(mine), given if solver.is_stochastic else None)
        theirs = reference.step(estimate(theirs), t, theirs, eta=eta, variance_noise=given).prev_sample
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(
    ("sampler", "num_steps", "eta"),
    [("ddpm", 200, 0.0), ("ddim", 100, 0.0), ("ddim", 50, 0.7), ("dpmsolver++", 20, 0.0), ("sde-dpmsolver++", 50, 0.0)],
)
def test_a_gaussian_is_recovered(
    tiny: Callable[..., DDPMConfig], cpu: Runtime, prediction: str, sampler: str, num_steps: int, eta: float
) -> None:
    """Check pixels that are N(0.1, 0.2²): the best network is known in closed form, and sampling must reproduce
    them."""
    mean, deviation = 0.1, 0.2
    config = tiny(
        noise={"prediction": prediction, "num_timesteps": 200, "beta_schedule": "squaredcos_cap_v2"},
        sampling={"sampler": sampler, "num_steps": num_steps, "eta": eta},
    )
    process = build_process(config.noise, cpu.device)

    def network(x: torch.Tensor, t: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor]:
        signal, noise = process.signal[t[0]], process.noise[t[0]]
        x0 = mean + signal * deviation**2 / ((signal * deviation) ** 2 + noise**2) * (x - signal * mean)
        eps = (x - signal * x0) / noise
        return ({"sample": x0, "epsilon": eps, "v_prediction": signal * eps - noise * x0}[prediction],)

    x = trajectory(config, process, network, torch.arange(100), 8, cpu)
    assert abs(x.mean() - mean) < 0.01
    assert abs(x.std() / deviation - 1) < 0.07


def test_few_steps_keep_fine_detail(tiny: Callable[..., DDPMConfig], cpu: Runtime) -> None:
    """Check detail of standard deviation 0.1 after 15 steps: evenly spaced timesteps would keep less than two thirds of
    it."""
    config = tiny(
        noise={"prediction": "sample", "num_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"},
        sampling={"sampler": "dpmsolver++", "num_steps": 15},
    )
    process = build_process(config.noise, cpu.device)

    def network(x: torch.Tensor, t: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor]:
        signal, noise = process.signal[t[0]], process.noise[t[0]]
        return (signal * 0.01 / ((signal * 0.1) ** 2 + noise**2) * x,)

    x = trajectory(config, process, network, torch.arange(100), 8, cpu)
    assert x.std() / 0.1 == pytest.approx(1.0, abs=0.05)


def test_timesteps() -> None:
    assert spaced("quadratic", 4, 100) == [99, 55, 24, 5]
    assert spaced("cosine", 4, 100) == [99, 84, 49, 14]  # 100 sin² of 90, 67.5, 45 and 22.5 degrees
    assert spaced("uniform", 4, 100) == [99, 74, 49, 24]
    for spacing in SPACINGS:
        assert spaced(spacing, 5, 5) == [4, 3, 2, 1, 0]
        for n in range(1, 61):
            steps = spaced(spacing, n, 60)
            assert steps[0] == 59 and steps[-1] >= 0
            assert len(set(steps)) == n and steps == sorted(steps, reverse=True)


def kept(config: DDPMConfig, deviation: float, num_pixels: int) -> float:
    """Return the share of the standard deviation of a normal quantity, the mean of `num_pixels` pixels, that samples of
    the best possible network keep."""
    process = build_process(config.noise, torch.device("cpu"))
    solver = build_solver(config.sampling, config.noise)
    x = torch.full((1, 1, 1, 1), num_pixels**-0.5, dtype=torch.float64)
    for t in solver.timesteps:
        signal, noise = process.signal[t].double(), process.noise[t].double()
        x0 = signal * deviation**2 / ((signal * deviation) ** 2 + noise**2 / num_pixels) * x
        x = solver.step(x, x0, None).double()
    return float(x) / deviation


@pytest.mark.parametrize(("generator", "resolution"), [("ddpm_tiny", 16), ("ddpm_small", 16), ("ddpm", 64)])
def test_the_sampler_of_a_preset_loses_neither_colours_nor_detail(generator: str, resolution: int) -> None:
    """What a sampler loses, every generation loses again: such a loop collapses whatever it is trained on."""
    config = compose_config([f"generator={generator}"]).generator
    assert kept(config, 0.3, resolution**2) == pytest.approx(1, abs=0.05)  # mean colours
    assert kept(config, 0.1, 1) == pytest.approx(1, abs=0.05)  # pixels


def test_steps_that_are_wide_apart_at_high_noise_lose_a_third_of_the_mean_colours() -> None:
    given = ["generator=ddpm", "generator.sampling.spacing=quadratic"]
    assert kept(compose_config(given).generator, 0.3, 64**2) == pytest.approx(0.63, abs=0.01)
