"""Every score as a `torchmetrics.Metric`, which can be updated with batches, computed, reset, and synchronised over
processes.

    fid = FrechetDistance("efficientnet_lite0")  # or a loaded FeatureSpace; without one, update with features
    fid.update(images, real=True)                # uint8 images (n, 3, H, H), or float features (n, d)
    fid.update(samples, real=False)
    fid.compute()

The parameters of torchmetrics' `FrechetInceptionDistance` and `KernelInceptionDistance` mean the same here: `real`,
`normalize` (images are float in [0, 1]) and `reset_real_features`, and for KID `subsets` and `subset_size`. Scores that
compare with more sets name them by role: `update(images, "training")`.

The features of all batches are kept, and are gathered from all processes before `compute`, which calls the same
function as the score stage. The numbers are therefore the same for every batch size and number of processes.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from bench.config import RuntimeConfig
from bench.errors import MetricError
from bench.features.shared.extraction import FeatureSpace, extract, load_feature_space
from bench.machine.device import resolve_runtime
from bench.metrics.shared.class_survival import tail_scores
from bench.metrics.shared.classifier import Attribute
from bench.metrics.shared.frechet_distance import frechet_distance, frechet_infinity
from bench.metrics.shared.kernel_distance import kernel_distance
from bench.metrics.shared.nearest_training import copying_scores, equal_sides
from bench.metrics.shared.precision_recall import manifold_scores
from bench.metrics.shared.variety import entropy_estimate, near_duplicate_rate, vendi_score

Result = Tensor | dict[str, Tensor]


class FeatureMetric(Metric):
    """A metric that collects features by role. `roles` names the sets that the score takes, of which those in
    `optional` may be empty. Subclasses compute the score in `values`."""

    is_differentiable = False
    full_state_update = True  # otherwise `forward` would add the real images that `reset` keeps twice
    roles: ClassVar[tuple[str, ...]] = ("subject", "reference")
    optional: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        space: FeatureSpace | str | None = None,
        *,
        normalize: bool = False,
        reset_real_features: bool = True,
        **settings: Any,
    ) -> None:
        """Create an empty metric.

        Args:
            space: The feature space that extracts features from images, or its name (`inception_v3`); None: `update`
                takes only features.
            normalize: Whether images are float in [0, 1] instead of uint8. They are quantised as in torchmetrics.
            reset_real_features: Whether `reset` also discards the real images.
            settings: Parameters of `torchmetrics.Metric`.
        """
        super().__init__(**settings)
        if isinstance(space, str):
            space = load_feature_space(space, resolve_runtime(RuntimeConfig(precision="fp32", compile=False)))
        if not isinstance(space, FeatureSpace | None):
            hint = "a FeatureSpace, or the name of one: inception_v3 has the 2048 features of torchmetrics"
            raise MetricError(f"space={space!r}: must be {hint}")
        self.space, self.normalize, self.reset_real_features = space, normalize, reset_real_features
        for role in self.roles:
            self.add_state(role, default=[], dist_reduce_fx="cat")

    def update(self, batch: Tensor, role: str | bool | None = None, *, real: bool | None = None) -> None:
        """Add a batch.

        Args:
            batch: uint8 (n, 3, H, H) images, with `normalize` float in [0, 1]; or float (n, d) features.
            role: The set that the batch belongs to, one of `roles`; True or False: the same as `real`; None: decided by
                `real`, or the subject without it.
            real: Whether the batch belongs to the reference instead of the subject, as in torchmetrics.

        Raises:
            MetricError: The batch has another shape or dtype, or the score has no such set.
        """
        name = self._role(role, real)
        images = self._quantised(batch) if self.normalize and batch.ndim == 4 else batch
        if images.dtype == torch.uint8:
            if self.space is None:
                raise MetricError(f"{type(self).__name__} got images but has no feature space: give it one")
            features = torch.from_numpy(extract(self.space, images.cpu().numpy(), shared=False))
        elif images.ndim == 2 and images.is_floating_point():
            features = images.detach()
        else:
            hint = "; normalize=True takes images that are float in [0, 1]" if images.is_floating_point() else ""
            raise MetricError(
                f"a batch has dtype {batch.dtype} and shape {tuple(batch.shape)}, expected uint8 (n, 3, H, H) images "
                f"or float (n, d) features{hint}"
            )
        getattr(self, name).append(features.to(self.device))

    def _role(self, role: str | bool | None, real: bool | None) -> str:
        """Return the role of the set that a batch belongs to."""
        if isinstance(role, bool) or role is None:
            if role is not None and real is not None:
                raise MetricError(f"real={real} is given twice")
            given = role if real is None else real
            role = "reference" if given else "subject"
        elif real is not None:
            raise MetricError(f"role={role!r} and real={real}: give one of them")
        if role not in self.roles:
            about = " (real=True)" if role == "reference" else ""
            raise MetricError(f"role {role!r}{about}: the roles of {type(self).__name__} are {', '.join(self.roles)}")
        return role

    def _quantised(self, images: Tensor) -> Tensor:
        """Return float images in [0, 1] as uint8, rounded down as in torchmetrics. Raises `MetricError` for images of
        another dtype or range."""
        if not images.is_floating_point():
            raise MetricError(f"images have dtype {images.dtype}, and with normalize=True must be float in [0, 1]")
        low, high = images.min().item(), images.max().item()
        if not (low >= 0 and high <= 1):  # true for NaN, too
            raise MetricError(f"images lie in [{low:g}, {high:g}], and with normalize=True must lie in [0, 1]")
        return (images * 255).byte()

    def reset(self) -> None:
        """Discard all batches, or with `reset_real_features=False` all except the real ones."""
        kept = [] if self.reset_real_features else list(getattr(self, "reference", []))
        super().reset()
        if kept:
            self.reference = kept

    def compute(self) -> Result:
        """Return the score of all batches. Raises `MetricError` if a role that is not optional has no batch yet."""
        sets = {}
        for role in self.roles:
            collected = getattr(self, role)
            if len(collected) == 0 and role in self.optional:
                continue
            if len(collected) == 0:
                raise MetricError(f"{type(self).__name__} has no {role} yet: update it first")
            sets[role] = dim_zero_cat(collected).cpu().numpy()
        return self.values(**sets)

    def values(self, **sets: np.ndarray) -> Result:
        """Return the score of the features, float (n, d), of each role."""
        raise NotImplementedError


class FrechetDistance(FeatureMetric):
    """Fréchet distance; see `bench.metrics.shared.frechet_distance.frechet_distance`."""

    higher_is_better = False

    def values(self, **sets: np.ndarray) -> Result:
        return _scalar(frechet_distance(sets["subject"], sets["reference"], self.device))


class FrechetInfinity(FeatureMetric):
    """Fréchet distance extrapolated to infinite N; see `bench.metrics.shared.frechet_distance.frechet_infinity`."""

    higher_is_better = False

    def values(self, **sets: np.ndarray) -> Result:
        return _scalar(frechet_infinity(sets["subject"], sets["reference"], device=self.device))


class KernelDistance(FeatureMetric):
    """Mean and standard deviation ("sd") of the kernel distance over subsets; see
    `bench.metrics.shared.kernel_distance.kernel_distance`."""

    higher_is_better = False

    def __init__(
        self,
        space: FeatureSpace | str | None = None,
        num_subsets: int = 100,
        subset_size: int = 1000,
        *,
        subsets: int | None = None,
        **settings: Any,
    ) -> None:
        """Create an empty metric.

        Args:
            space: See `FeatureMetric`.
            num_subsets: The number of subsets.
            subset_size: The number of items in a subset.
            subsets: The name of `num_subsets` in torchmetrics.
            settings: Further parameters of `FeatureMetric`.
        """
        super().__init__(space, **settings)
        self.num_subsets, self.subset_size = subsets or num_subsets, subset_size

    def values(self, **sets: np.ndarray) -> Result:
        result = kernel_distance(
            sets["subject"], sets["reference"], self.num_subsets, self.subset_size, device=self.device
        )
        return {"mean": _scalar(result.mean), "sd": _scalar(result.sd)}


class ManifoldScores(FeatureMetric):
    """Precision, recall, density and coverage; see `bench.metrics.shared.precision_recall.manifold_scores`."""

    higher_is_better = True

    def __init__(self, space: FeatureSpace | str | None = None, k: int = 3, **settings: Any) -> None:
        super().__init__(space, **settings)
        self.k = k

    def values(self, **sets: np.ndarray) -> Result:
        return _scalars(manifold_scores(sets["subject"], sets["reference"], self.k, self.device))


class VendiScore(FeatureMetric):
    """Vendi score; see `bench.metrics.shared.variety.vendi_score`."""

    higher_is_better = None
    roles = ("subject",)

    def values(self, **sets: np.ndarray) -> Result:
        return _scalar(vendi_score(sets["subject"], self.device))


class EntropyEstimate(FeatureMetric):
    """Entropy estimate; see `bench.metrics.shared.variety.entropy_estimate`."""

    higher_is_better = None
    roles = ("subject",)

    def __init__(self, space: FeatureSpace | str | None = None, k: int = 3, **settings: Any) -> None:
        super().__init__(space, **settings)
        self.k = k

    def values(self, **sets: np.ndarray) -> Result:
        return _scalar(entropy_estimate(sets["subject"], self.k, self.device))


class NearDuplicateRate(FeatureMetric):
    """Rate of near-duplicates; see `bench.metrics.shared.variety.near_duplicate_rate`."""

    higher_is_better = False

    def values(self, **sets: np.ndarray) -> Result:
        return _scalar(near_duplicate_rate(sets["subject"], sets["reference"], device=self.device))


class CopyingScores(FeatureMetric):
    """Scores of copying, with held-out items as the reference; see `bench.metrics.shared.nearest_training`.

    With batches of the role `unseen`, the result also has closer_to_training and near_copy_rate. Unseen items are of
    the same distribution as the training items, but were not trained on.
    """

    roles = ("subject", "reference", "training", "unseen")
    optional = ("unseen",)

    def values(self, **sets: np.ndarray) -> Result:
        twin = equal_sides(sets["training"], sets["unseen"]) if "unseen" in sets else None
        return _scalars(
            copying_scores(sets["subject"], sets["reference"], sets["training"], twin=twin, device=self.device)
        )


class TailScores(FeatureMetric):
    """Survival of classes, without scores that are refused. See `bench.metrics.shared.class_survival.tail_scores`."""

    roles = ("subject",)

    def __init__(self, attribute: Attribute, space: FeatureSpace | str | None = None, **settings: Any) -> None:
        super().__init__(space, **settings)
        self.attribute = attribute

    def values(self, **sets: np.ndarray) -> Result:
        return _scalars(tail_scores(self.attribute.predict(sets["subject"]), self.attribute))


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _scalars(result: Any) -> dict[str, Tensor]:
    """Return the float attributes of a result, by name."""
    return {name: _scalar(value) for name, value in vars(result).items() if isinstance(value, float)}
