"""What every score asks of its features: checked before anything is computed, and independent of their order."""

import numpy as np

from bench.errors import MetricError


def check_features(features: np.ndarray, what: str) -> None:
    """float (N, d) with N >= 2, finite, not all rows equal; or a `MetricError` that says what it is
    instead.
    """
    if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating):
        raise MetricError(
            f"{what} features have shape {features.shape} and dtype {features.dtype}, expected float (N, d)"
        )
    if len(features) < 2:
        raise MetricError(f"{what} features: N = {len(features)}, at least 2 are needed")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise MetricError(
            f"{what} features: {len(bad)} of {len(features)} rows have NaN or infinity, first row {bad[0]}"
        )
    if (features == features[0]).all():
        raise MetricError(f"{what} features are constant: all {len(features)} rows are equal")


def check_pair(subject: np.ndarray, reference: np.ndarray, equal_n: bool = True) -> None:
    """Both sides sound, of one width and, unless waived, of one N (all these scores depend on N)."""
    check_features(subject, "subject")
    check_features(reference, "reference")
    if subject.shape[1] != reference.shape[1]:
        raise MetricError(f"feature widths differ: subject {subject.shape[1]}, reference {reference.shape[1]}")
    if equal_n and len(subject) != len(reference):
        raise MetricError(f"N differs: subject {len(subject)}, reference {len(reference)}; scores need equal N")


def check_k(k: int, n: int) -> None:
    """k-th neighbour of a point, the point itself not counted: 1 <= k < N."""
    if not 1 <= k < n:
        raise MetricError(f"k = {k} neighbours need more than k images on each side, there are N = {n}")


def canonical_order(features: np.ndarray) -> np.ndarray:
    """The rows sorted as byte strings: a seeded subset of them is the same in whatever order they came."""
    return features[canonical_indices(features)]


def canonical_indices(features: np.ndarray) -> np.ndarray:
    """int64 (N,): which row comes first, second, … in `canonical_order`, for where a copy of all rows takes too
    much memory."""
    rows = np.ascontiguousarray(features)
    return np.argsort(rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel(), kind="stable")
