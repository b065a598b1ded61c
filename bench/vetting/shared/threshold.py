"""The threshold of a score, calibrated on real items that no chain trains on."""

import math

import numpy as np

from bench.errors import ConfigError


def check_enough_to_calibrate(num: int, rate: float, share: float = 1.0) -> None:
    """Raise `ConfigError` where `share` of `num` real images cannot show a false-positive rate."""
    needed = math.ceil((math.ceil(1 / rate - 1e-9) - 1) / share)
    if num < needed:
        raise ConfigError(
            "num_calibration", num, f"a false-positive rate of {rate:g} needs at least {needed} real images"
        )


def threshold_at(scores: np.ndarray, rate: float) -> float:
    """Return the score that another real image exceeds with a probability of at most `rate`, given those of N real
    images, float (N,): the ⌈(1 − rate)(N + 1)⌉-th smallest (split conformal prediction; Vovk et al. 2005)."""
    rank = math.ceil((1 - rate) * (len(scores) + 1) - 1e-9)
    return float(np.sort(scores)[rank - 1])
