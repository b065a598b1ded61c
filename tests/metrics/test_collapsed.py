"""The end that a benchmark of collapse is about: every sample is the same. All scores have a value there."""

import math

import echo
import numpy as np
import pytest
from configs import MetricsConfig, ReplaceConfig

from bench import ledger, stages
from bench.errors import DataError, MetricError
from bench.loop import run_chain
from bench.metrics import score_with_controls
from bench.metrics.shared.classifier import fit_attributes
from bench.metrics.shared.frechet_distance import frechet_distance, frechet_infinity
from bench.metrics.shared.kernel_distance import kernel_distance
from bench.metrics.shared.nearest_training import copying_scores
from bench.metrics.shared.neighbours import Points, nearest
from bench.metrics.shared.precision_recall import manifold_scores
from bench.metrics.shared.variety import entropy_estimate, near_duplicate_rate, vendi_score

N, D = 60, 5


@pytest.fixture
def real() -> np.ndarray:
    return np.random.default_rng(0).gamma(2, 1, (N, D)).astype(np.float32)


def at(point) -> np.ndarray:
    return np.tile(np.asarray(point, np.float32), (N, 1))


@pytest.mark.parametrize("n", [N, 4])
def test_frechet_distance_of_a_point_mass_is_its_second_moment_about_the_point(real, n):
    point = np.array([0.1, 2, 3, 4, 5], np.float32)
    some = real[:n].astype(np.float64)
    expected = ((some.mean(axis=0) - point) ** 2).sum() + some.var(axis=0, ddof=1).sum()
    for a, b in ((at(point)[:n], real[:n]), (real[:n], at(point)[:n])):
        assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(at(point), at(point + 2)) == pytest.approx(4 * D)
    assert frechet_infinity(at(point), at(point)) == pytest.approx(0)


def test_a_point_mass_on_a_real_item_is_precise_and_covers_whose_balls_it_is_in(real):
    squared = ((real[:, None] - real[None]) ** 2).sum(axis=2)
    radii = np.sort(squared, axis=1)[:, 3]
    inside = squared[7] <= radii  # balls that item 7 lies in, its own included
    result = manifold_scores(at(real[7]), real, 3)
    assert (result.precision, result.recall) == (1, 1 / N), "item 7 alone equals a sample"
    assert result.coverage == pytest.approx(inside.mean())
    assert result.density == pytest.approx(inside.sum() / 3)
    away = manifold_scores(at([100] * D), real, 3)
    assert (away.precision, away.recall, away.density, away.coverage) == (0, 0, 0, 0)


@pytest.mark.parametrize("point", [[0] * D, [1, 2, 3, 4, 5]])
def test_variety_of_a_point_mass(real, point):
    assert vendi_score(at(point)) == pytest.approx(1)
    nearly = at(point)
    nearly[0, 0] += 1e-6
    lowest = entropy_estimate(at(point), 3)
    assert math.isfinite(lowest) and lowest < entropy_estimate(nearly, 3) < entropy_estimate(real, 3)
    assert near_duplicate_rate(at(point), real) == 1
    assert near_duplicate_rate(at(point)[:40], real[:40]) == 1


def test_kernel_and_copying_of_a_point_mass(real):
    assert kernel_distance(at([9] * D), real, 10, 20).mean > kernel_distance(real + 1, real, 10, 20).mean > 0
    copied = copying_scores(at(real[3]), real[::-1].copy() + 1, real, twin=(real[:30], real[30:]))
    assert (copied.nn_distance_training, copied.authenticity, copied.closer_to_training) == (0, 0, 1)
    both = copying_scores(at(real[3]), real, at(real[3]), twin=(at(real[3]), at(real[3])))
    assert (both.authenticity, both.closer_to_training) == (0, 0.5)


def test_nearest_among_equal_points_takes_the_first_ones(real):
    distances, indices = nearest(Points.of(real), Points.of(at([1] * D)), 3)
    assert np.array_equal(indices.numpy(), np.tile(np.arange(3), (N, 1)))
    assert np.allclose(distances.numpy(), ((real.astype(np.float64) - 1) ** 2).sum(axis=1)[:, None])


def test_every_family_scores_black_pictures_and_a_training_set_of_them(real):
    labels = {"side": (real[:, 0] > 2).astype(int)}
    attributes = fit_attributes(real, labels, real, labels, {"side": ["left", "right"]})
    scores = ["frechet", "kernel", "manifold", "diversity", "copying", "tails"]
    config = MetricsConfig(num_images=N, scores=scores, references=["heldout", "training"], num_resamples=3)
    black = at([0] * D)
    given = {"training": black, "twin": (black, black), "attributes": attributes}
    rows = score_with_controls((black, real), config, [], others={"training": black}, **given)
    assert len(rows) > 20 and all(math.isfinite(row["value"]) for row in rows)
    (fid,) = [r["value"] for r in rows if (r["metric"], r["reference"], r["subject"]) == ("fid", "training", "samples")]
    assert fid == 0


def test_a_constant_reference_is_an_error(real):
    with pytest.raises(MetricError, match=f"heldout features are constant: all {N} rows"):
        score_with_controls((real, at([1] * D)), MetricsConfig(num_images=N, scores=["frechet"]), [])


def collapse(monkeypatch) -> echo.Echo:
    stand_in = echo.Echo(monkeypatch)
    black = np.zeros((3, echo.SIDE, echo.SIDE), np.uint8)
    monkeypatch.setattr(echo, "picture", lambda model, seed: black)
    return stand_in


def test_a_chain_that_collapses_is_scored_to_its_end(tmp_path, monkeypatch):
    collapse(monkeypatch)
    config = echo.small(tmp_path, mixing=ReplaceConfig(), num_generations=3)
    rows = ledger.read(run_chain(config, echo.Lines()) / ledger.FILENAME)
    assert [row.generation for row in rows] == [0, 1, 2]
    values = {s["metric"]: s["value"] for s in rows[2].scores if s["subject"] == "samples"}
    assert values["recall"] == 0 and values["fid"] > 0


@pytest.mark.parametrize("part", ["train", "heldout"])
def test_real_items_that_are_all_one_are_refused_before_training(tmp_path, monkeypatch, part):
    stand_in = collapse(monkeypatch)
    read = stages.real_data

    def constant(context, config):
        real, result = read(context, config)
        pool = getattr(real, part)
        object.__setattr__(pool, "items", np.broadcast_to(pool.items[:1], pool.items.shape))
        return real, result

    monkeypatch.setattr("bench.stages.real_data", constant)
    with pytest.raises(DataError, match=f"all .* {part} items are equal"):
        run_chain(echo.small(tmp_path), echo.Lines())
    assert not stand_in.fits


def test_weights_of_another_network_are_refused_before_training(tmp_path, monkeypatch):
    import torch

    stand_in = echo.Echo(monkeypatch)
    torch.save({"layer": torch.zeros(3)}, tmp_path / "wrong.pt")
    metrics = MetricsConfig(num_images=echo.N, weights=str(tmp_path / "wrong.pt"), scores=["frechet"])
    with pytest.raises(MetricError, match=r"wrong\.pt does not fit"):
        run_chain(echo.small(tmp_path, metrics=metrics), echo.Lines())
    assert not stand_in.fits
