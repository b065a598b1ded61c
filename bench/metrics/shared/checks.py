"""Checks of features before a score is computed, and a canonical order of their rows."""

import numpy as np

from bench.errors import MetricError


def check_features(features: np.ndarray, what: str) -> None:
    """Raise `MetricError` unless the features are float (N, d) with N >= 2 and finite. `what` names them in the
    message.

    Equal rows are not an error, because a benchmark of collapse must score samples that have all become equal. For real
    items they are an error, see `check_varied`.
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


def check_varied(features: np.ndarray, what: str) -> None:
    """Raise `MetricError` if all rows of float (N, d) features of real items are equal: either the feature space does
    not distinguish the items, or the items are all equal."""
    if (features == features[0]).all():
        raise MetricError(f"{what} features are constant: all {len(features)} rows are equal")


def check_pair(subject: np.ndarray, reference: np.ndarray, equal_n: bool = True) -> None:
    """Raise `MetricError` unless both sides pass `check_features` and have equal d and, as most scores depend on N,
    equal N (not checked if `equal_n` is false)."""
    check_features(subject, "subject")
    check_features(reference, "reference")
    if subject.shape[1] != reference.shape[1]:
        raise MetricError(f"feature widths differ: subject {subject.shape[1]}, reference {reference.shape[1]}")
    if equal_n and len(subject) != len(reference):
        raise MetricError(f"N differs: subject {len(subject)}, reference {len(reference)}; scores need equal N")


def check_k(k: int, n: int) -> None:
    """Raise `MetricError` unless 1 <= k < n: a point has n - 1 neighbours, because it is not its own neighbour."""
    if not 1 <= k < n:
        raise MetricError(f"k = {k} neighbours need more than k items on each side, there are N = {n}")


def canonical_order(features: np.ndarray) -> np.ndarray:
    """Return the rows sorted as byte strings, so that a seeded subset does not depend on their original order."""
    return features[canonical_indices(features)]


def canonical_indices(features: np.ndarray) -> np.ndarray:
    """Return the permutation of the rows that `canonical_order` applies, int64 (N,), for sets that are too large to
    copy."""
    rows = np.ascontiguousarray(features)
    return np.argsort(rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel(), kind="stable")
