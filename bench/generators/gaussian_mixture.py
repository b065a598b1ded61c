"""A mixture of Gaussians with full covariances, fitted by scikit-learn: the mixture experiment of Shumailov et al.
(2305.17493).

scikit-learn is needed only for fitting; it is the optional extra `points`. Sampling and the loss read the stored
parameters.
"""

import time
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config import GeneratorConfig
from bench.errors import ConfigError, DataError, TrainingError
from bench.generators import gaussian
from bench.options import option

if TYPE_CHECKING:
    from bench.kinds import Items

VERSION = {"train": 1, "sample": 1, "risk": 1}
"""Must be raised, each by its stage, by any change that changes a fitted model, a sample, or a loss."""
KINDS = ("points",)
LIKELIHOOD = True
CITATION = gaussian.CITATION
FILE = "gaussian_mixture.safetensors"


@dataclass
class Config(GeneratorConfig):
    """A mixture of Gaussians, fitted by expectation–maximisation from a k-means start that the training seed draws.
    tolerance: the fit stops when the gain in log-likelihood per point falls below this value. covariance_floor: added
    to the diagonal of every covariance."""

    name: str = "gaussian_mixture"
    num_components: int = option(2, at_least=1)
    tolerance: float = option(1e-5, above=0)
    max_iterations: int = option(100, at_least=1)
    covariance_floor: float = option(1e-6, at_least=0)

    def validate(self) -> None:
        if find_spec("sklearn") is None:
            hint = "needs the package scikit-learn: pip install 'diffusion-collapse-bench[points]'"
            raise ConfigError("name", self.name, hint)


def fit(config: Config, items: "Items", *, seed: int, out: Path, **others: Any) -> dict[str, Any]:
    """Write the weights, float64 (k,), the means (k, d), and the Cholesky factors of the covariances (k, d, d).

    Raises `DataError` for fewer points than components or fewer than 2, and `TrainingError` if the mixture cannot be
    fitted, for example because a covariance is singular.
    """
    from safetensors.numpy import save_file
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    started = time.monotonic()
    points = items[np.arange(len(items))]
    if len(points) < max(2, config.num_components):
        raise DataError(f"{config.num_components} components need as many points and at least 2: {len(points)}")
    mixture = GaussianMixture(
        config.num_components,
        covariance_type="full",
        tol=config.tolerance,
        max_iter=config.max_iterations,
        reg_covar=config.covariance_floor,
        random_state=seed % 2**32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the ledger says whether it converged
        try:
            mixture.fit(points)
            factors = np.linalg.cholesky(mixture.covariances_)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise TrainingError(f"the mixture cannot be fitted to {len(points)} points: {error}") from error
    out.mkdir(parents=True)
    save_file({"weights": mixture.weights_, "means": mixture.means_, "factors": factors}, out / FILE)
    return {
        "num_images": len(points),
        "num_iterations": int(mixture.n_iter_),
        "converged": bool(mixture.converged_),
        "seconds": round(time.monotonic() - started, 3),
    }


def load(model: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weights, the means and the Cholesky factors of a fitted model, shaped as `fit` writes them."""
    from safetensors.numpy import load_file

    tensors = load_file(model / FILE)
    return tensors["weights"], tensors["means"], tensors["factors"]


def sample(config: Config, model: Path, seeds: np.ndarray, **others: Any) -> np.ndarray:
    """Draw the component and the position of point i only from the noise of `seeds[i]`. Returns float64 (n, d)."""
    import torch

    from bench.generators.shared import noise

    weights, means, factors = load(model)
    keys = torch.from_numpy(seeds)
    normals = noise.normal(keys, (means.shape[1],), 0).double().numpy()
    chance = torch.special.ndtr(noise.normal(keys, (), 1).double()).numpy()
    component = np.searchsorted(np.cumsum(weights), chance, side="right").clip(max=len(weights) - 1)
    return means[component] + (normals[:, None, :] * factors[component]).sum(axis=2)


def risk(config: Config, model: Path, items: "Items", seeds: np.ndarray, **others: Any) -> dict[str, np.ndarray]:
    """Return the negative log-likelihood of every point, in nats, as "total", float64 (N,). `seeds` is not used."""
    from scipy.linalg import solve_triangular
    from scipy.special import logsumexp

    weights, means, factors = load(model)
    points = items[np.arange(len(items))]
    terms = []
    for mean, factor in zip(means, factors, strict=True):
        whitened = solve_triangular(factor, (points - mean).T, lower=True)
        terms.append(-0.5 * (whitened**2).sum(axis=0) - np.log(np.diag(factor)).sum())
    constant = 0.5 * points.shape[1] * np.log(2 * np.pi)
    return {"total": constant - logsumexp(np.array(terms), axis=0, b=weights[:, None])}
