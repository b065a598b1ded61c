"""Verdicts in words: the rule's word, the right numbers, and nothing where there is too little to say."""

import math
from pathlib import Path
from typing import Any

import fabricate
import numpy as np

from bench import collapse, ledger
from bench.report import verdicts
from bench.report.study import Study, studies
from bench.report.survival import attributes, shares


def study_of(tmp_path: Path, **kwargs: Any) -> Study:
    (study,) = studies(ledger.read_runs([fabricate.sweep(tmp_path, pictures=False, **kwargs)]))
    return study


def test_the_word_is_that_of_the_rule_and_the_numbers_are_the_ledgers(tmp_path: Path) -> None:
    study = study_of(tmp_path, num_generations=5)
    found = {c.label: verdicts.verdict(study, c) for c in study.conditions}
    assert (found["0.00"].badge, found["0.00"].kind) == ("stable", "better")
    assert (found["1.00"].badge, found["1.00"].kind) == ("collapsed", "worse")
    curves = [[fabricate.row(1.0, g, s).scores[0]["value"] for g in range(5)] for s in range(3)]
    rate = collapse.log_slope(curves)
    assert verdicts.rate(study, study.conditions[2]) == rate
    factors = "×{:.2f} a generation ({:.2f} to {:.2f})".format(
        *(math.exp(v) for v in (rate.slope, rate.low, rate.high))
    )
    assert factors in found["1.00"].words
    start, end = np.mean([c[0] for c in curves]), np.mean([c[4] for c in curves])
    assert f"FID {start:.0f} → {end:.0f}" in found["1.00"].words


def test_chains_of_different_length_are_judged_as_far_as_all_seeds_go(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(1.0,), seeds=(0,), num_generations=5, pictures=False)
    study = study_of(tmp_path, ratios=(1.0,), seeds=(1,), num_generations=3)
    rate = verdicts.rate(study, study.conditions[0])
    assert rate is not None
    assert (rate.num_seeds, rate.num_generations) == (2, 3)


def test_an_unfinished_condition_does_not_cut_the_words_of_the_others(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(0.5,), seeds=(0,), num_generations=1, pictures=False)
    study = study_of(tmp_path, ratios=(1.0,), seeds=(0,), num_generations=4)
    start, end = (fabricate.row(1.0, g, 0).scores[0]["value"] for g in (0, 3))
    assert f"FID {start:.0f} → {end:.0f}" in verdicts.verdict(study, study.conditions[1]).words


def test_too_few_generations_allow_no_verdict(tmp_path: Path) -> None:
    study = study_of(tmp_path, num_generations=2)
    assert {verdicts.verdict(study, c).badge for c in study.conditions} == {"too short"}
    assert verdicts.critical(study) is None
    assert verdicts.critical_words(None) == ""


def test_a_single_generation_is_said_once(tmp_path: Path) -> None:
    study = study_of(tmp_path, ratios=(1.0,), seeds=(0,), num_generations=1)
    words = verdicts.verdict(study, study.conditions[0]).words
    assert words.startswith(f"FID {fabricate.row(1.0, 0, 0).scores[0]['value']:.0f}; precision 0.")
    assert "→" not in words


def test_the_critical_ratio_lies_between_the_last_stable_and_the_first_collapsed(tmp_path: Path) -> None:
    study = study_of(tmp_path, ratios=(0.0, 0.5, 1.0), num_generations=5)
    found = verdicts.critical(study)
    assert found is not None and found.ratio is not None
    assert 0.0 < found.ratio < 0.5
    assert f"from a synthetic ratio of {found.ratio:.2f} on" in verdicts.summary(study)
    only = verdicts.critical(study_of(tmp_path / "x", ratios=(0.5, 1.0), num_generations=5))
    assert only is not None and "every ratio" in verdicts.critical_words(only)


def test_policies_without_a_ratio_have_no_critical_one(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(0.5,), pictures=False, policy="accumulate")
    study = study_of(tmp_path, ratios=(1.0,), policy="replace")
    assert not study.by_ratio
    assert verdicts.critical(study) is None
    assert "2 mixing policies" in verdicts.summary(study)


def test_class_shares_are_means_over_seeds_with_the_commonest_first(tmp_path: Path) -> None:
    study = study_of(tmp_path, ratios=(1.0,), seeds=(0, 1))
    assert attributes(study) == ["species"]
    names, table = shares(study, study.conditions[0], "species")
    assert names == ["daisy", "rose", "tulip", "poppy", "iris", "fern"]  # reed was never expected
    assert table.shape == (6, 4)
    np.testing.assert_array_equal(table[:, 0], 1.0)
    assert table[0, 3] == round(512 * (1 - 3 * 60 / 532)) / 512
    assert table[-1, 3] == 0.0
