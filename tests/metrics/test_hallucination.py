"""Hallucinated combinations: what exists is known exactly, what samples show is judged, and mistakes are taken out."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from bench.config import MetricsConfig
from bench.datasets import possible_pairs, procedural
from bench.errors import MetricError
from bench.metrics import score
from bench.metrics.shared.hallucination import PairJudge, can_tell, fit_judge, hallucination_rate, rate_of
from bench.witness import independent_scores

POSSIBLE = np.eye(4, dtype=bool) | np.eye(4, k=1, dtype=bool)
NAMES = {"species": list("abcd"), "colour": list("wxyz")}
PAIR = ("species", "colour")


def pictures(n: int, seed: int, impossible: float = 0.0, noise: float = 0.45):
    """Return features that show a species and a colour each, both labels, and the share of impossible pairs."""
    rng = np.random.default_rng(seed)
    is_impossible = rng.random(n) < impossible
    pairs = np.where(
        is_impossible[:, None], *(np.argwhere(p)[rng.integers(0, p.sum(), n)] for p in (~POSSIBLE, POSSIBLE))
    )
    features = np.concatenate([np.eye(4)[pairs[:, 0]], np.eye(4)[pairs[:, 1]]], axis=1)
    labels = {"species": pairs[:, 0], "colour": pairs[:, 1]}
    return features + noise * rng.standard_normal(features.shape), labels, is_impossible.mean()


def fitted(noise: float = 0.45, num_calibration: int = 1000, num_heldout: int = 1000, seed: int = 0) -> PairJudge:
    share = (~POSSIBLE).mean()  # as where species and colour are independent
    calibration, labels, _ = pictures(num_calibration, 2 * seed, share, noise)
    heldout, truth, _ = pictures(num_heldout, 2 * seed + 1, 0, noise)
    return fit_judge(calibration, labels, heldout, truth, NAMES, PAIR, POSSIBLE)


@pytest.fixture(scope="module")
def judge() -> PairJudge:
    return fitted()


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


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 1.0])
def test_planted_combinations_are_read_within_the_interval(judge, share):
    true, found = zip(*(plant(judge, share, seed) for seed in range(30)), strict=True)
    assert judge.sensitivity < 0.9 and judge.false_positive_rate > 0.05  # mistakes are many, and taken out
    assert np.mean([one.rate for one in found]) == pytest.approx(np.mean(true), abs=0.03)
    assert sum(one.low <= share <= one.high for one in found) >= 25  # all by one judge, so not independent
    assert all(one.low <= one.rate <= one.high for one in found)


def plant(judge: PairJudge, share: float, seed: int):
    features, _, true = pictures(1000, 100 + seed, share)
    return true, hallucination_rate(features, judge)


@pytest.mark.parametrize("r", [0.0, 0.02, 0.1, 0.3, 0.9])
@pytest.mark.parametrize(("s", "f"), [(0.97, 0.03), (0.7, 0.1), (1.0, 0.002)])
def test_the_interval_covers_the_truth_whatever_is_uncertain(judge, r, s, f):
    """Draw h, s and f from their binomials. A 95 % interval that is clipped covers a rate of 0 more often."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(400):
        drawn = replace(
            judge,
            sensitivity=rng.binomial(630, s) / 630,
            num_impossible=630,
            false_positive_rate=rng.binomial(1024, f) / 1024,
            num_heldout=1024,
        )
        _, low, high = rate_of(rng.binomial(1024, s * r + f * (1 - r)) / 1024, 1024, drawn)
        covered.append(low <= r <= high)
    assert 0.925 <= np.mean(covered) <= (1 if r == 0 else 0.985)


def test_mistakes_are_measured_on_what_the_models_have_not_seen():
    """Check in as many dimensions as items: a model recognises all that it has seen."""
    rng = np.random.default_rng(0)
    calibration, labels, _ = pictures(150, 0, 0.5, noise=1.0)
    heldout, truth, _ = pictures(500, 1, noise=1.0)
    wide = [np.hstack([z, rng.standard_normal((len(z), 200))]) for z in (calibration, heldout)]
    one = fit_judge(wide[0], labels, wide[1], truth, NAMES, PAIR, POSSIBLE)
    fresh, _, _ = pictures(2000, 2, 1.0, noise=1.0)
    judged = one.judge(np.hstack([fresh, rng.standard_normal((2000, 200))]))
    assert one.sensitivity == pytest.approx(judged, abs=0.12)


def test_a_rate_is_refused_where_a_tenth_could_not_be_told_from_none(judge):
    useless = replace(judge, sensitivity=0.4, false_positive_rate=0.4)
    assert not can_tell(useless, 10**6) and rate_of(0.5, 1000, useless) == (0, 0, 1)
    assert can_tell(replace(judge, sensitivity=0.97, false_positive_rate=0.03), 1000)
    features = pictures(24, 3, 0.3)[0]
    assert hallucination_rate(features, judge).rate is None
    rows = score(
        (features, features), MetricsConfig(num_images=24, scores=["tails"]), attributes={}, judges={PAIR: judge}
    )
    (row,) = rows
    assert row["metric"] == "hallucination_sensitivity" and row["value"] == judge.sensitivity
    assert row["refused"]["hallucination_rate"].startswith("with 24 samples and classifiers that recognise")


def test_the_power_is_as_stated(judge):
    """Where the rule just allows a rate, 10 % of impossible samples are told from none in 4 of 5 cases."""
    known = replace(judge, sensitivity=0.9, false_positive_rate=0.1, num_heldout=1000, num_impossible=600)
    n = next(n for n in range(20, 2000, 5) if can_tell(known, n))
    rng, told = np.random.default_rng(0), []
    for _ in range(500):
        drawn = replace(known, false_positive_rate=rng.binomial(1000, 0.1) / 1000)
        told.append(rate_of(rng.binomial(n, 0.9 * 0.1 + 0.1 * 0.9) / n, n, drawn)[1] > 0)
    assert 0.72 <= np.mean(told) <= 0.88


def test_calibration_without_impossible_items_is_an_error():
    (x, labels, _), (heldout, truth, _) = pictures(60, 0), pictures(60, 1)
    with pytest.raises(MetricError, match="60 calibration items, 0 of them impossible"):
        fit_judge(x, labels, heldout, truth, NAMES, PAIR, POSSIBLE)


def test_rows_hold_the_rate_only_where_there_is_calibration(judge):
    samples, reference = pictures(800, 3, 0.3)[0], pictures(800, 4)[0]
    config = MetricsConfig(num_images=800, scores=["tails"])
    rows = {r["metric"]: r for r in score((samples, reference), config, attributes={}, judges={PAIR: judge})}
    expected, row = hallucination_rate(samples, judge), rows["hallucination_rate"]
    assert row["value"] == expected.rate and row["direction"] == "down"
    assert row["parameters"] == {"attribute": "species and colour"}
    columns = ("low", "high", "judged", "sensitivity", "false_positive_rate")
    assert [row[name] for name in columns] == [getattr(expected, name) for name in columns]
    assert rows["hallucination_sensitivity"]["refused"] == {}
    for nothing in ({}, None):
        assert score((samples, reference), config, attributes={}, judges=nothing) == []


@pytest.mark.parametrize("kind", ["flowers"])
def test_a_second_implementation_agrees(kind):
    possible = possible_pairs(procedural.Config(kind=kind))[PAIR]
    names = procedural.label_names(kind)
    rng = np.random.default_rng(0)

    def shown(pairs: np.ndarray) -> np.ndarray:
        features = np.concatenate([np.eye(8)[pairs[:, 0]], np.eye(8)[pairs[:, 1]]], axis=1)
        return (features + 0.3 * rng.standard_normal(features.shape)).astype(np.float32)

    drawn, real = rng.integers(0, 8, (600, 2)), np.argwhere(possible)[rng.integers(0, 24, 600)]
    (x, y, z), labels = (shown(pairs) for pairs in (drawn, real, drawn[:300])), dict(zip(PAIR, drawn.T, strict=True))
    one = fit_judge(x, labels, y, dict(zip(PAIR, real.T, strict=True)), names, PAIR, possible)
    ours = {"hallucination_rate": hallucination_rate(z, one).rate, "hallucination_sensitivity": one.sensitivity}
    for metric, value in ours.items():
        theirs, slack = independent_scores.hallucinations(metric, z, (x, labels), y, kind, {})
        assert theirs == pytest.approx(value, abs=0.02) and slack < 1
