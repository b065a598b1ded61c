"""Hallucinated combinations: what exists is known exactly, what samples show is judged, and mistakes are taken out."""

from collections import Counter

import numpy as np
import pytest

from bench.config import MetricsConfig
from bench.datasets import possible_pairs, procedural
from bench.metrics import score
from bench.metrics.shared.classifier import Attribute, fit_attributes
from bench.metrics.shared.hallucination import hallucination_rate

POSSIBLE = np.eye(4, dtype=bool) | np.eye(4, k=1, dtype=bool)
NAMES = {"species": list("abcd"), "colour": list("wxyz")}


def pictures(n: int, seed: int, impossible: float = 0.0, noise: float = 0.45):
    """Return features that show a species and a colour each, and both labels."""
    rng = np.random.default_rng(seed)
    is_impossible = rng.random(n) < impossible
    pairs = np.where(
        is_impossible[:, None], *(np.argwhere(p)[rng.integers(0, p.sum(), n)] for p in (~POSSIBLE, POSSIBLE))
    )
    features = np.concatenate([np.eye(4)[pairs[:, 0]], np.eye(4)[pairs[:, 1]]], axis=1)
    labels = {"species": pairs[:, 0], "colour": pairs[:, 1]}
    return features + noise * rng.standard_normal(features.shape), labels, is_impossible.mean()


@pytest.fixture(scope="module")
def attributes() -> dict[str, Attribute]:
    (train, labels, _), (heldout, truth, _) = pictures(1500, 0), pictures(1500, 1)
    return fit_attributes(train, labels, heldout, truth, NAMES)


def rate(features, attributes):
    return hallucination_rate(features, attributes["species"], attributes["colour"], POSSIBLE)


def test_forty_of_the_sixty_four_pairs_of_drawn_flowers_do_not_exist():
    ((names, possible),) = possible_pairs(procedural.Config()).items()
    assert names == ("species", "colour") and possible.shape == (8, 8) and (~possible).sum() == 40
    assert not possible[0, procedural.label_names("flowers")["colour"].index("blue")]  # a blue daisy


@pytest.mark.parametrize("kind", ["flowers", "birds"])
def test_the_pairs_that_exist_are_those_that_are_drawn(kind):
    possible = possible_pairs(procedural.Config(kind=kind))["species", "colour"]
    drawn = Counter()
    for index in range(3000):
        chosen = procedural.choose(kind, 0, index)
        drawn[chosen["species"], chosen["colour"]] += 1
    assert set(drawn) == {tuple(pair) for pair in np.argwhere(possible)}


def test_data_that_do_not_say_what_exists_have_no_pairs():
    from bench.datasets import points

    assert possible_pairs(points.Config()) == {}


def test_real_items_hallucinate_nothing_though_classifiers_make_mistakes(attributes):
    found = [rate(pictures(1000, 10 + seed)[0], attributes) for seed in range(40)]
    assert found[0].false_positive_rate > 0.02
    assert np.mean([one.judged for one in found]) == pytest.approx(found[0].false_positive_rate, abs=0.02)
    assert np.mean([one.low > 0 for one in found]) <= 0.1


def test_training_items_are_no_better_than_others(attributes):
    """Check noise so high that whoever has seen an item knows it better."""
    train, labels, _ = pictures(90, 0, noise=1.0)
    heldout, truth, _ = pictures(2000, 1, noise=1.0)
    wide = [
        np.hstack([z, np.random.default_rng(i).standard_normal((len(z), 200))]) for i, z in enumerate((train, heldout))
    ]
    fitted = fit_attributes(wide[0], labels, wide[1], truth, NAMES)
    assert rate(wide[0], fitted).judged == pytest.approx(rate(wide[0], fitted).false_positive_rate, abs=0.2)


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_planted_combinations_are_found_and_not_overstated(attributes, share):
    features, _, true = pictures(3000, 5, share)
    found = rate(features, attributes)
    assert 0 < found.low < found.rate < true  # a lower bound: nothing impossible was there to learn from


def test_where_classifiers_are_right_the_rate_is_exact():
    (train, labels, _), (heldout, truth, _) = pictures(600, 0, noise=0.05), pictures(600, 1, noise=0.05)
    fitted = fit_attributes(train, labels, heldout, truth, NAMES)
    features, _, true = pictures(2000, 2, 0.2, noise=0.05)
    found = rate(features, fitted)
    assert (found.rate, found.false_positive_rate) == (pytest.approx(true), 0)
    half = 1.96 * np.sqrt(true * (1 - true) / 2000)
    assert (found.low, found.high) == (pytest.approx(true - half, abs=1e-4), pytest.approx(true + half, abs=1e-4))


def test_rows_hold_the_rate_only_where_it_is_known_what_exists(attributes):
    samples, reference = pictures(200, 3, 0.3)[0], pictures(200, 4)[0]
    config = MetricsConfig(num_images=200, scores=["tails"])
    given = {"attributes": attributes, "possible": {("species", "colour"): POSSIBLE}}
    (row,) = [r for r in score((samples, reference), config, **given) if r["metric"] == "hallucination_rate"]
    expected = rate(samples, attributes)
    assert row["value"] == expected.rate and row["direction"] == "down"
    assert row["parameters"] == {"attribute": "species and colour"}
    assert {name: row[name] for name in ("low", "high", "judged", "false_positive_rate")} == {
        name: value for name, value in vars(expected).items() if name != "rate"
    }
    for nothing in ({}, None, {("species", "pose"): POSSIBLE}):
        rows = score((samples, reference), config, attributes=attributes, possible=nothing)
        assert "hallucination_rate" not in {r["metric"] for r in rows}
