"""Standard normal numbers from uniform numbers."""

import torch

LEAST = 2.0**-24
"""Smallest distance of a uniform number from 0 and 1, one step of float32 below 1, which keeps quantiles finite."""


def normal_quantiles(u: torch.Tensor) -> torch.Tensor:
    """Return the quantiles of the standard normal at uniform numbers in [0, 1], float32 of the shape of u."""
    return torch.special.ndtri(u.clamp(LEAST, 1 - LEAST))
