"""The samplers DDIM, ancestral DDPM and DPM-Solver++, as solvers that step from x_t to the next timestep.

Each step takes an estimate of x0 and its noise as arguments. `DDIMSolver` is DDIM and, with eta = 1, ancestral DDPM.
`DPMSolver` is DPM-Solver++ from diffusers.
"""

import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

from bench.generators.ddpm.process import build_scheduler
from bench.generators.ddpm.settings import NoiseConfig, SamplingConfig
from bench.generators.shared.spacing import SPACINGS


class DDIMSolver:
    """The solver x_s = a x0 + b x_t + c noise (Song et al. 2021, eq. 12 and 16). With eta = 1 this is eq. 6 and 7 of Ho
    et al. 2020, for any subset of the timesteps."""

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
        """Return x at the next timestep, float32 of the shape of x. noise: Standard normals; None: no noise."""
        a, b, c = self.coefficients[self.index]
        self.index += 1
        x = a * x0 + b * x
        return x if noise is None else x + c * noise


class DPMSolver:
    """The second-order multistep DPM-Solver++ (Lu et al. 2022), ODE or SDE, on estimates of x0. Its last step is
    first-order."""

    def __init__(self, timesteps: list[int], noise: NoiseConfig, algorithm: str) -> None:
        self.scheduler = DPMSolverMultistepScheduler(
            num_train_timesteps=noise.num_timesteps,
            beta_schedule=noise.beta_schedule,
            algorithm_type=algorithm,
            prediction_type="sample",  # `step` gets estimates of x0, whatever the network predicts
        )
        self.scheduler.set_timesteps(timesteps=timesteps)
        self.scheduler.set_begin_index(0)  # otherwise it looks its position up, which waits for the device
        self.timesteps = timesteps
        self.is_stochastic = algorithm.startswith("sde")
        self.index = 0

    def step(self, x: torch.Tensor, x0: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """Return x at the next timestep, float32 of the shape of x. noise: Standard normals; None for the ODE."""
        t = self.timesteps[self.index]
        self.index += 1
        return self.scheduler.step(x0, t, x, variance_noise=noise, return_dict=False)[0]


def build_solver(sampling: SamplingConfig, noise: NoiseConfig) -> DDIMSolver | DPMSolver:
    """Return a solver for one batch. A solver counts its steps, so every batch needs a new one."""
    timesteps = spaced(sampling.spacing, sampling.num_steps, noise.num_timesteps)
    if sampling.sampler == "ddpm":
        return DDIMSolver(timesteps, noise, eta=1.0)
    if sampling.sampler == "ddim":
        return DDIMSolver(timesteps, noise, eta=sampling.eta)
    return DPMSolver(timesteps, noise, sampling.sampler)


def spaced(spacing: str, num_steps: int, num_timesteps: int) -> list[int]:
    """Return `num_steps` distinct timesteps, descending from num_timesteps - 1; all of them if the numbers are equal.

    The last step ends at the mean of x0 given x_t, so detail finer than the noise before that step is lost, and is lost
    again in every generation. Many steps are therefore needed at low noise, too.
    """
    steps: list[int] = []
    for i in range(1, num_steps + 1):
        timestep = round(num_timesteps * SPACINGS[spacing](i / num_steps)) - 1
        timestep = max(timestep, steps[-1] + 1 if steps else 0)
        steps.append(min(timestep, num_timesteps - 1 - (num_steps - i)))  # leaves room for the steps above
    return steps[::-1]
