"""Spacings of the sampling times between the image at 0 and pure noise at 1."""

import math


def cosine(part: float) -> float:
    """Map [0, 1] to itself, denser at both ends: sin²(πu/2).

    The mean colour of an image is decided at a far higher noise level than its detail, because averaging over P pixels
    divides the variance of noise by P. If steps are far apart at high noise, samples end near the mean of all mean
    colours, and each generation has a narrower spread of colours than the last. docs/protocols.md shows how much of
    the spread each spacing keeps.
    """
    return math.sin(math.pi * part / 2) ** 2


def quadratic(part: float) -> float:
    """Map [0, 1] to itself, increasingly dense towards 0: u² (Song et al. 2021, appendix D.2)."""
    return part**2


def uniform(part: float) -> float:
    """Map [0, 1] to itself, evenly spaced: u."""
    return part


SPACINGS = {"cosine": cosine, "quadratic": quadratic, "uniform": uniform}
