"""One Gaussian with a full covariance, whose self-consuming loop can be computed exactly (2305.17493, section 4).

Torch is needed only for the noise, and is imported when samples are drawn.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config import GeneratorConfig
from bench.errors import DataError, TrainingError
from bench.options import option

if TYPE_CHECKING:
    from bench.kinds import Items

VERSION = {"train": 1, "sample": 1, "risk": 1}
"""Must be raised, each by its stage, by any change that changes a fitted model, a sample, or a loss."""
KINDS = ("points",)
LIKELIHOOD = True
CITATION = """@misc{shumailov2023curse,
  title         = {The Curse of Recursion: Training on Generated Data Makes Models Forget},
  author        = {Shumailov, Ilia and Shumaylov, Zakhar and Zhao, Yiren and Gal, Yarin and Papernot, Nicolas and
                   Anderson, Ross},
  year          = {2023},
  eprint        = {2305.17493},
  archivePrefix = {arXiv},
}"""
FILE = "gaussian.safetensors"


@dataclass
class Config(GeneratorConfig):
    """A Gaussian with the mean and the covariance of its N training points. estimator: the covariance estimator, which
    divides by N − 1 (unbiased) or by N (maximum_likelihood)."""

    name: str = "gaussian"
    estimator: str = option("unbiased", one_of=("unbiased", "maximum_likelihood"))


def fit(config: Config, items: "Items", *, out: Path, **others: Any) -> dict[str, Any]:
    """Write the mean, float64 (d,), and the Cholesky factor of the covariance, float64 (d, d). Draws no random numbers.

    Raises `DataError` for fewer than d + 1 points, and `TrainingError` if the covariance is singular or not finite.
    """
    from safetensors.numpy import save_file

    started = time.monotonic()
    points = items[np.arange(len(items))]
    n, d = points.shape
    if n <= d:
        raise DataError(f"a Gaussian in {d} dimensions needs at least {d + 1} points, there are {n}")
    mean = points.mean(axis=0)
    centred = points - mean
    covariance = centred.T @ centred / (n - 1 if config.estimator == "unbiased" else n)
    if not np.isfinite(covariance).all():
        raise TrainingError(f"the covariance of the {n} points is not finite: they reach {np.abs(points).max():g}")
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise TrainingError(f"the covariance of the {n} points has become singular: {error}") from error
    out.mkdir(parents=True)
    save_file({"mean": mean, "factor": factor}, out / FILE)
    return {"num_images": n, "seconds": round(time.monotonic() - started, 3)}


def load(model: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean, float64 (d,), and the Cholesky factor of the covariance, float64 (d, d), of a fitted model."""
    from safetensors.numpy import load_file

    tensors = load_file(model / FILE)
    return tensors["mean"], tensors["factor"]


def sample(config: Config, model: Path, seeds: np.ndarray, **others: Any) -> np.ndarray:
    """Draw point i only from the noise of `seeds[i]`. Returns float64 (n, d)."""
    import torch

    from bench.generators.shared import noise

    mean, factor = load(model)
    normals = noise.normal(torch.from_numpy(seeds), (len(mean),), 0).double().numpy()
    return mean + (normals[:, None, :] * factor).sum(axis=2)  # not a matrix product: its last bits depend on the batch


def risk(config: Config, model: Path, items: "Items", seeds: np.ndarray, **others: Any) -> dict[str, np.ndarray]:
    """Return the negative log-likelihood of every point, in nats, as "total", float64 (N,). `seeds` is not used."""
    from scipy.linalg import solve_triangular

    mean, factor = load(model)
    whitened = solve_triangular(factor, (items[np.arange(len(items))] - mean).T, lower=True)
    constant = np.log(np.diag(factor)).sum() + 0.5 * len(mean) * np.log(2 * np.pi)
    return {"total": 0.5 * (whitened**2).sum(axis=0) + constant}
