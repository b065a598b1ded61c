"""The solvers of Euler and Heun for the ordinary differential equation that leads from noise to an image."""

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
        slope: Of the path, from the network.
        x: At the first of `times`.
        times: Falling to 0, where there is no noise.
        solver: `euler`, first order; or `heun`, second order (Karras et al. 2022, algorithm 1 without churn), whose
            last step is one of Euler: no network is trained where there is no noise.
    """
    for now, then in pairwise(times):
        here = slope(x, now)
        ahead = x + (then - now) * here
        if solver == "heun" and then > 0:
            ahead = x + (then - now) * 0.5 * (here + slope(ahead, then))
        x = ahead
    return x


def num_evaluations(solver: str, num_steps: int) -> int:
    """Return how often `solve` evaluates the slope in `num_steps` steps."""
    return 2 * num_steps - 1 if solver == "heun" else num_steps
