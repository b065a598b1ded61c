"""Scores of other packages. Each function takes two sets of features, float32 (n, d), and returns the work to be timed,
with the real side prepared if the package can cache it."""

import contextlib
import inspect
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Work = Callable[[], Any]


def torchmetrics(metric_class: str, subject: np.ndarray, reference: np.ndarray) -> Work:
    """Return the work of FrechetInceptionDistance or KernelInceptionDistance."""
    import torchmetrics.image

    extractor = torch.nn.Identity()  # the features are extracted already
    extractor.num_features = subject.shape[1]  # spares torchmetrics a trial run
    options = {"subset_size": min(1000, len(subject) // 2)} if metric_class.startswith("Kernel") else {}
    metric = getattr(torchmetrics.image, metric_class)(extractor, reset_real_features=False, **options)
    metric.update(torch.from_numpy(reference), real=True)

    def work() -> float:
        metric.reset()
        metric.update(torch.from_numpy(subject), real=False)
        value = metric.compute()
        return float(value[0] if isinstance(value, tuple) else value)

    return work


def scipy_fid(subject: np.ndarray, reference: np.ndarray) -> Work:
    """Return the work of the textbook formula: np.cov, and scipy's matrix square root of S1 S2."""
    from scipy.linalg import sqrtm

    mean, covariance = reference.mean(axis=0), np.cov(reference, rowvar=False)

    def work() -> float:
        own = np.cov(subject, rowvar=False)
        apart = ((subject.mean(axis=0) - mean) ** 2).sum()
        return float(apart + np.trace(own) + np.trace(covariance) - 2 * np.trace(sqrtm(own @ covariance).real))

    return work


def clean_fid_runs() -> bool:
    """Return whether scipy still has the argument that clean-fid 0.1.35 passes to `sqrtm`; scipy 1.18 does not."""
    from scipy.linalg import sqrtm

    return "disp" in inspect.signature(sqrtm).parameters


def clean_fid(subject: np.ndarray, reference: np.ndarray) -> Work:
    from cleanfid.fid import frechet_distance

    mean, covariance = reference.mean(axis=0), np.cov(reference, rowvar=False)
    return lambda: float(frechet_distance(subject.mean(axis=0), np.cov(subject, rowvar=False), mean, covariance))


def torch_fidelity(subject: np.ndarray, reference: np.ndarray, save_cpu_ram: bool) -> Work:
    """Return the work of torch-fidelity's precision and recall. save_cpu_ram: compute distances in parts."""
    from torch_fidelity.metric_prc import prc_features_to_metric

    options = {"prc_neighborhood": 3, "prc_batch_size": 10000, "save_cpu_ram": save_cpu_ram, "verbose": False}
    return lambda: prc_features_to_metric(torch.from_numpy(subject), torch.from_numpy(reference), **options)


def prdc(subject: np.ndarray, reference: np.ndarray) -> Work:
    from prdc import compute_prdc

    def work() -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints
            return {name: float(value) for name, value in compute_prdc(reference, subject, 3).items()}

    return work
