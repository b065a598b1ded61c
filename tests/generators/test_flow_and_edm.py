"""Flow matching and EDM against closed forms: the factors, the solvers on a Gaussian, the risk, and what is refused."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from configs import EDMConfig, SigmaConfig, TimeConfig, checked
from diffusers import EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler

from bench import generators
from bench.errors import ConfigError
from bench.generators.ddpm import denoising_loss
from bench.generators.ddpm.edm import EDMProcess, sigmas
from bench.generators.ddpm.process import build_process
from bench.generators.ddpm.sampling import trajectory as ddpm_trajectory
from bench.generators.flow import sampling as flow_sampling
from bench.generators.flow.process import FlowProcess
from bench.generators.flow.sampling import times, trajectory
from bench.generators.shared.noise import normal
from bench.generators.shared.ode import solve
from bench.machine.device import Runtime
from bench.protocols import compose_config

Make = Callable[..., Any]
MEAN, DEVIATION = 0.1, 0.2
"""Of pixels that are independent and normal: the best network is known in closed form."""
SEEDS = np.arange(100, 120, dtype=np.int64)


def best_velocity(x: torch.Tensor, t: torch.Tensor | float) -> torch.Tensor:
    """Return E[eps - x0 | x_t = x] for those pixels."""
    variance = (1 - t) ** 2 * DEVIATION**2 + t**2
    return (t - (1 - t) * DEVIATION**2) / variance * (x - (1 - t) * MEAN) - MEAN


def best_denoiser(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return E[x0 | x0 + sigma eps = x] for those pixels."""
    return MEAN + DEVIATION**2 / (DEVIATION**2 + sigma**2) * (x - MEAN)


def flow_network(x: torch.Tensor, t: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
    return (best_velocity(x, t[:, None, None, None] / 1000),)


def edm_network(x: torch.Tensor, c_noise: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
    """Return the F for which D is the best denoiser."""
    sigma, data = (4 * c_noise).exp()[:, None, None, None], 0.5
    total = sigma**2 + data**2
    noisy = x * total.sqrt()
    return ((best_denoiser(noisy, sigma) - data**2 / total * noisy) * total.sqrt() / (sigma * data),)


@pytest.mark.parametrize("spacing", ["cosine", "uniform"])
@pytest.mark.parametrize(("sampler", "num_steps"), [("euler", 400), ("heun", 60)])
def test_a_flow_carries_noise_to_a_gaussian(
    tiny: Make, cpu: Runtime, sampler: str, num_steps: int, spacing: str
) -> None:
    config = tiny(time={}, sampling={"sampler": sampler, "num_steps": num_steps, "spacing": spacing})
    x = trajectory(config, flow_network, torch.arange(100), 8, cpu)
    start = normal(torch.arange(100), (3, 8, 8), draw=0)
    torch.testing.assert_close(
        x, MEAN + DEVIATION * start, atol=0.02, rtol=0
    )  # the path of each, not the moments alone


def test_edm_carries_noise_to_a_gaussian(tiny: Make, cpu: Runtime) -> None:
    config = tiny(noise={"prediction": "edm", "num_timesteps": 1000}, sampling={"sampler": "heun", "num_steps": 40})
    x = ddpm_trajectory(config, build_process(config.noise, cpu.device), edm_network, torch.arange(100), 8, cpu)
    start = normal(torch.arange(100), (3, 8, 8), draw=0)
    torch.testing.assert_close(x, MEAN + DEVIATION * start, atol=0.02, rtol=0)


def error_of(solver: str, num_steps: int) -> float:
    """Return how far `solve` ends from the end of the path of one pixel, at time 0.1."""
    times_ = [1 - 0.9 * i / num_steps for i in range(num_steps + 1)]
    x = solve(best_velocity, torch.tensor([1.5], dtype=torch.float64), times_, solver)
    spread = math.sqrt(0.9**2 * DEVIATION**2 + 0.1**2)
    return abs(float(x) - (0.9 * MEAN + 1.5 * spread))


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_order_of_convergence(solver: str, order: int) -> None:
    measured = math.log2(error_of(solver, 200) / error_of(solver, 400))
    assert measured == pytest.approx(order, abs=0.08)


def kept(config: Any, deviation: float, num_pixels: int) -> float:
    """Return the share of the standard deviation of a normal quantity, the mean of `num_pixels` pixels, that samples of
    the best possible network keep."""
    variance, noise = deviation**2, 1 / num_pixels
    steps: list[float]
    if config.name == "flow":
        steps = times(config.sampling)

        def slope(x: torch.Tensor, t: float) -> torch.Tensor:
            return (t * noise - (1 - t) * variance) / ((1 - t) ** 2 * variance + t**2 * noise) * x

    else:
        steps = sigmas(config.sampling.sigma, config.sampling.num_steps)

        def slope(x: torch.Tensor, t: float) -> torch.Tensor:
            return t * noise / (variance + t**2 * noise) * x

    start = torch.tensor(steps[0] * noise**0.5, dtype=torch.float64)
    return float(solve(slope, start, steps, config.sampling.sampler)) / deviation


@pytest.mark.parametrize(("generator", "resolution"), [("flow_tiny", 16), ("flow", 64), ("ddpm_edm", 16)])
def test_the_sampler_of_a_preset_loses_neither_colours_nor_detail(generator: str, resolution: int) -> None:
    """What a sampler loses, every generation loses again: such a loop collapses whatever it is trained on."""
    config = compose_config([f"generator={generator}"]).generator
    assert kept(config, 0.3, resolution**2) == pytest.approx(1, abs=0.05)  # mean colours
    assert kept(config, 0.1, 1) == pytest.approx(1, abs=0.05)  # pixels


def test_evenly_spaced_steps_of_euler_lose_two_thirds_of_the_mean_colours() -> None:
    given = ["generator=flow", "generator.sampling.spacing=uniform", "generator.sampling.sampler=euler"]
    assert kept(compose_config([*given, "generator.sampling.num_steps=8"]).generator, 0.3, 64**2) < 0.35


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_a_flow_is_solved_as_by_diffusers(tiny: Make, cpu: Runtime, sampler: str) -> None:
    config = tiny(time={}, sampling={"sampler": sampler, "num_steps": 6, "temperature": 0.8})
    mine = trajectory(config, flow_network, torch.arange(3), 8, cpu)
    x = 0.8 * normal(torch.arange(3), (3, 8, 8), draw=0)
    steps = [math.sin(math.pi * (1 - i / 6) / 2) ** 2 for i in range(6)]
    scheduler: Any = FlowMatchEulerDiscreteScheduler()
    if sampler == "euler":
        scheduler.set_timesteps(sigmas=steps)
    else:  # each time twice but the first, as its own `set_timesteps` has them
        scheduler = FlowMatchHeunDiscreteScheduler()
        scheduler.set_timesteps(6)
        values = torch.tensor(steps)
        scheduler.timesteps = 1000 * torch.cat([values[:1], values[1:].repeat_interleave(2)])
        scheduler.sigmas = torch.cat([values[:1], values[1:].repeat_interleave(2), torch.zeros(1)])
    for t in scheduler.timesteps:
        x = scheduler.step(flow_network(x, t.expand(3), return_dict=False)[0], t, x)[0]
    torch.testing.assert_close(mine, x, atol=1e-5, rtol=1e-5)


def test_edm_is_solved_as_by_diffusers(tiny: Make, cpu: Runtime) -> None:
    config = tiny(
        noise={"prediction": "edm", "num_timesteps": 1000},
        sampling={"sampler": "euler", "num_steps": 6, "sigma": SigmaConfig(least=0.01, most=50.0, rho=5.0)},
    )
    mine = ddpm_trajectory(config, build_process(config.noise, cpu.device), edm_network, torch.arange(3), 8, cpu)
    scheduler = EDMEulerScheduler(sigma_min=0.01, sigma_max=50.0, rho=5.0)
    scheduler.set_timesteps(6)
    torch.testing.assert_close(scheduler.sigmas.double(), torch.tensor(sigmas(config.sampling.sigma, 6)).double())
    x = 50.0 * normal(torch.arange(3), (3, 8, 8), draw=0)
    for t in scheduler.timesteps:
        output = edm_network(scheduler.scale_model_input(x, t), t.expand(3), return_dict=False)[0]
        x = scheduler.step(output, t, x)[0]
    torch.testing.assert_close(mine, x, atol=2e-4, rtol=1e-4)


def test_the_factors_of_edm() -> None:
    """At σ = σ_data: c_skip = 1/2, c_out = σ_data/√2, c_in = 1/(√2 σ_data), c_noise = ln(σ_data)/4."""
    process, seen = EDMProcess(EDMConfig(sigma_data=0.3)), []

    def network(x: torch.Tensor, t: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        seen.append((x, t))
        return (torch.ones_like(x),)

    x = torch.full((1, 3, 4, 4), 0.6)
    denoised = process.denoise(network, x, 0.3)
    torch.testing.assert_close(denoised, 0.5 * x + 0.3 / math.sqrt(2))
    torch.testing.assert_close(seen[0][0], x / (math.sqrt(2) * 0.3))
    assert seen[0][1].item() == pytest.approx(math.log(0.3) / 4)
    # a network of zeros has the loss (c_skip x - x0)² / c_out², for x0 = 0 that is 1/2 of eps²
    loss = process.loss(lambda x, t, **_: (0 * x,), 0 * x, torch.ones_like(x), torch.tensor([0.3]))
    assert loss.item() == pytest.approx(0.5 * 0.5 * 0.3**2 / (0.5 * 0.3**2))


def test_times_of_training() -> None:
    u = (torch.arange(20_000) + 0.5) / 20_000
    assert torch.equal(FlowProcess(TimeConfig()).times(u), u)
    logits = FlowProcess(TimeConfig("logit_normal", 0.4, 0.7)).times(u).logit()
    assert logits.mean() == pytest.approx(0.4, abs=1e-3) and logits.std() == pytest.approx(0.7, abs=1e-3)
    logs = EDMProcess(EDMConfig()).times(u).log()
    assert logs.mean() == pytest.approx(-1.2, abs=1e-3) and logs.std() == pytest.approx(1.2, abs=1e-3)
    ends = torch.tensor([0.0, 1.0])
    assert EDMProcess(EDMConfig()).times(ends).isfinite().all()
    assert FlowProcess(TimeConfig("logit_normal")).times(ends).isfinite().all()


def stand_in(monkeypatch: pytest.MonkeyPatch, module: Any, network: Callable[..., Any]) -> None:
    monkeypatch.setattr(module, "load_network", lambda model, runtime: (network, 8))


def test_the_risk_of_a_flow_is_the_error_of_its_velocity(
    tiny: Make, images: np.ndarray, cpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of zeros is off by eps - x0, whose noise is that of the image's seed and the level."""
    stand_in(monkeypatch, flow_sampling, lambda x, t, **_: (torch.zeros_like(x),))
    found = generators.risk(tiny(time={}), Path(), images, SEEDS, runtime=cpu)
    assert list(found) == ["total", *(f"t0.{i}5" for i in range(10))]
    x0, seeds = images / 127.5 - 1, torch.from_numpy(SEEDS)
    for level in range(10):
        eps = normal(seeds, (3, 8, 8), draw=level).numpy()
        np.testing.assert_allclose(found[f"t0.{level}5"], ((eps - x0) ** 2).mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found["total"], np.mean([found[f"t0.{i}5"] for i in range(10)], axis=0))


def test_the_risk_of_a_flow_is_at_the_times_that_it_names(
    tiny: Make, images: np.ndarray, cpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that knows the image is never wrong, if x is the mixture of the time that it is told."""
    same = np.repeat(images[:1], 20, axis=0)
    x0 = torch.from_numpy(same[0]).float() / 127.5 - 1
    told = []

    def knowing(x: torch.Tensor, t: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        told.append(round(t[0].item()))
        part = t[0] / 1000
        return ((x - (1 - part) * x0) / part - x0,)

    stand_in(monkeypatch, flow_sampling, knowing)
    found = generators.risk(tiny(time={}), Path(), same, SEEDS, runtime=cpu)
    assert told == [50, 150, 250, 350, 450, 550, 650, 750, 850, 950]
    assert max(values.max() for values in found.values()) < 1e-6


def test_the_risk_of_edm_is_that_of_the_noise_it_estimates(
    tiny: Make, images: np.ndarray, cpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best denoiser of pixels N(MEAN, DEVIATION²) is off by eps by the share of noise in x, whatever the image."""
    config = tiny(noise={"prediction": "edm", "num_timesteps": 1000}, sampling={"sampler": "euler"})
    stand_in(monkeypatch, denoising_loss, edm_network)
    found = generators.risk(config, Path(), images, SEEDS, runtime=cpu)
    x0, levels = torch.from_numpy(images / 127.5 - 1).double(), [name for name in found if name != "total"]
    assert len(levels) == 10 and levels[0] == "sigma0.0418" and levels[-1] == "sigma2.17"
    for level, name in enumerate(levels):
        eps = normal(torch.from_numpy(SEEDS), (3, 8, 8), draw=level).double()
        exact = math.exp(-1.2 + 1.2 * float(torch.special.ndtri(torch.tensor((level + 0.5) / 10).double())))
        estimate = (x0 + exact * eps - best_denoiser(x0 + exact * eps, torch.tensor(exact))) / exact
        np.testing.assert_allclose(found[name], (estimate - eps).square().mean(dim=(1, 2, 3)), rtol=1e-4)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"time": {"mean": 0.5}}, r"time.mean=0.5: has no effect with distribution 'uniform'"),
    ({"time": {"distribution": "logit"}}, r"time.distribution='logit': must be one of uniform, logit_normal"),
    ({"time": {}, "sampling": {"sampler": "ddim"}}, r"sampling.sampler='ddim': must be one of euler, heun"),
    ({"noise": {"prediction": "edm"}}, r"noise.num_timesteps=100: has no effect with prediction 'edm': set 1000"),
    (
        {"noise": {"prediction": "edm", "num_timesteps": 1000, "min_snr_gamma": 5.0}},
        r"noise.min_snr_gamma=5.0: has no effect with prediction 'edm': set null",
    ),
    (
        {"noise": {"prediction": "edm", "num_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"}},
        r"noise.beta_schedule='squaredcos_cap_v2': has no effect with prediction 'edm': set linear",
    ),
    ({"noise": {"edm": EDMConfig(sigma_data=0.3)}}, r"noise.edm=.*has no effect with prediction 'epsilon'"),
    (
        {"noise": {"prediction": "edm", "num_timesteps": 1000}},
        r"sampling.sampler='dpmsolver\+\+': with noise.prediction 'edm' must be one of euler, heun",
    ),
    (
        {"sampling": {"sampler": "heun"}},
        r"sampling.sampler='heun': with noise.prediction 'epsilon' must be one of ddpm",
    ),
    (
        {
            "noise": {"prediction": "edm", "num_timesteps": 1000},
            "sampling": {"sampler": "heun", "spacing": "uniform"},
        },
        r"sampling.spacing='uniform': has no effect with noise.prediction 'edm': set cosine",
    ),
    ({"sampling": {"sigma": SigmaConfig(rho=5.0)}}, r"sampling.sigma=.*has no effect with noise.prediction 'epsilon'"),
    ({"sampling": {"sigma": SigmaConfig(least=2.0, most=1.0)}}, r"sampling.sigma.least=2.0: must be below most"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_what_is_refused(tiny: Make, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(tiny(**given))


@pytest.mark.parametrize(
    "family",
    [
        {"time": {}},
        {"noise": {"prediction": "edm", "num_timesteps": 1000}, "sampling": {"sampler": "heun"}},
    ],
)
def test_a_model_is_trained_drawn_from_and_resumed(
    family: dict[str, Any], tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path
) -> None:
    config = tiny(**family)
    assert generators.num_evaluations(config) == 7
    done: list[int] = []

    def stop(step: int, total: int) -> None:
        done.append(step)
        if step == 9:
            raise KeyboardInterrupt

    where = {"seed": 1, "runtime": cpu}
    generators.fit(config, images, out=tmp_path / "whole", work=tmp_path / "a", **where)
    with pytest.raises(KeyboardInterrupt):
        generators.fit(config, images, out=tmp_path / "parts", work=tmp_path / "b", progress=stop, **where)
    facts = generators.fit(config, images, out=tmp_path / "parts", work=tmp_path / "b", **where)
    assert facts["resumed_from_step"] == 8
    name = "unet/diffusion_pytorch_model.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()

    def drawn(seeds: np.ndarray, work: str, **sampling: int) -> np.ndarray:
        config = tiny(**family | {"sampling": family.get("sampling", {}) | sampling})
        return generators.sample(config, tmp_path / "whole", seeds, work=tmp_path / work, runtime=cpu)

    every = drawn(SEEDS, "c")
    assert every.shape == (20, 3, 8, 8) and every.dtype == np.uint8 and every.std() > 1
    np.testing.assert_array_equal(drawn(SEEDS[5:9], "d", batch_size=1), every[5:9])
    risk = generators.risk(config, tmp_path / "whole", images, SEEDS, runtime=cpu)
    assert all(values.shape == (20,) and np.isfinite(values).all() for values in risk.values())
