"""Perplexity of models that are known, and what their histograms count."""

import json
from pathlib import Path

import numpy as np
import pytest
import unigram

from bench import datasets, metrics
from bench.config import MetricsConfig
from bench.metrics.perplexity import histogram
from bench.pool import Pool

N = 1000
CONFIG = MetricsConfig(num_images=N, scores=["perplexity"])


def texts(most: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, most, (N, 8)).astype(np.int32)


def uniform(size: int):
    """A model of words that are all equally likely."""
    return lambda tokens: {"total": np.full(len(tokens), np.log(size))}


def by_first_word(tokens: np.ndarray) -> dict[str, np.ndarray]:
    return {"total": tokens[:, 0] / 100}


def rows(samples: np.ndarray, **given) -> dict[str, dict]:
    found = metrics.score(None, CONFIG, items=(samples, texts(500, 1)), **given)
    return {row["metric"]: row for row in found}


def test_a_uniform_model_is_as_perplexed_as_it_has_words():
    found = rows(texts(9, 0), model=uniform(70), first_model=uniform(50), true_risk=lambda x: np.full(len(x), 3.0))
    assert found["perplexity"]["value"] == pytest.approx(70)
    assert found["perplexity"]["true_perplexity"] == pytest.approx(np.exp(3))
    assert found["sample_perplexity"]["value"] == pytest.approx(50), "that of samples is by the model of generation 0"
    assert {row["feature_space"] for row in found.values()} == {"model"}
    assert "true_perplexity" not in rows(texts(9, 0), model=uniform(70), first_model=uniform(50))["perplexity"]


def test_shares_of_the_tails_are_those_of_held_out_text_where_nothing_changed():
    same = rows(texts(500, 2), model=uniform(9), first_model=by_first_word)
    for name in ("improbable_share", "probable_share"):
        assert same[name]["value"] == pytest.approx(0.01, abs=4 * (0.02 / N) ** 0.5)
    low = rows(texts(3, 2), model=uniform(9), first_model=by_first_word)
    assert (low["probable_share"]["value"], low["improbable_share"]["value"]) == (1, 0)
    high = rows(texts(3, 2) + 600, model=uniform(9), first_model=by_first_word)
    assert (high["probable_share"]["value"], high["improbable_share"]["value"]) == (0, 1)


def test_the_histogram_counts_every_item_in_bins_that_all_generations_share():
    losses = {"samples": np.log([1.0, 1.05, 2.0, 16.0]), "heldout": np.log([4.0, 4.1, 4.2, 4.3])}
    found = histogram(losses)
    edges = np.array(found["edges"])
    np.testing.assert_allclose(np.log2(edges) * 4, np.arange(len(edges)), atol=1e-3)
    assert sum(found["samples"]) == sum(found["heldout"]) == 4 and len(edges) == len(found["samples"]) + 1
    assert found["samples"][0] == 2 and found["heldout"][8] == 4
    one = histogram({"samples": np.zeros(3), "heldout": np.zeros(3)})
    assert one["samples"] == [3]


def test_without_a_model_of_generation_0_there_is_none():
    assert rows(texts(9, 0), model=uniform(70)) == {}
    assert metrics.score(None, CONFIG, items=(texts(9, 0), texts(9, 1)), first_model=uniform(9)) == []


def test_a_chain_asks_its_own_model_about_held_out_text_and_generation_0_about_samples(tmp_path):
    config, rows = unigram.run(tmp_path)
    store = tmp_path / "store"
    heldout = Pool.load(store / rows[0].artifacts["real"] / "heldout").items[:90]
    truth = datasets.true_risk(config.data, heldout).mean()
    first = -np.log(unigram.shares(store / rows[0].artifacts["model"]))
    for row in rows:
        found = {s["metric"]: s for s in row.scores if s["subject"] == "samples" and not s["parameters"]}
        own = -np.log(unigram.shares(store / row.artifacts["model"]))
        samples = Pool.load(store / row.artifacts["samples"]).items[:90]
        assert found["perplexity"]["value"] == pytest.approx(np.exp(own[heldout].mean()))
        assert found["excess_risk"]["value"] == pytest.approx(own[heldout].mean() - truth)
        assert found["perplexity"]["true_perplexity"] == pytest.approx(np.exp(truth))
        assert found["sample_perplexity"]["value"] == pytest.approx(np.exp(first[samples].mean()))
        described = first[samples].reshape(90, 2, 8).mean(axis=2)
        assert found["spread"]["value"] == pytest.approx(described.std(axis=0, ddof=1).mean(), rel=1e-5)
    excess = [s["value"] for row in rows for s in row.scores if s["metric"] == "excess_risk"]
    assert excess[0] < excess[1] < excess[2]
    floor = {s["metric"] for s in rows[0].scores if s["subject"] == "real_train"}
    assert {"distinct_2", "zipf_exponent", "rare_survival", "spread", "fid"} <= floor and "perplexity" not in floor


def test_the_key_of_its_scores_has_both_models_and_the_truth(tmp_path):
    _, rows = unigram.run(tmp_path, "metrics.scores=[perplexity]")
    specs = [json.loads(p.read_text())["spec"] for p in (tmp_path / "store" / "score").glob("*/*/spec.json")]
    assert {spec["first_model"]["key"] for spec in specs} == {f"train/{Path(rows[0].artifacts['train']).name}"}
    assert len({spec["model"]["key"] for spec in specs}) == 3
    assert all(spec["model"]["truth"]["source"]["data"] == "grammar" for spec in specs)
