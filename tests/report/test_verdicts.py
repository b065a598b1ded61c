"""Verdicts in words: the rule's word, the right numbers, and nothing where there is too little to say."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import fabricate
import numpy as np
import pytest
from matplotlib.figure import Figure

from bench import ledger
from bench.analysis import collapse, verdicts
from bench.analysis.class_shares import class_shares
from bench.analysis.study import Study, studies
from bench.report.survival import survival


def study_of(tmp_path: Path, **kwargs: Any) -> Study:
    (study,) = studies(ledger.read_runs([fabricate.sweep(tmp_path, pictures=False, **kwargs)]))
    return study


def test_the_word_is_that_of_the_rule_and_the_numbers_are_the_ledgers(tmp_path: Path) -> None:
    study = study_of(tmp_path, num_generations=5)
    result = {c.label: verdicts.verdict(study, c) for c in study.conditions}
    assert (result["0.00"].badge, result["0.00"].kind) == ("stable", "better")
    assert (result["1.00"].badge, result["1.00"].kind) == ("collapsed", "worse")
    curves = [[fabricate.row(1.0, g, s).scores[0]["value"] for g in range(5)] for s in range(3)]
    rate = collapse.log_slope(curves)
    assert verdicts.rate(study, study.conditions[2]) == rate
    factors = "×{:.2f} a generation ({:.2f} to {:.2f})".format(
        *(math.exp(v) for v in (rate.slope, rate.low, rate.high))
    )
    assert factors in result["1.00"].words
    start, end = np.mean([c[0] for c in curves]), np.mean([c[4] for c in curves])
    assert f"FID {start:.0f} → {end:.0f}" in result["1.00"].words


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


def test_a_single_generation_is_printed_once(tmp_path: Path) -> None:
    study = study_of(tmp_path, ratios=(1.0,), seeds=(0,), num_generations=1)
    words = verdicts.verdict(study, study.conditions[0]).words
    assert words.startswith(f"FID {fabricate.row(1.0, 0, 0).scores[0]['value']:.0f}; precision 0.")
    assert "→" not in words


def test_the_critical_ratio_lies_between_the_last_stable_and_the_first_collapsed(tmp_path: Path) -> None:
    study = study_of(tmp_path, ratios=(0.0, 0.5, 1.0), num_generations=5)
    result = verdicts.critical(study)
    assert result is not None and result.ratio is not None
    assert 0.0 < result.ratio < 0.5
    assert f"from a synthetic ratio of {result.ratio:.2f} on" in verdicts.summary(study)
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
    shares = class_shares(study)
    assert list(shares) == ["species"] and list(shares["species"]) == study.conditions
    names, table = vars(shares["species"][study.conditions[0]]).values()
    assert names == ["daisy", "rose", "tulip", "poppy", "iris", "fern"]  # reed was never expected
    assert table.shape == (6, 4)
    np.testing.assert_array_equal(table[:, 0], 1.0)
    assert table[0, 3] == round(512 * (1 - 3 * 60 / 532)) / 512
    assert table[-1, 3] == 0.0


def fid_study(curves: dict[float, list[list[float]]], metric: str = "fid") -> Study:
    """ratio -> per seed the FID of generation 0, 1, …; NaN: not scored."""
    chains = []
    for ratio, lines in curves.items():
        for seed, line in enumerate(lines):
            rows = []
            for generation, value in enumerate(line):
                row = fabricate.row(ratio, generation, seed)
                scores = [] if math.isnan(value) else [fabricate.score(metric, value)]
                rows.append(dataclasses.replace(row, scores=scores))
            chains.append(ledger.Chain(rows[0].chain, Path(), rows))
    (study,) = studies(chains)
    return study


def growing(factor: float, noise: float = 0.01, num_generations: int = 6) -> list[list[float]]:
    signs = [1, -1, 1, 1, -1, 1]
    return [[100 * factor**g * math.exp(s * noise * signs[g]) for g in range(num_generations)] for s in (1, -1)]


def test_each_condition_has_the_word_of_its_own_curve() -> None:
    study = fid_study(
        {
            0.0: growing(1.0),
            0.25: growing(0.9),
            0.5: growing(1.2, 0.5),
            0.75: growing(1.5),
            0.9: growing(1.6),
            1.0: growing(2.0),
        }
    )
    result = {c.label: verdicts.verdict(study, c) for c in study.conditions}
    assert {label: (v.badge, v.kind) for label, v in result.items()} == {
        "0.00": ("stable", "better"),
        "0.25": ("stable", "better"),
        "0.50": ("inconclusive", "open"),
        "0.75": ("collapsed", "worse"),
        "0.90": ("collapsed", "worse"),
        "1.00": ("collapsed", "worse"),
    }
    text = verdicts.summary(study)
    assert "Collapsed: 0.75, 0.90 and 1.00. Stable: 0.00 and 0.25. Inconclusive: 0.50." in text
    rates = {c.ratio: verdicts.rate(study, c) for c in study.conditions}
    assert verdicts.critical(study) == collapse.critical_ratio(rates)
    assert 0.5 < verdicts.critical(study).ratio < 0.75


@pytest.mark.parametrize(
    ("curve", "num_generations"),
    [
        ([100.0, 110.0, 121.0, math.nan, 160.0], 3),  # what comes after a gap is not the generation after it
        ([100.0, 110.0, math.nan, 150.0, 160.0], None),
        ([math.nan, 110.0, 121.0, 150.0, 160.0], None),
        ([100.0, 110.0, 0.0, 150.0], None),
        ([100.0, 110.0, 120.0], 3),
        ([100.0, 110.0], None),
    ],
)
def test_a_rate_is_of_an_unbroken_curve_of_three_generations(curve: list[float], num_generations: int | None) -> None:
    whole = [100.0 * 1.1**g for g in range(len(curve))]
    for lines in ([curve], [whole, curve], [curve, whole]):
        study = fid_study({1.0: lines})
        result = verdicts.rate(study, study.conditions[0])
        assert (None if result is None else result.num_generations) == num_generations
        if result is not None:
            expected = [line[:num_generations] for line in lines]
            assert result == collapse.log_slope(expected)
        judged = verdicts.verdict(study, study.conditions[0])
        assert (judged.badge == "too short") == (num_generations is None)


def test_without_fid_there_is_no_verdict() -> None:
    study = fid_study({0.0: growing(1.0), 1.0: growing(2.0)}, metric="kid")
    judged = verdicts.verdict(study, study.conditions[0])
    assert (judged.kind, judged.badge, judged.words) == ("open", "too short", "no FID")
    assert verdicts.critical(study) is None


def test_one_seed_is_noted_and_only_then() -> None:
    one, two = fid_study({1.0: growing(1.5)[:1]}), fid_study({1.0: growing(1.5)})
    assert verdicts.verdict(one, one.conditions[0]).words.endswith("; one seed")
    assert "one seed" not in verdicts.verdict(two, two.conditions[0]).words


@pytest.mark.parametrize("share", [0.0, 0.4, 1.7])
def test_many_classes_are_cut_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Fifty classes: the twenty commonest and the twenty rarest are shown, each with its own share."""
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    names = [f"class {i:02d}" for i in range(50)]
    counts = {name: [share * (100 - i) * (1 + i / 1000), float(100 - i)] for i, name in enumerate(names)}
    counts = dict(sorted(counts.items(), key=lambda item: item[1][1] % 7))  # in no order
    entry = {**fabricate.score("class_survival", 0.5), "parameters": {"attribute": "species"}, "counts": counts}
    row = dataclasses.replace(fabricate.row(1.0, 0, 0), scores=[entry])
    (study,) = studies([ledger.Chain(row.chain, Path(), [row])])
    survival(study, tmp_path, "survival")
    axis = drawn[0].axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == names[:20] + names[30:]
    expected = [min(share * (1 + i / 1000), 1.5) for i in (*range(20), *range(30, 50))]
    np.testing.assert_allclose(axis.images[0].get_array()[:, 0], expected)
    assert axis.images[0].get_clim() == (0, 1.5)
