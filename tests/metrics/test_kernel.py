import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kernel_mmd
from torchmetrics.image.kid import poly_mmd

from bench.errors import MetricError
from bench.metrics.shared import kernel_distance as kernel
from bench.metrics.shared.checks import canonical_order
from bench.metrics.shared.kernel_distance import kernel_distance


def two_sets(n: int = 200, d: int = 12, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, d)).astype(np.float32) + shift, rng.standard_normal((n, d)).astype(np.float32)


def test_agrees_with_torch_fidelity_and_torchmetrics_on_whole_sets():
    """Compare with subsets as large as the set, so that no random draw can differ."""
    subject, reference = two_sets()
    ours = kernel_distance(subject, reference, num_subsets=2, subset_size=200)
    x, y = subject.astype(np.float64), reference.astype(np.float64)
    keywords = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    assert ours.mean == pytest.approx(kernel_mmd(x, y, **keywords, kid_kernel_poly_coef0=1), rel=1e-6)
    assert ours.mean == pytest.approx(float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y))), rel=1e-6)
    assert ours.sd == pytest.approx(0, abs=1e-12)


def test_unbiased_where_fid_is_not():
    rng = np.random.default_rng(1)
    for size in (20, 100):
        x, y = (rng.standard_normal((600, 10)).astype(np.float32) for _ in range(2))
        result = kernel_distance(x, y, num_subsets=200, subset_size=size)
        assert abs(result.mean) < 3 * result.sd / np.sqrt(600 / size)  # about 600 / size independent subsets


def test_grows_with_the_shift_and_needs_no_order():
    subject, reference = two_sets()
    near = kernel_distance(subject, reference, 20, 50)
    far = kernel_distance(subject + 0.5, reference, 20, 50)
    assert far.mean > near.mean > 0 and near.sd > 0
    again = kernel_distance(subject[::-1], reference[::-1], 20, 50)
    np.testing.assert_array_equal(again.values, near.values)


def test_subsets_that_are_too_large_are_refused():
    with pytest.raises(MetricError, match="201"):
        kernel_distance(*two_sets(), subset_size=201)


def test_blocks_change_nothing(monkeypatch):
    """Check blocks that are smaller than a subset and do not divide either set."""
    subject, reference = two_sets(150)[0], two_sets(170)[1]
    whole = kernel_distance(subject, reference, 7, 60).values
    monkeypatch.setattr(kernel, "BLOCK", 37)
    np.testing.assert_allclose(kernel_distance(subject, reference, 7, 60).values, whole, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 3.0, 100.0])
@pytest.mark.parametrize("num_subsets", [10, 30])
def test_products_in_float32_lose_nothing_that_shows(offset, num_subsets):
    """Compare with the same formula in float64, subset by subset, for features that may lie far from the origin. The
    error must be far below the spread of the subsets, which is the scale that a KID is read on."""
    rng = np.random.default_rng(4)
    subject, reference = ((rng.standard_normal((400, 256)) + offset).astype(np.float32) for _ in range(2))
    result = kernel_distance(subject, reference, num_subsets, 100, seed=5)
    x, y = canonical_order(subject).astype(np.float64), canonical_order(reference).astype(np.float64)
    draws = np.random.default_rng(5)
    expected = []
    for _ in range(num_subsets):
        a, b = x[draws.choice(400, 100, replace=False)], y[draws.choice(400, 100, replace=False)]
        aa, bb, ab = ((p @ q.T / 256 + 1) ** 3 for p, q in ((a, a), (b, b), (a, b)))
        within = (aa.sum() - aa.trace() + bb.sum() - bb.trace()) / (100 * 99)
        expected.append(within - 2 * ab.mean())
    np.testing.assert_allclose(result.values, expected, rtol=0, atol=1e-5 * np.std(expected))
