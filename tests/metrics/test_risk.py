"""Risk: the loss of a model that is known, on items that are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import digamma
from shrunk import composed

from bench import datasets, generators, metrics
from bench.config import MetricsConfig
from bench.datasets.points import Config as PointsConfig
from bench.generators import gaussian
from bench.ledger import read_runs
from bench.loop import run_chain
from bench.machine.console import Console
from bench.machine.device import Runtime
from bench.pool import Pool

CONFIG = MetricsConfig(num_images=30, scores=["risk"])


def items(mean: float, n: int, seed: int) -> np.ndarray:
    return mean + np.random.default_rng(seed).standard_normal((n, 2))


def model(points: np.ndarray) -> dict[str, np.ndarray]:
    """Squared distance to the origin, in total and by coordinate: that of a model of N(0, I)."""
    return {"total": (points**2).sum(1), "x": points[:, 0] ** 2, "y": points[:, 1] ** 2}


def rows(**given) -> list[dict]:
    return metrics.score(None, CONFIG, items=(items(9, 30, 0), items(0, 30, 1)), model=model, **given)


def test_risk_is_the_mean_loss_on_held_out_items_in_total_and_per_part():
    found = rows(training_items=items(0, 40, 2))
    assert [(row["metric"], row["parameters"]) for row in found] == [
        ("risk", {}), ("risk", {"part": "x"}), ("risk", {"part": "y"}),
    ]  # fmt: skip
    expected = model(items(0, 30, 1))
    assert [row["value"] for row in found] == pytest.approx([losses.mean() for losses in expected.values()])
    assert {(row["direction"], row["feature_space"], row["num_reference"]) for row in found} == {("down", "model", 30)}


def test_the_gap_is_that_of_unseen_items_over_those_trained_on_at_equal_numbers():
    trained_on, unseen = items(0, 50, 3) * 0.5, items(0, 50, 4)
    asked: list[int] = []

    def counted(points: np.ndarray) -> dict[str, np.ndarray]:
        asked.append(len(points))
        return model(points)

    pair = (items(9, 30, 0), items(0, 30, 1))
    found = metrics.score(
        None, CONFIG, items=pair, model=counted, training_items=trained_on, twin_items=(trained_on, unseen)
    )
    gaps = {row["parameters"].get("part", "total"): row for row in found if row["metric"] == "risk_gap"}
    assert asked == [30, 30, 30] and gaps.keys() == {"total", "x", "y"}
    assert gaps["total"]["value"] == pytest.approx(gaps["x"]["value"] + gaps["y"]["value"])
    assert gaps["total"]["value"] == pytest.approx(2 * (1 - 0.25), abs=1.0) and gaps["total"]["value"] > 0
    assert {(row["direction"], row["num_training"]) for row in gaps.values()} == {("down", 30)}


def test_without_a_model_or_training_set_there_is_no_risk():
    pair = (items(9, 30, 0), items(0, 30, 1))
    assert metrics.score(None, CONFIG, items=pair, training_items=pair[0]) == []
    assert metrics.score(None, CONFIG, items=pair, model=model) == []


def test_excess_risk_is_the_total_above_the_truth_on_the_same_held_out_items():
    """N(0, 2 I) in place of N(0, I), in one dimension per coordinate: KL = ½ (½ − 1 + log 2) each."""

    def wide(points: np.ndarray) -> dict[str, np.ndarray]:
        each = 0.25 * points**2 + 0.5 * np.log(4 * np.pi)
        return {"total": each.sum(1), "x": each[:, 0]}

    def truth(points: np.ndarray) -> np.ndarray:
        return (0.5 * points**2 + 0.5 * np.log(2 * np.pi)).sum(1)

    pair = (items(9, 30_000, 0), items(0, 30_000, 1))
    config = replace(CONFIG, num_images=30_000)
    found = metrics.score(None, config, items=pair, model=wide, true_risk=truth, training_items=pair[0])
    (excess,) = (row for row in found if row["metric"] == "excess_risk")
    assert excess["value"] == pytest.approx(2 * 0.5 * (np.log(2) - 0.5), abs=4 * 0.5 / 30_000**0.5)
    assert excess["value"] == pytest.approx(found[0]["value"] - excess["true_risk"])
    assert (excess["parameters"], excess["direction"], excess["feature_space"]) == ({}, "down", "model")


def test_a_gaussian_fitted_to_n_points_has_the_excess_risk_of_theory(tmp_path):
    """E KL(N(μ, Σ) ‖ N(μ̂, Σ̂)) from the moments of Wishart matrices: about (d + d (d + 1) / 2) / 2N."""
    n, d, runtime = 40, 3, Runtime(torch.device("cpu"), None, compile=False)
    values = []
    for seed in range(300):
        data = PointsConfig(dimension=d, mean=3.0, sd=2.0, num_train=n, num_heldout=200, split_seed=seed)
        real = datasets.load_real(data)
        model, config = tmp_path / str(seed), gaussian.Config()
        generators.fit(config, real.train.items, seed=0, out=model, work=tmp_path, runtime=runtime)
        losses = generators.risk(config, model, real.heldout.items, np.zeros(200, np.int64), runtime=runtime)
        values.append(float(np.mean(losses["total"] - datasets.true_risk(data, real.heldout.items))))
    log_determinant = sum(digamma((n - i) / 2) for i in range(1, d + 1)) + d * np.log(2 / (n - 1))
    exact = 0.5 * (d * (n - 1) / (n - d - 2) * (1 + 1 / n) - d + log_determinant)
    assert exact == pytest.approx((d + d * (d + 1) / 2) / (2 * n), rel=0.2)
    assert abs(np.mean(values) - exact) < 4 * np.std(values) / len(values) ** 0.5


def chain_of_points(out, *overrides: str):
    own = ["data=points", "data.num_train=50", "data.num_heldout=50", "mixing=replace", "metrics=identity"]
    own += [
        "data.shape=gaussian",
        "metrics.num_images=40",
        "metrics.scores=[risk]",
        "num_generations=2",
        "num_probes=1",
    ]
    places = [f"output_dir={out}", f"store_dir={out}/store"]
    config = composed("experiment=gaussian_mixture", "generator=gaussian", *own, *places, *overrides)
    (chain,) = read_runs([run_chain(config, Console(quiet=True))])
    return config, chain.rows


def test_a_chain_has_it_of_the_held_out_points_and_not_of_those_trained_on(tmp_path):
    config, rows = chain_of_points(tmp_path)
    for row in rows:
        store = tmp_path / "store"
        found = {s["metric"]: s for s in row.scores if not s["parameters"]}
        heldout = Pool.load(store / row.artifacts["real"] / "heldout").items[:40]
        truth = float(datasets.true_risk(config.data, heldout).mean())
        mean, factor = gaussian.load(store / row.artifacts["model"])
        away = np.linalg.solve(factor, (heldout - mean).T)
        loss = 0.5 * (away**2).sum(0).mean() + np.log(np.diag(factor)).sum() + np.log(2 * np.pi)
        assert found["excess_risk"]["true_risk"] == pytest.approx(truth)
        assert found["excess_risk"]["value"] == pytest.approx(loss - truth)


def test_there_is_none_where_the_loss_is_no_likelihood(tmp_path, monkeypatch):
    with_truth = chain_of_points(tmp_path)[1]
    monkeypatch.delattr(gaussian, "LIKELIHOOD")
    without = chain_of_points(tmp_path, f"output_dir={tmp_path}/again")[1]
    told = [{s["metric"] for s in rows[0].scores} for rows in (with_truth, without)]
    assert told == [{"risk", "excess_risk", "risk_gap"}, {"risk", "risk_gap"}]
    assert datasets.truth_spec(composed("data=procedural").data) is None
