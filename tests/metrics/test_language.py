"""Scores of texts: counts by hand, Zipf words of known exponent, and rare words that are taken away."""

from types import SimpleNamespace

import numpy as np
import pytest
from shrunk import TINY, composed

from bench import loop, metrics, preflight
from bench.config import MetricsConfig
from bench.errors import ConfigError
from bench.metrics.shared import words
from bench.pool import Pool, Records


def zipf(exponent: float, num_words: int, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    shares = np.arange(1.0, num_words + 1) ** -exponent
    return np.random.default_rng(seed).choice(num_words, shape, p=shares / shares.sum()).astype(np.int32)


def scored(subject: np.ndarray, reference: np.ndarray, **options) -> dict[str, float]:
    config = MetricsConfig(num_images=len(subject), scores=["language"], options={"language": options})
    rows = metrics.score(None, config, items=(subject, reference))
    return {row["metric"]: row["value"] for row in rows}


def test_distinct_and_repeated_ngrams_are_counted_within_items():
    tokens = np.array([[5, 9, 5, 9, 5, 9], [9, 5, 7, 7, 7, 7]], np.int32)
    assert words.distinct(tokens, 1) == 3 / 12
    assert words.distinct(tokens, 2) == 4 / 10, "59, 95, 57, 77; 99 would span two items"
    assert words.repetition(tokens, 2) == pytest.approx((3 / 5 + 2 / 5) / 2)
    assert words.repetition(tokens, 4) == pytest.approx((1 / 3 + 0) / 2)
    large = np.array([[2**31 - 1, 0, 2**31 - 1, 0]], np.int32)
    assert words.distinct(large, 3) == 1 and words.repetition(large, 2) == pytest.approx(1 / 3)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_ngrams_are_those_that_a_set_of_tuples_holds(n):
    tokens = zipf(1.0, 6, (30, 12))
    every = [tuple(row[i : i + n]) for row in tokens.tolist() for i in range(13 - n)]
    assert words.distinct(tokens, n) == len(set(every)) / len(every)


@pytest.mark.parametrize("exponent", [0.8, 1.0, 1.2, 1.5])
@pytest.mark.parametrize("num_words", [200, 20_000])
def test_the_exponent_of_drawn_zipf_words_is_found(exponent, num_words):
    for num_items in (125, 1000):
        found = words.zipf_exponent(zipf(exponent, num_words, (num_items, 64)))
        assert found == pytest.approx(exponent, abs=0.08)


def test_too_few_words_have_no_exponent():
    assert words.zipf_exponent(np.full((40, 8), 3, np.int32)) is None
    found = scored(np.full((40, 8), 3, np.int32), zipf(1, 50, (40, 8)))
    assert not {"zipf_exponent", "zipf_distance"} & found.keys() and found["distinct_1"] == 1 / 320


def test_rare_words_are_the_least_frequent_ones_up_to_their_mass():
    tokens = np.repeat([0, 1, 2, 3, 4], [70, 20, 4, 3, 3])[None]
    assert words.rare_words(tokens, 0.1).tolist() == [2, 3, 4]
    assert words.rare_words(tokens, 0.09).tolist() == [3, 4], "equally rare words go together"
    assert words.rare_words(tokens, 0.01).tolist() == [3, 4], "there are always some"


def test_survival_is_the_share_of_rare_words_that_samples_still_have():
    reference, fresh = zipf(1.0, 400, (500, 16)), zipf(1.0, 400, (500, 16), seed=1)
    rare = words.rare_words(reference, 0.1)
    floor = scored(fresh, reference)["rare_survival"]
    assert 0.8 < floor < 1
    assert scored(reference, reference)["rare_survival"] == 1
    dead = np.where(np.isin(fresh, rare[::2]), 0, fresh).astype(np.int32)
    assert scored(dead, reference)["rare_survival"] == pytest.approx(floor / 2, abs=0.06)
    no_tail = np.where(fresh >= 100, 0, fresh).astype(np.int32)
    assert scored(no_tail, reference)["rare_survival"] < 0.05


def test_a_family_for_texts_is_refused_for_images_before_anything_runs():
    for family in ("language", "perplexity"):
        with pytest.raises(ConfigError, match=rf"metrics\.scores='{family}': scores tokens, but the data are images"):
            preflight.check(composed(*TINY, f"metrics.scores=[{family}]"))
    with pytest.raises(ConfigError, match=r"rare_mass=0.9: must be greater than 0"):
        preflight.check(composed(*TINY, "metrics.scores=[language]", "+metrics.options.language.rare_mass=0.9"))


def test_items_that_are_no_texts_after_all_are_refused_before_training(tmp_path):
    real = SimpleNamespace(train=Pool(np.arange(8.0).reshape(4, 2), Records.real(list("abcd"))))
    real.heldout = real.train
    config = composed(
        "data=points", "generator=gaussian", "retrain_epochs=null", "warm_start=false", "metrics=identity"
    )
    loop.check_items(config, real)
    config.metrics.scores = ["language"]
    with pytest.raises(ConfigError, match="scores tokens, but the data are points"):
        loop.check_items(config, real)
