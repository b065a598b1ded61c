"""Functions that all detectors share: the area under the ROC curve, and a threshold for a false-positive rate."""

import math

import numpy as np

from bench.errors import ConfigError


def auroc(negatives: np.ndarray, positives: np.ndarray) -> float | None:
    """Return the area under the ROC curve: the probability that a positive has a higher score than a negative, with
    ties counted half. It is computed from ranks (Mann & Whitney 1947). Returns None if one side is empty."""
    from scipy.stats import rankdata  # here, because the import takes half a second

    if not len(negatives) or not len(positives):
        return None
    ranks = rankdata(np.concatenate([negatives, positives]))
    above = ranks[len(negatives) :].sum() - len(positives) * (len(positives) + 1) / 2
    return float(above / (len(negatives) * len(positives)))


def check_enough_to_calibrate(num: int, rate: float, share: float = 1.0, key: str = "num_calibration") -> None:
    """Raise `ConfigError` if `share` of `num` real images are too few to calibrate a false-positive rate of `rate`."""
    needed = math.ceil((math.ceil(1 / rate - 1e-9) - 1) / share)
    if num < needed:
        raise ConfigError(key, num, f"a false-positive rate of {rate:g} needs at least {needed} real images")


def threshold_at(scores: np.ndarray, rate: float) -> float:
    """Return the threshold that the score of another real image exceeds with a probability of at most `rate`: the
    ⌈(1 − rate)(N + 1)⌉-th smallest of `scores` (split conformal prediction; Vovk et al. 2005). scores: those of N real
    images, float (N,)."""
    rank = math.ceil((1 - rate) * (len(scores) + 1) - 1e-9)
    return float(np.sort(scores)[rank - 1])
