import contextlib
import io

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_prc import calculate_precision_recall_full

from bench.errors import MetricError
from bench.metrics.shared import neighbours
from bench.metrics.shared.neighbours import Points, nearest
from bench.metrics.shared.precision_recall import manifold_scores


def two_sets(n: int = 400, d: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        (rng.standard_normal((n, d)) * 0.8 + 0.3).astype(np.float32),
        rng.standard_normal((n, d)).astype(np.float32),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_agrees_with_torch_fidelity_and_prdc(k):
    subject, reference = two_sets()
    ours = manifold_scores(subject, reference, k)
    # float64 for torch-fidelity: its fast distances are rounded in float32
    precision, recall = calculate_precision_recall_full(
        torch.from_numpy(subject).double(), torch.from_numpy(reference).double(), neighborhood=k
    )
    assert (ours.precision, ours.recall) == (pytest.approx(precision), pytest.approx(recall))
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = compute_prdc(reference.astype(np.float64), subject.astype(np.float64), k)
    for name, value in theirs.items():
        assert getattr(ours, name) == pytest.approx(value), name
    assert 0.1 < ours.precision < 0.99 and 0.1 < ours.recall < 0.99 and 0.1 < ours.coverage < 0.99


def test_identical_sets_score_one():
    _, x = two_sets()
    result = manifold_scores(x, x[::-1].copy(), 3)
    assert (result.precision, result.recall, result.coverage) == (1, 1, 1)
    far_away = x * 1e-3 + 1e4  # where |x|² + |y|² - 2xy loses most digits
    assert manifold_scores(far_away, far_away, 3).recall == 1


def test_twins_lie_in_balls_of_radius_zero():
    x = np.repeat(two_sets(60)[1], 5, axis=0)
    result = manifold_scores(x, x, 3)
    assert (result.precision, result.recall, result.coverage) == (1, 1, 1)


def test_collapsed_cluster_has_high_precision_and_low_recall():
    rng = np.random.default_rng(1)
    reference = rng.standard_normal((500, 4)).astype(np.float32)
    collapsed = (rng.standard_normal((500, 4)) * 0.05).astype(np.float32)
    result = manifold_scores(collapsed, reference, 3)
    assert result.precision > 0.95 and result.recall < 0.05 and result.coverage < 0.1 and result.density > 1


def test_scattered_noise_has_low_precision():
    rng = np.random.default_rng(2)
    reference = rng.standard_normal((500, 4)).astype(np.float32)
    result = manifold_scores((rng.standard_normal((500, 4)) * 8).astype(np.float32), reference, 3)
    assert result.precision < 0.1 and result.density < 0.1


def test_blocks_and_order_change_nothing(monkeypatch):
    subject, reference = two_sets()
    expected = manifold_scores(subject, reference, 3)
    order = np.random.default_rng(3).permutation(len(subject))
    monkeypatch.setattr(neighbours, "BLOCK", 37 * len(reference))
    assert manifold_scores(subject, reference, 3) == expected
    assert manifold_scores(subject[order], reference[order[::-1]], 3) == expected


def test_nearest_is_exact_in_blocks(monkeypatch):
    queries, points = two_sets(150)
    monkeypatch.setattr(neighbours, "BLOCK", 40 * len(points))
    squared, indices = (x.numpy() for x in nearest(Points.of(queries), Points.of(points), 50))
    full = ((queries[:, None].astype(np.float64) - points[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(indices, np.argsort(full, axis=1)[:, :50])
    np.testing.assert_allclose(squared, np.sort(full, axis=1)[:, :50], rtol=1e-10)


def test_bad_input_is_refused():
    subject, reference = two_sets(10)
    with pytest.raises(MetricError, match="k = 10"):
        manifold_scores(subject, reference, 10)
    with pytest.raises(MetricError, match="reference 5"):
        manifold_scores(subject, reference[:, :5], 3)
