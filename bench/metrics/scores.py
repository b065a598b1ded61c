"""The score stage: every score of one subject against one reference, as rows of one long table."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from bench.config import MetricsConfig
from bench.metrics.checks import check_k, check_pair
from bench.metrics.frechet import Statistics, frechet_distance
from bench.metrics.manifold import manifold_scores

DOWN, UP = "down", "up"
"""Which way is better."""

VERSION = 1
"""Raised with any change that moves a score, so that stored scores are computed anew."""


def score(
    subject_features: np.ndarray,
    reference_features: np.ndarray,
    config: MetricsConfig,
    *,
    subject: str = "samples",
    reference: str = "heldout",
    device: str | torch.device = "cpu",
) -> list[dict[str, Any]]:
    """Scores of float (N, d) features against float (N, d), one row each:

    {"metric": "precision", "feature_space": "efficientnet_lite0", "subject": "samples",
     "reference": "heldout", "num_subject": 1024, "num_reference": 1024, "parameters": {"k": 3},
     "value": 0.71, "direction": "up"}

    subject, reference: what the two sides are called in the rows. Raises `MetricError` before computing
    anything if the two sides differ in N or width, have NaN or constant features, or have too few images for
    k.
    """
    check_pair(subject_features, reference_features)
    check_k(config.k, len(subject_features))
    common = {
        "feature_space": config.feature_space,
        "subject": subject,
        "reference": reference,
        "num_subject": len(subject_features),
        "num_reference": len(reference_features),
    }
    return [
        {"metric": metric, **common, "parameters": parameters, "value": float(value), "direction": direction}
        for metric, parameters, value, direction in _values(
            subject_features, reference_features, config, device
        )
    ]


def score_spec(config: MetricsConfig) -> dict[str, Any]:
    """What of the config, beside the feature space, changes a score; JSON-able, for store keys."""
    return {"num_images": config.num_images, "k": config.k, "version": VERSION}


def _values(
    subject: np.ndarray, reference: np.ndarray, config: MetricsConfig, device: str | torch.device
) -> Iterator[tuple[str, dict[str, Any], float, str]]:
    yield "fid", {}, frechet_distance(Statistics.of(subject), Statistics.of(reference)), DOWN
    manifold = manifold_scores(subject, reference, config.k, device)
    k = {"k": config.k}
    yield "precision", k, manifold.precision, UP
    yield "recall", k, manifold.recall, UP
    yield "density", k, manifold.density, UP
    yield "coverage", k, manifold.coverage, UP
