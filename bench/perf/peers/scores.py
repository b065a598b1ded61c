"""Scores of other packages: each takes two sets and returns what is to be timed, with the real side ready where the
package can keep it."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Work = Callable[[], Any]

BATCH = 64


class Given(nn.Module):
    """A feature extractor for features that are there already."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.num_features = dimension

    def forward(self, features: Tensor) -> Tensor:
        return features


def torchmetrics_fid(subject: np.ndarray, reference: np.ndarray) -> Work:
    from torchmetrics.image import FrechetInceptionDistance

    metric = FrechetInceptionDistance(Given(subject.shape[1]), reset_real_features=False)
    metric.update(torch.from_numpy(reference), real=True)
    samples = torch.from_numpy(subject)

    def work() -> float:
        metric.reset()
        metric.update(samples, real=False)
        return float(metric.compute())

    return work


def torchmetrics_fid_compute(subject: np.ndarray, reference: np.ndarray) -> Work:
    """`compute` alone: its sums over both sets are there."""
    from torchmetrics.image import FrechetInceptionDistance

    metric = FrechetInceptionDistance(Given(subject.shape[1]), compute_with_cache=False)
    metric.update(torch.from_numpy(reference), real=True)
    metric.update(torch.from_numpy(subject), real=False)
    return lambda: float(metric.compute())


def torchmetrics_kid(subject: np.ndarray, reference: np.ndarray) -> Work:
    from torchmetrics.image import KernelInceptionDistance

    size = min(1000, len(subject) // 2)
    metric = KernelInceptionDistance(Given(subject.shape[1]), subsets=100, subset_size=size, reset_real_features=False)
    metric.update(torch.from_numpy(reference), real=True)
    samples = torch.from_numpy(subject)

    def work() -> float:
        metric.reset()
        metric.update(samples, real=False)
        return float(metric.compute()[0])

    return work


def scipy_fid(subject: np.ndarray, reference: np.ndarray) -> Work:
    """The textbook: np.cov, and scipy's root of S1 S2."""
    from scipy.linalg import sqrtm

    mean, covariance = reference.mean(axis=0), np.cov(reference, rowvar=False)

    def work() -> float:
        own = np.cov(subject, rowvar=False)
        apart = ((subject.mean(axis=0) - mean) ** 2).sum()
        return float(apart + np.trace(own) + np.trace(covariance) - 2 * np.trace(sqrtm(own @ covariance).real))

    return work


def clean_fid_runs() -> bool:
    """Whether scipy still has the argument that clean-fid 0.1.35 passes to `sqrtm`; scipy 1.18 has not."""
    from scipy.linalg import sqrtm

    return "disp" in inspect.signature(sqrtm).parameters


def clean_fid(subject: np.ndarray, reference: np.ndarray) -> Work:
    from cleanfid.fid import frechet_distance

    mean, covariance = reference.mean(axis=0), np.cov(reference, rowvar=False)
    return lambda: float(frechet_distance(subject.mean(axis=0), np.cov(subject, rowvar=False), mean, covariance))


def torch_fidelity_full(subject: np.ndarray, reference: np.ndarray) -> Work:
    return _torch_fidelity(subject, reference, save_cpu_ram=False)


def torch_fidelity_parts(subject: np.ndarray, reference: np.ndarray) -> Work:
    return _torch_fidelity(subject, reference, save_cpu_ram=True)


def _torch_fidelity(subject: np.ndarray, reference: np.ndarray, save_cpu_ram: bool) -> Work:
    from torch_fidelity.metric_prc import prc_features_to_metric

    samples, real = torch.from_numpy(subject), torch.from_numpy(reference)
    return lambda: prc_features_to_metric(
        samples, real, prc_neighborhood=3, prc_batch_size=10000, save_cpu_ram=save_cpu_ram, verbose=False
    )


def prdc(subject: np.ndarray, reference: np.ndarray) -> Work:
    from prdc import compute_prdc

    return lambda: {name: float(value) for name, value in compute_prdc(reference, subject, 3).items()}


def separate_passes(
    network: nn.Module, samples: np.ndarray, real: np.ndarray, real_features: np.ndarray, k: int, subset_size: int
) -> Work:
    """Every score passes the samples through the network anew. network: uint8 (n, 3, H, H) to float32 (n, d).
    real_features: float32 (N, d), for prdc, which takes features."""
    from prdc import compute_prdc
    from torchmetrics.image import FrechetInceptionDistance, InceptionScore, KernelInceptionDistance

    network = _Sized(network, real_features.shape[1])
    fid = FrechetInceptionDistance(network, reset_real_features=False)
    kid = KernelInceptionDistance(network, subsets=100, subset_size=subset_size, reset_real_features=False)
    inception_score = InceptionScore(network)
    with torch.inference_mode():
        for batch in torch.from_numpy(real).split(BATCH):
            fid.update(batch, real=True)
            kid.update(batch, real=True)

    def work() -> dict[str, float]:
        with torch.inference_mode():
            for metric, about in ((fid, {"real": False}), (kid, {"real": False}), (inception_score, {})):
                metric.reset()
                for batch in torch.from_numpy(samples).split(BATCH):
                    metric.update(batch, **about)
            found = {"fid": fid.compute(), "kid": kid.compute()[0], "is": inception_score.compute()[0]}
            features = torch.cat([network(batch) for batch in torch.from_numpy(samples).split(BATCH)])
        found |= compute_prdc(real_features, features.numpy(), k)
        return {name: float(value) for name, value in found.items()}

    return work


class _Sized(nn.Module):
    """A network that says how wide its features are, which spares torchmetrics a trial run."""

    def __init__(self, network: nn.Module, num_features: int) -> None:
        super().__init__()
        self.network, self.num_features = network, num_features

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)
