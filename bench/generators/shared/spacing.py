"""How the times of the steps of sampling are spread, from the image at 0 to pure noise at 1."""

import math


def cosine(part: float) -> float:
    """Map [0, 1] to itself, denser at both ends: sin²(πu/2).

    The mean colour of an image is decided at far more noise than its detail: over P pixels, noise averages out to a
    P-th of its variance. Steps that are wide apart there end near the mean of all mean colours, so each generation has
    fewer colours than the last. docs/scores.md has what each spacing keeps.
    """
    return math.sin(math.pi * part / 2) ** 2


def quadratic(part: float) -> float:
    """Map [0, 1] to itself, ever denser towards 0: u² (Song et al. 2021, appendix D.2)."""
    return part**2


def uniform(part: float) -> float:
    """Return `part`."""
    return part


SPACINGS = {"cosine": cosine, "quadratic": quadratic, "uniform": uniform}
