"""The score stage: every score of one subject against one reference, as rows of one long table."""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from bench.analysis.uncertainty import resample_images
from bench.config import MetricsConfig
from bench.metrics.estimators.checks import canonical_order, check_features, check_k, check_pair
from bench.metrics.estimators.class_survival import Classifier, fit_classifier, tail_scores
from bench.metrics.estimators.frechet_distance import Statistics, can_extrapolate, frechet_distance, frechet_infinity
from bench.metrics.estimators.kernel_distance import kernel_distance
from bench.metrics.estimators.nearest_training import copying_scores
from bench.metrics.estimators.neighbours import Points, own_distances
from bench.metrics.estimators.precision_recall import manifold_scores
from bench.metrics.estimators.variety import entropy_estimate, near_duplicate_rate, vendi_score

Device = str | torch.device

VERSION = 3
"""Raised with any change that moves a score, so that stored scores are computed anew."""

COMPARISONS = ("frechet", "kernel", "manifold")
"""The families that compare two sets and nothing else: computed against every reference, and for the controls."""


@dataclass(frozen=True)
class Value:
    """One score before it becomes a row. direction: which way is better. extra: more columns of its row."""

    metric: str
    value: float
    direction: str
    parameters: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ReferenceStatistics:
    """The part of the scores that depends on the reference alone, computed once for all subjects.

    moments: for the Frechet distance. own_distances: float64 (M, k), squared, of each image to its k nearest others.
    """

    moments: Statistics
    own_distances: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays to store; `of` reads them back."""
        return {"mean": self.moments.mean, "moment": self.moments.moment, "own_distances": self.own_distances}

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray], n: int) -> "ReferenceStatistics":
        """Return the statistics of n images from stored arrays."""
        return ReferenceStatistics(Statistics(arrays["mean"], n, arrays["moment"]), arrays["own_distances"])


def reference_statistics(features: np.ndarray, config: MetricsConfig, device: Device = "cpu") -> ReferenceStatistics:
    """Return the statistics of the float (M, d) features of a reference. Raises `MetricError` as `score` does."""
    check_features(features, "reference")
    check_k(config.k, len(features))
    distances = own_distances(Points.of(features, device), config.k)
    return ReferenceStatistics(Statistics.of(features, device), distances.cpu().numpy())


@dataclass(frozen=True, eq=False)
class FeaturePair:
    """Two sets of features, float (N, d) each, and intermediate results that several families share.

    known: the statistics of the reference, where they are already computed.
    """

    subject: np.ndarray
    reference: np.ndarray
    device: Device
    known: ReferenceStatistics | None = None

    @functools.cached_property
    def moments(self) -> Statistics:
        """The reference's, for the Frechet distance."""
        return self.known.moments if self.known else Statistics.of(self.reference, self.device)

    @functools.cached_property
    def points(self) -> tuple[Points, Points]:
        """Subject and reference, for neighbours."""
        distances = self.known.own_distances if self.known else None
        return Points.of(self.subject, self.device), Points.of(self.reference, self.device, distances)


@dataclass(frozen=True)
class Attribute:
    """A labelled attribute of the real images, as a classifier of it and the names of its classes."""

    classifier: Classifier
    class_names: list[str]


def score(
    subject_features: np.ndarray,
    reference_features: np.ndarray,
    config: MetricsConfig,
    *,
    subject: str = "samples",
    reference: str = "heldout",
    families: Collection[str] | None = None,
    training: np.ndarray | None = None,
    attributes: Mapping[str, Attribute] | None = None,
    known: ReferenceStatistics | None = None,
    device: Device = "cpu",
) -> list[dict[str, Any]]:
    """Return the scores of float (N, d) features against float (N, d), one row each:

    {"metric": "precision", "feature_space": "efficientnet_lite0", "subject": "samples",
     "reference": "heldout", "num_subject": 1024, "num_reference": 1024, "parameters": {"k": 3},
     "value": 0.71, "direction": "up"}

    subject, reference: the names of the two sets in the rows. families: which of `config.scores`; None: all.
    training: float (T, d), the training set of the subject's model; without it no copying scores. attributes: by
    name, from `fit_attributes`; without them no tails. known: `reference_statistics(reference_features)`, where they
    are already computed.
    Some rows have more columns: `subset_sd` (KID), `image_sd` (with config.num_resamples), `num_training` (copying:
    training images compared with), `counts` (class survival: name -> [images, images expected]).

    Raises `MetricError` before computing anything if the two sides differ in N or width, have NaN or constant features,
    or have too few images for k.
    """
    check_pair(subject_features, reference_features)
    check_k(config.k, len(subject_features))
    wanted = [name for name in config.scores if families is None or name in families]
    pair = FeaturePair(subject_features, reference_features, device, known)
    values: list[Value] = []
    for name in wanted:
        if name == "copying" and training is not None:
            values += _copying(pair, training)
        elif name == "tails" and attributes is not None:
            values += _tails(subject_features, attributes)
        elif name in FAMILIES:
            values += FAMILIES[name](pair, config)
    spread = _image_sd(subject_features, reference_features, config, wanted, device)
    common = {
        "feature_space": config.feature_space,
        "subject": subject,
        "reference": reference,
        "num_subject": len(subject_features),
        "num_reference": len(reference_features),
    }
    return [
        {
            "metric": v.metric,
            **common,
            "parameters": v.parameters,
            "value": float(v.value),
            "direction": v.direction,
            **v.extra,
            **({"image_sd": spread[v.metric]} if v.metric in spread else {}),
        }
        for v in values
    ]


def score_with_controls(
    subject_features: np.ndarray,
    reference_features: np.ndarray,
    config: MetricsConfig,
    floor: list[dict[str, Any]],
    *,
    subject: str = "samples",
    reference: str = "heldout",
    training: np.ndarray | None = None,
    attributes: Mapping[str, Attribute] | None = None,
    known: ReferenceStatistics | None = None,
    others: Mapping[str, np.ndarray] = MappingProxyType({}),
    device: Device = "cpu",
) -> list[dict[str, Any]]:
    """Return the rows of a subject together with all that they are read against, in this order: its scores against
    the reference; its comparisons with each of `config.references` that is in `others` (float (M, d) by name, both
    sides cut to the smaller N); the rows of `floor`, scores of real images in place of the subject; and the
    comparisons of subject and reference shuffled together. Other arguments and errors are those of `score`."""
    rows = score(
        subject_features, reference_features, config, subject=subject, reference=reference, training=training,
        attributes=attributes, known=known, device=device,
    )  # fmt: skip
    for name in (name for name in config.references if name in others):
        a, b = same_size(subject_features, others[name])
        rows += score(a, b, config, subject=subject, reference=name, families=COMPARISONS, device=device)
    rows += floor
    a, b = shuffled(subject_features, reference_features)
    return rows + score(a, b, config, subject="shuffled", reference=reference, families=COMPARISONS, device=device)


def same_size(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both, cut to the N of the smaller."""
    n = min(len(a), len(b))
    return a[:n], b[:n]


def score_spec(config: MetricsConfig) -> dict[str, Any]:
    """Return the part of the config that changes scores, apart from the feature space; JSON-able, for store keys."""
    keys = ("num_images", "k", "scores", "references", "kid_num_subsets", "kid_subset_size", "num_resamples")
    return {**{key: getattr(config, key) for key in keys}, "version": VERSION}


def shuffled(subject: np.ndarray, reference: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the control: both sets pooled and dealt out again at random, N each.

    These two sets have one distribution, so their score is what "no difference" looks like. A score that exceeds this
    value and the real-vs-real floor shows a difference between the sets.
    """
    check_pair(subject, reference)
    together = canonical_order(np.concatenate([subject, reference]))
    order = np.random.default_rng(seed).permutation(len(together))
    return together[order[: len(subject)]], together[order[len(subject) :]]


def fit_attributes(
    train: np.ndarray,
    train_labels: Mapping[str, np.ndarray],
    heldout: np.ndarray,
    heldout_labels: Mapping[str, np.ndarray],
    names: Mapping[str, list[str]],
    device: Device = "cpu",
) -> dict[str, Attribute]:
    """Return a classifier for every attribute of the real images that has labels of two classes or more."""
    usable = [a for a, y in train_labels.items() if len(np.unique(y[y >= 0])) > 1 and (heldout_labels[a] >= 0).any()]
    return {
        a: Attribute(
            fit_classifier(train, train_labels[a], heldout, heldout_labels[a], len(names[a]), device), names[a]
        )
        for a in usable
    }


# ---------------------------------------------------------------------------------------------- one function a family


def _frechet(pair: FeaturePair, config: MetricsConfig) -> Iterator[Value]:
    yield Value("fid", frechet_distance(pair.subject, pair.moments, pair.device), "down")
    if can_extrapolate(*pair.subject.shape):
        yield Value("fid_infinity", frechet_infinity(pair.subject, pair.reference, device=pair.device), "down")


def _kernel(pair: FeaturePair, config: MetricsConfig) -> Iterator[Value]:
    size = max(min(config.kid_subset_size, len(pair.subject) // 2), 2)  # larger subsets are hardly different
    result = kernel_distance(pair.subject, pair.reference, config.kid_num_subsets, size, device=pair.device)
    parameters = {"num_subsets": config.kid_num_subsets, "subset_size": size}
    yield Value("kid", result.mean, "down", parameters, {"subset_sd": result.sd})


def _manifold(pair: FeaturePair, config: MetricsConfig) -> Iterator[Value]:
    result = manifold_scores(*pair.points, config.k)
    for metric in ("precision", "recall", "density", "coverage"):
        yield Value(metric, getattr(result, metric), "up", {"k": config.k})


def _diversity(pair: FeaturePair, config: MetricsConfig) -> Iterator[Value]:
    subject, reference = pair.points
    yield Value("vendi", vendi_score(pair.subject, pair.device), "up")
    yield Value("entropy", entropy_estimate(subject, config.k), "up", {"k": config.k})
    yield Value("near_duplicate_rate", near_duplicate_rate(subject, reference), "down")


FAMILIES: dict[str, Callable[[FeaturePair, MetricsConfig], Iterator[Value]]] = {
    "frechet": _frechet,
    "kernel": _kernel,
    "manifold": _manifold,
    "diversity": _diversity,
}


def _copying(pair: FeaturePair, training: np.ndarray) -> Iterator[Value]:
    result = copying_scores(*pair.points, training, device=pair.device)
    compared, whole = {"num_training": result.num_compared}, {"num_training": len(training)}
    yield Value("nn_distance_training", result.nn_distance_training, "down", extra=compared)
    yield Value("nn_distance_heldout", result.nn_distance_heldout, "down", extra=compared)
    yield Value("closer_to_training", result.closer_to_training, "down", extra=compared)
    yield Value("authenticity", result.authenticity, "up", extra=whole)
    yield Value("near_copy_rate", result.near_copy_rate, "down", extra=whole)


def _tails(subject: np.ndarray, attributes: Mapping[str, Attribute]) -> Iterator[Value]:
    for name, attribute in attributes.items():
        about = {"attribute": name}
        result = tail_scores(attribute.classifier.predict(subject), attribute.classifier)
        counts = {
            class_name: [int(count), round(float(expected), 3)]
            for class_name, count, expected in zip(attribute.class_names, result.counts, result.expected, strict=True)
        }
        yield Value("class_survival", result.survival, "up", about, {"counts": counts})
        yield Value("tail_survival", result.tail_survival, "up", about)
        yield Value("head_survival", result.head_survival, "up", about)
        yield Value("class_divergence", result.divergence, "down", about)
        yield Value("classifier_accuracy", attribute.classifier.accuracy, "up", about)


def _image_sd(
    subject: np.ndarray, reference: np.ndarray, config: MetricsConfig, families: Collection[str], device: Device
) -> dict[str, float]:
    """Return the standard deviation of each score of two sets over the choice of images, by `resample_images`."""
    if not config.num_resamples:
        return {}

    def values(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        chosen = [FAMILIES[name] for name in families if name in FAMILIES and name != "kernel"]
        return {v.metric: v.value for family in chosen for v in family(FeaturePair(a, b, device), config)}

    return resample_images(values, subject, reference, config.num_resamples)
