"""Euler's and Heun's solvers for the ordinary differential equation that leads from noise to an image."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SOLVERS = ("euler", "heun")

Slope = Callable[["torch.Tensor", float], "torch.Tensor"]
"""(x float32 (n, ...), time) -> dx/dt, of the shape of x."""


def solve(slope: Slope, x: "torch.Tensor", times: Sequence[float], solver: str) -> "torch.Tensor":
    """Return x at the last of `times`.

    Args:
        slope: Computes dx/dt with the network.
        x: The state at the first of `times`.
        times: Times that fall to 0, where there is no noise; or, with `euler` only, times that rise from 0, to invert.
        solver: `euler`, first order; or `heun`, second order (Karras et al. 2022, algorithm 1 without churn), whose
            last step is an Euler step, because the network is not trained at time 0.
    """
    for now, then in pairwise(times):
        here = slope(x, now)
        ahead = x + (then - now) * here
        if solver == "heun" and then > 0:
            ahead = x + (then - now) * 0.5 * (here + slope(ahead, then))
        x = ahead
    return x


def num_evaluations(solver: str, num_steps: int) -> int:
    """Return how often `solve` evaluates the slope in `num_steps` steps that end at time 0."""
    return 2 * num_steps - 1 if solver == "heun" else num_steps
