"""Verdicts in words: the rule's word, the right numbers, and nothing where there is too little to say."""

import dataclasses
import math
import re
from collections.abc import Iterable
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


def fids(ratio: float, seeds: Iterable[int], num_generations: int) -> list[list[float]]:
    return [[fabricate.row(ratio, g, s).scores[0]["value"] for g in range(num_generations)] for s in seeds]


def test_the_word_is_that_of_the_rule_and_the_numbers_are_the_ledgers(tmp_path: Path) -> None:
    seeds = (0, 1, 2, 3, 4)
    study = study_of(tmp_path, num_generations=6, seeds=seeds)
    result = {c.label: verdicts.verdict(study, c) for c in study.conditions}
    assert (result["0.00"].badge, result["0.00"].kind) == ("stable", "better")
    assert (result["1.00"].badge, result["1.00"].kind) == ("diverging", "worse")
    curves, reference = fids(1.0, seeds, 6), fids(0.0, seeds, 6)
    found = collapse.growth(curves, reference)
    assert verdicts.growth(study, study.conditions[2]) == found and found.paired
    assert verdicts.growth(study, study.conditions[0]) == collapse.growth(reference)
    percent = [100 * v for v in (found.rise.value, found.rise.low, found.rise.high)]
    words = "{:+.0f} % ({:+.0f} to {:+.0f}) against ratio 0 in generations 3 to 5".format(*percent)
    assert words in result["1.00"].words
    assert "against its own generation 0 in generations 3 to 5" in result["0.00"].words
    percent = [100 * v for v in (found.rate.value, found.rate.low, found.rate.high)]
    assert "{:+.0f} % ({:+.0f} to {:+.0f}) a generation from".format(*percent) in result["1.00"].words
    start, end = np.mean([c[0] for c in curves]), np.mean([c[5] for c in curves])
    assert f"FID {start:.0f} → {end:.0f}" in result["1.00"].words
    numbers = result["1.00"].numbers
    assert (numbers["against"], numbers["seeds"], numbers["num_generations"]) == ("ratio 0", list(seeds), 6)
    for name in ("rise", "rate", "bend"):
        interval = getattr(found, name)
        assert numbers[name] == [interval.value, interval.low, interval.high]
    assert result["0.00"].numbers["against"] == "generation 0"


def test_text_is_judged_by_its_perplexity_and_all_else_by_fid(tmp_path: Path) -> None:
    study = study_of(tmp_path / "text", num_generations=6, risk=("perplexity", 20.0))
    first, *_, last = study.conditions
    perplexity = study.total("perplexity")
    assert perplexity is not None and verdicts.judged_score(study) == perplexity
    curves, reference = (
        [[study.values(c, g, perplexity)[s] for g in range(6)] for s in study.seeds] for c in (last, first)
    )
    assert verdicts.growth(study, last) == collapse.growth(curves, reference)
    judged = verdicts.verdict(study, last)
    change, rise, *others = judged.words.split("; ")
    assert change.startswith("perplexity 20") and any(re.match(r"FID \d+ → \d+$", other) for other in others)
    assert rise.startswith(f"{verdicts.percent(collapse.growth(curves, reference).rise)} against ratio 0")
    assert judged.numbers["score"] == "perplexity"
    pictures = study_of(tmp_path / "pictures", num_generations=6, risk=("risk", 20.0))
    assert verdicts.verdict(pictures, pictures.conditions[-1]).numbers["score"] == "fid"


def test_chains_of_different_length_are_judged_as_far_as_all_seeds_go(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(1.0,), seeds=(0,), num_generations=5, pictures=False)
    study = study_of(tmp_path, ratios=(1.0,), seeds=(1,), num_generations=3)
    found = verdicts.growth(study, study.conditions[0])
    assert found is not None and not found.paired
    assert (found.num_seeds, found.num_generations) == (2, 3)


@pytest.mark.parametrize(
    ("at_zero", "at_one", "paired", "judged"),
    [
        ((0, 1, 2), (0, 1, 2), True, (0, 1, 2)),
        ((0, 1, 2, 3), (0, 1), True, (0, 1)),  # all of its seeds
        ((0, 1, 2), (0, 1, 2, 3, 4), True, (0, 1, 2)),  # three of them
        ((0, 1), (0, 1, 2), False, (0, 1, 2)),
        ((5,), (0, 1, 2), False, (0, 1, 2)),
    ],
)
def test_a_condition_is_paired_where_three_or_all_of_its_seeds_are_at_ratio_0(
    tmp_path: Path, at_zero: tuple, at_one: tuple, paired: bool, judged: tuple
) -> None:
    fabricate.sweep(tmp_path, ratios=(0.0,), seeds=at_zero, num_generations=5, pictures=False)
    study = study_of(tmp_path, ratios=(1.0,), seeds=at_one, num_generations=4)
    result = verdicts.verdict(study, study.conditions[1])
    assert result.numbers["seeds"] == list(judged)
    reference = fids(0.0, judged, 4) if paired else None
    assert verdicts.growth(study, study.conditions[1]) == collapse.growth(fids(1.0, judged, 4), reference)
    assert ("against ratio 0" in result.words) == paired


def test_an_unfinished_condition_does_not_cut_the_words_of_the_others(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(0.5,), seeds=(0,), num_generations=1, pictures=False)
    study = study_of(tmp_path, ratios=(1.0,), seeds=(0,), num_generations=4)
    start, end = (fabricate.row(1.0, g, 0).scores[0]["value"] for g in (0, 3))
    assert f"FID {start:.0f} → {end:.0f}" in verdicts.verdict(study, study.conditions[1]).words


def test_too_few_generations_allow_no_verdict(tmp_path: Path) -> None:
    study = study_of(tmp_path, num_generations=2)
    assert {verdicts.verdict(study, c).badge for c in study.conditions} == {"too short"}
    assert verdicts.critical(study) is None
    assert verdicts.critical_words(study) == ""


def test_a_single_generation_is_printed_once(tmp_path: Path) -> None:
    study = study_of(tmp_path, ratios=(1.0,), seeds=(0,), num_generations=1)
    words = verdicts.verdict(study, study.conditions[0]).words
    assert words.startswith(f"FID {fabricate.row(1.0, 0, 0).scores[0]['value']:.0f}; coverage 0.")
    assert "→" not in words


def test_the_critical_ratio_is_where_conditions_cease_to_be_stable(tmp_path: Path) -> None:
    ratios, seeds = (0.0, 0.2, 0.5, 1.0), (0, 1, 2)
    study = study_of(tmp_path, ratios=ratios, num_generations=5)
    result = verdicts.critical(study)
    assert result is not None and result.ratio is not None
    rises = {r: collapse.rises(fids(r, seeds, 5), fids(0.0, seeds, 5)) for r in ratios}
    assert rises[0.0] == [0.0] * 3
    assert result == collapse.critical_ratio({r: dict(zip(seeds, v, strict=True)) for r, v in rises.items()})
    assert 0.0 < result.ratio < 0.5
    assert f"The rise of FID passes 10 % from a synthetic ratio of {result.ratio:.2f} on" in verdicts.summary(study)
    steep = study_of(tmp_path / "x", ratios=(0.7, 0.8, 0.9, 1.0), num_generations=5)
    above = verdicts.critical(steep)
    assert above is not None and above.always and "every ratio" in verdicts.critical_words(steep)


def test_the_critical_ratio_of_other_scores_stands_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: KID rises at twice the pace of FID, risk at a tenth, FID in pixels at half; KID to training images."""
    fabricate.sweep(tmp_path, ratios=(0.0, 0.1, 0.3, 1.0), seeds=(0, 1, 2), num_generations=5, pictures=False)
    speeds = {("fid", "s", "heldout"): 1.0, ("kid", "s", "real_train"): 50.0, ("kid", "s", "heldout"): 2.0}
    speeds |= {("risk", "model", "heldout"): 0.1, ("fid", "pixels", "heldout"): 0.5}

    def scores(row: ledger.Row) -> list[dict[str, Any]]:
        g, ratio = row.generation, row.config["mixing"]["synthetic_ratio"] if row.generation else 0
        return [
            {
                **fabricate.score(m, 10 * (1 + v * ratio * g) + 0.001 * row.seed, space=space),
                "parameters": {},
                "reference": of,
                "direction": "down",
            }
            for (m, space, of), v in speeds.items()
        ]

    chains = [
        dataclasses.replace(chain, rows=[dataclasses.replace(row, scores=scores(row)) for row in chain.rows])
        for chain in ledger.read_runs([tmp_path])
    ]
    (study,) = studies(chains)
    words = verdicts.critical_words(study)
    # the mean of generations 3 and 4 is 3.5: FID passes 10 % at a ratio of .1 / 3.5, between 0 and the first
    at = {
        name: float(re.search(rf"{name} (?:passes 10 % )?from (?:a synthetic ratio of )?([\d.]+)", words)[1])
        for name in ("The rise of FID", "KID", "risk", "FID in pixels")
    }  # type: ignore[index]
    assert at == pytest.approx(
        {"The rise of FID": 0.1 / 3.5, "KID": 0.05 / 3.5, "risk": 1 / 3.5, "FID in pixels": 0.2 / 3.5}, abs=0.006
    )
    monkeypatch.setattr(verdicts, "critical", lambda *_: collapse.CriticalRatio(None, None, None, always=False))
    assert verdicts.critical_words(study) == "The rise of FID does not pass 10 % at the highest ratio that was run."


def test_three_ratios_or_two_seeds_have_no_critical_ratio(tmp_path: Path) -> None:
    for where, options in (("a", {"ratios": (0.0, 0.5, 1.0)}), ("b", {"ratios": (0, 0.2, 0.5, 1.0), "seeds": (0, 1)})):
        study = study_of(tmp_path / where, num_generations=5, **options)
        result = verdicts.critical(study)
        assert result is not None and result.ratio is None
        assert "No critical ratio: it needs at least 4 ratios" in verdicts.summary(study)


def test_ratios_of_unequal_length_are_compared_over_the_generations_that_all_have(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(0.0, 0.2, 0.5), num_generations=6, pictures=False)
    study = study_of(tmp_path, ratios=(1.0,), num_generations=4)
    short = study_of(tmp_path / "x", ratios=(0.0, 0.2, 0.5, 1.0), num_generations=4)
    assert verdicts.critical(study) == verdicts.critical(short)
    assert verdicts.growth(study, study.conditions[1]) != verdicts.growth(short, short.conditions[1])


def test_policies_without_a_ratio_have_no_critical_one(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(0.5,), pictures=False, policy="accumulate")
    study = study_of(tmp_path, ratios=(1.0,), policy="replace")
    assert not study.by_ratio
    assert verdicts.critical(study) is None
    assert "2 mixing policies" in verdicts.summary(study)


def test_arms_without_a_ratio_leave_the_critical_ratio_of_the_others_as_it_is(tmp_path: Path) -> None:
    ratios = (0.0, 0.2, 0.5, 1.0)
    alone = study_of(tmp_path / "alone", ratios=ratios, num_generations=5)
    fabricate.sweep(tmp_path / "arms", ratios=ratios, num_generations=5, pictures=False)
    study = study_of(tmp_path / "arms", ratios=(0.9,), num_generations=4, policy="accumulate")
    assert not study.by_ratio and len(study.conditions) == 5
    assert verdicts.critical(study) == verdicts.critical(alone) is not None
    arm = next(c for c in study.conditions if c.policy == "accumulate")
    assert "against ratio 0" in verdicts.verdict(study, arm).words


def test_class_shares_are_means_over_seeds_with_the_commonest_first(tmp_path: Path) -> None:
    study = study_of(tmp_path, ratios=(1.0,), seeds=(0, 1))
    shares = class_shares(study)
    assert list(shares) == ["species"] and list(shares["species"]) == study.conditions
    names, expected, table = vars(shares["species"][study.conditions[0]]).values()
    assert expected == [512, 256, 128, 64, 32, 16]
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


def shaped(*excess: float, noise: float = 0.01) -> list[list[float]]:
    """Three seeds, whose FID lies above 100 by these shares."""
    signs = [1, -1, 1, 1, -1, 1, -1, 1, -1, 1]
    return [
        [100 * (1 + x) * math.exp(s * noise * signs[g]) if g else 100 for g, x in enumerate(excess)]
        for s in (1, -1, 0.5)
    ]


FLAT, LEVEL = (0.0,) * 6, (0.0, 0.4, 0.45, 0.46, 0.46, 0.46)
STRAIGHT, STEEP = tuple(0.2 * g for g in range(6)), tuple(2.0**g - 1 for g in range(6))


def test_each_condition_has_the_word_of_its_own_curve() -> None:
    curves = {
        0.0: shaped(*FLAT),
        0.25: shaped(*(-0.05 * g for g in range(6))),
        0.5: shaped(*STRAIGHT, noise=0.5),
        0.75: shaped(*LEVEL),
        0.9: shaped(*STRAIGHT),
        1.0: shaped(*STEEP),
    }
    study = fid_study(curves)
    result = {c.label: verdicts.verdict(study, c) for c in study.conditions}
    assert {label: (v.badge, v.kind) for label, v in result.items()} == {
        "0.00": ("stable", "better"),
        "0.25": ("stable", "better"),
        "0.50": ("rising", "worse"),
        "0.75": ("bounded", "level"),
        "0.90": ("diverging", "worse"),
        "1.00": ("diverging", "worse"),
    }
    seen = re.search(r"a straight line of (\d+) % a generation", result["0.50"].words)
    found = collapse.growth(curves[0.5], curves[0.0])
    assert seen is not None
    assert int(seen[1]) == round(200 * found.bend.detectable)
    assert "that could be seen" not in result["0.75"].words + result["0.00"].words
    assert "+46 % (" in result["0.75"].words
    text = verdicts.summary(study)
    assert "Diverging: 0.90 and 1.00. Rising: 0.50. Bounded: 0.75. Stable: 0.00 and 0.25." in text
    assert 0.25 < verdicts.critical(study).ratio < 0.5


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
@pytest.mark.parametrize("paired", [False, True])
def test_growth_is_of_an_unbroken_curve_of_three_generations(
    curve: list[float], num_generations: int | None, paired: bool
) -> None:
    whole = [100.0 * 1.1**g for g in range(len(curve))]
    for lines in ([curve], [whole, curve], [curve, whole]):
        chains = {1.0: [whole] * len(lines), 0.0: lines} if paired else {1.0: lines}
        study = fid_study(chains)
        result = verdicts.growth(study, study.conditions[-1])
        assert (None if result is None else result.num_generations) == num_generations
        if result is not None:
            one = [line[:num_generations] for line in chains[1.0]]
            other = [line[:num_generations] for line in lines] if paired else None
            assert result == collapse.growth(one, other)
        judged = verdicts.verdict(study, study.conditions[-1])
        assert (judged.badge == "too short") == (num_generations is None) == (judged.numbers == {})


def test_a_ratio_of_0_with_a_rule_of_its_own_and_real_only_are_no_reference() -> None:
    study = fid_study({0.0: shaped(*FLAT), 1.0: shaped(*STRAIGHT)})
    zero, one = study.conditions
    assert verdicts.reference_of(study, one) == zero and verdicts.reference_of(study, zero) is None
    chosen = dataclasses.replace(zero, parameters='{"selection": {"name": "random"}, "synthetic_ratio": 0.0}')
    other = Study("", "", "", {chosen: study.chains[zero], one: study.chains[one]})
    assert verdicts.reference_of(other, one) is None


def test_without_fid_there_is_no_verdict() -> None:
    study = fid_study({0.0: shaped(*FLAT), 1.0: shaped(*STEEP)}, metric="kid")
    judged = verdicts.verdict(study, study.conditions[0])
    assert (judged.kind, judged.badge, judged.words) == ("open", "not judged", "no FID; KID 100 → 100")
    assert verdicts.critical(study) is None


def test_few_seeds_are_noted_and_have_no_badge_without_an_interval() -> None:
    one, two, three = (fid_study({1.0: shaped(*STEEP)[:n]}) for n in (1, 2, 3))
    words = [verdicts.verdict(study, study.conditions[0]).words for study in (one, two, three)]
    assert words[0].endswith("; one seed") and "one seed" not in words[1] + words[2]
    assert all("too few seeds and generations for an interval" in w for w in words[:2])
    assert "too few" not in words[2]
    assert verdicts.verdict(one, one.conditions[0]).numbers["rise"][1:] == [None, None]
    long = fid_study({1.0: shaped(*(0.2 * g for g in range(6)), 1.3, 1.4, 1.55, 1.8, noise=0.0)[:1]})
    judged = verdicts.verdict(long, long.conditions[0])
    flat_lines, rising_lines = shaped(*[0.0] * 4), shaped(0.0, 0.2, 0.32, 0.4, noise=0.03)
    rising = fid_study({0.0: flat_lines, 1.0: rising_lines})
    unsure = verdicts.verdict(rising, rising.conditions[1])
    assert (unsure.badge, unsure.kind) == (
        "rising",
        "worse",
    ) and "; whether it levels off is open; smallest" in unsure.words
    pace = collapse.growth(rising_lines, flat_lines).bend.detectable
    assert f"a straight line of {200 * pace:.0f} % a generation" in unsure.words
    noisy = fid_study({1.0: shaped(*FLAT, noise=0.5)})
    open_ended = verdicts.verdict(noisy, noisy.conditions[0])
    assert open_ended.badge == "inconclusive" and "levels off" not in open_ended.words
    assert judged.badge == "diverging" and "from the scatter within chains, not between seeds; one seed" in judged.words


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
    assert [t.get_text() for t in axis.get_yticklabels()] == [
        f"{names[i]} ({100 - i})" for i in (*range(20), *range(30, 50))
    ]
    expected = [min(share * (1 + i / 1000), 1.5) for i in (*range(20), *range(30, 50))]
    np.testing.assert_allclose(axis.images[0].get_array()[:, 0], expected)
    assert axis.images[0].get_clim() == (0, 1.5)


def test_a_slow_pace_is_not_said_to_be_none() -> None:
    def said(value: float, half: float) -> str:
        return verdicts.percent(collapse.Interval(value, value - half, value + half, 0.0, 2))

    assert said(0.46, 0.06) == "+46 % (+40 to +52)"
    assert said(0.00031, 0.00011) == "+0.031 % (+0.020 to +0.042)"
    assert said(0.001, 0.02) == "+0 % (-2 to +2)"
    assert said(0.0, 0.0) == "+0 % (+0 to +0)"
    assert said(-0.003, 0.02) == "+0 % (-2 to +2)"
