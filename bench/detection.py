"""What detectors have in common: the area under their ROC curve, and a threshold for a false-positive rate."""

import math

import numpy as np

from bench.errors import ConfigError


def auroc(negatives: np.ndarray, positives: np.ndarray) -> float | None:
    """Return the probability that a positive has the higher score, ties counted half: the area under the ROC curve, by
    ranks (Mann & Whitney 1947). None where one side is empty."""
    from scipy.stats import rankdata  # here, because the import takes half a second

    if not len(negatives) or not len(positives):
        return None
    ranks = rankdata(np.concatenate([negatives, positives]))
    above = ranks[len(negatives) :].sum() - len(positives) * (len(positives) + 1) / 2
    return float(above / (len(negatives) * len(positives)))


def check_enough_to_calibrate(num: int, rate: float, share: float = 1.0, key: str = "num_calibration") -> None:
    """Raise `ConfigError` where `share` of `num` real images cannot show a false-positive rate."""
    needed = math.ceil((math.ceil(1 / rate - 1e-9) - 1) / share)
    if num < needed:
        raise ConfigError(key, num, f"a false-positive rate of {rate:g} needs at least {needed} real images")


def threshold_at(scores: np.ndarray, rate: float) -> float:
    """Return the score that another real image exceeds with a probability of at most `rate`, given those of N real
    images, float (N,): the ⌈(1 − rate)(N + 1)⌉-th smallest (split conformal prediction; Vovk et al. 2005)."""
    rank = math.ceil((1 - rate) * (len(scores) + 1) - 1e-9)
    return float(np.sort(scores)[rank - 1])
