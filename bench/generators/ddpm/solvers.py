"""Solvers: from x_t and an estimate of x0 to the x of the next timestep. All take their noise as an argument.

`Posterior` is DDIM and, with eta = 1, ancestral DDPM; `Multistep` is DPM-Solver++ from diffusers.
"""

import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

from bench.config import NoiseConfig, SamplingConfig
from bench.generators.ddpm.network import build_scheduler


class Posterior:
    """x_s = a x0 + b x_t + c noise (Song et al. 2021, eq. 12 and 16). With eta = 1 it is eq. 6 and 7 of Ho et
    al. 2020, over any subset of the timesteps."""

    def __init__(self, timesteps: list[int], noise: NoiseConfig, eta: float) -> None:
        self.timesteps = timesteps
        self.is_stochastic = eta > 0
        alphas = build_scheduler(noise).alphas_cumprod.double().numpy()
        here = alphas[self.timesteps]
        there = np.append(here[1:], 1.0)
        deviation = eta * np.sqrt((1 - there) / (1 - here) * (1 - here / there))
        b = np.sqrt(np.maximum(1 - there - deviation**2, 0)) / np.sqrt(1 - here)
        a = np.sqrt(there) - b * np.sqrt(here)
        self.coefficients = [(float(x), float(y), float(z)) for x, y, z in zip(a, b, deviation, strict=True)]
        self.index = 0

    def step(self, x: torch.Tensor, x0: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        a, b, c = self.coefficients[self.index]
        self.index += 1
        x = a * x0 + b * x
        return x if noise is None else x + c * noise


class Multistep:
    """Second-order multistep DPM-Solver++ (Lu et al. 2022), ODE or SDE, on estimates of x0; the last step is
    first-order."""

    def __init__(self, timesteps: list[int], noise: NoiseConfig, algorithm: str) -> None:
        self.scheduler = DPMSolverMultistepScheduler(
            num_train_timesteps=noise.num_timesteps,
            beta_schedule=noise.beta_schedule,
            algorithm_type=algorithm,
            prediction_type="sample",  # it is given estimates of x0, whatever the network predicts
        )
        self.scheduler.set_timesteps(timesteps=timesteps)
        self.scheduler.set_begin_index(0)  # else it looks its own position up, which waits for the device
        self.timesteps = timesteps
        self.is_stochastic = algorithm.startswith("sde")
        self.index = 0

    def step(self, x: torch.Tensor, x0: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        t = self.timesteps[self.index]
        self.index += 1
        return self.scheduler.step(x0, t, x, variance_noise=noise, return_dict=False)[0]


def build_solver(sampling: SamplingConfig, noise: NoiseConfig) -> Posterior | Multistep:
    """A solver for one batch: it counts its own steps."""
    timesteps = quadratic(sampling.num_steps, noise.num_timesteps)
    if sampling.sampler == "ddpm":
        return Posterior(timesteps, noise, eta=1.0)
    if sampling.sampler == "ddim":
        return Posterior(timesteps, noise, eta=sampling.eta)
    return Multistep(timesteps, noise, sampling.sampler)


def quadratic(num_steps: int, num_timesteps: int) -> list[int]:
    """`num_steps` distinct timesteps from num_timesteps - 1 down, ever denser: all of them, or spaced quadratically
    (Song et al. 2021, appendix D.2).

    The last step ends at the mean of what x0 may be, so detail that is finer than the noise before it is lost, and lost
    again in every generation. With 15 even steps, pixels of deviation 0.1 keep 64% of it; with these, 103%.
    """
    steps: list[int] = []
    for i in reversed(range(num_steps)):
        wanted = round(num_timesteps * (1 - i / num_steps) ** 2) - 1
        steps.append(max(wanted, steps[-1] + 1 if steps else 0))
    return steps[::-1]
