"""The collapse profile: each meaning is answered from the score that it is about, or not known with a reason."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import fabricate
import numpy as np
import pytest
from html_tree import parse
from matplotlib.figure import Figure

from bench import ledger, report
from bench.analysis import collapse
from bench.analysis import collapse_profile as profiles
from bench.analysis.collapse_profile import MEANINGS, NO, OPEN, UNKNOWN, YES, Finding, profile
from bench.analysis.results_card import card
from bench.analysis.study import Study, relatives, studies
from bench.analysis.verdicts import growth, verdict
from bench.report import profile_figure, statements, style

SEEDS, NUM_GENERATIONS = (0, 1, 2, 3), 6
RATIOS = (0.0, 0.5, 1.0)

Scores = Callable[[float, int], dict[str, float]]
"""(ratio, or 0 at generation 0; generation) -> metric -> value without noise."""


def sweep(
    directory: Path, scores: Scores, seeds: tuple[int, ...] = SEEDS, num_train: int = 1024, noise: float = 0.01
) -> Path:
    """Write a sweep whose rows have these scores, each with additive noise of `noise` times the value at ratio 0."""
    data = {"name": "procedural", "kind": "flowers", "resolution": 16, "num_train": num_train}
    for ratio in RATIOS:
        for seed in seeds:
            for generation in range(NUM_GENERATIONS):
                made = fabricate.row(ratio, generation, seed, sweep="known", data=data, real=f"{num_train:064d}")
                key = [seed, generation, round(100 * ratio) if generation else 0, num_train]
                values = scores(ratio if generation else 0.0, generation)
                draws = noise * np.random.default_rng(key).standard_normal(len(values))
                written = [
                    {**fabricate.score(m, float(v + d * scores(0.0, 0)[m])), "parameters": {}}
                    for (m, v), d in zip(values.items(), draws, strict=True)
                ]
                chain = f"{made.chain}-{num_train}"
                composition = {**made.composition, "num_real": num_train if generation == 0 else 1}
                made = dataclasses.replace(made, chain=chain, scores=written, composition=composition)
                ledger.append(directory / "known" / chain / ledger.FILENAME, made)
    return directory / "known"


def profiled(path: Path) -> dict[float, dict[str, Finding]]:
    """ratio -> meaning -> finding, in the first study below a path."""
    every = studies(ledger.read_runs([path]))
    found = profile(every[0], every)
    return {c.ratio: {f.meaning: f for f in findings} for c, findings in found.items() if c.ratio is not None}


def everything(ratio: float, g: int) -> dict[str, float]:
    return {
        "fid": 100 * (1 + 0.6 * ratio * g),
        "vendi": 6.0 * (1 - 0.1 * ratio * g),
        "class_margin": 0.9 - 0.05 * ratio * g,
        "tail_survival": 0.9 - 0.15 * ratio * g,
        "hallucination_rate": 0.05 + 0.1 * ratio * g,
    }


def test_each_meaning_is_answered_from_its_own_score(tmp_path: Path) -> None:
    found = profiled(sweep(tmp_path, everything))
    assert list(found[1.0]) == list(MEANINGS)
    late = 4.0  # mean of generations 3, 4, 5
    planted = {
        profiles.CATASTROPHIC: (0.6 * late, YES, "FID"),
        profiles.ANY: (0.6 * late, YES, "FID"),
        profiles.DIVERGING: (0.6, YES, "FID"),
        profiles.VARIANCE: (0.1 * late, YES, "loss of Vendi score"),
        profiles.ENTANGLEMENT: (0.05 * late, YES, "loss of class margin"),
        profiles.TAILS: (0.15 * late, YES, "loss of tail survival"),
        profiles.HALLUCINATION: (0.1 * late, YES, "hallucination rate"),
    }
    for meaning, (change, answer, quantity) in planted.items():
        finding = found[1.0][meaning]
        assert finding.interval is not None
        assert finding.interval.value == pytest.approx(change, abs=0.05), meaning
        assert (finding.answer, finding.quantity) == (answer, quantity)
        assert finding.interval.low < finding.interval.value < finding.interval.high
        assert 0 < finding.detectable < 0.2
        assert found[0.0][meaning].answer == NO
    law = found[1.0][profiles.SCALING]
    assert law.answer == UNKNOWN and "needs 3 numbers of training items (data.num_train), and there is 1" in law.reason


def test_of_several_attributes_the_one_with_most_classes_is_judged(tmp_path: Path) -> None:
    chains = ledger.read_runs([sweep(tmp_path, everything)])
    classes = {"pose": 3, "species": 8, "petals": 2}

    def labelled(row: ledger.Row) -> ledger.Row:
        fallen = next(s["value"] for s in row.scores if s["metric"] == "tail_survival")
        tails = [
            {
                **fabricate.score("tail_survival", fallen if name == "species" else 1.0),
                "parameters": {"attribute": name},
            }
            for name in classes
        ]
        counts = [
            {
                **fabricate.score("class_divergence", 0.1),
                "parameters": {"attribute": name},
                "counts": {f"{name} {i}": [1, 2] for i in range(num)},
            }
            for name, num in classes.items()
        ]
        return dataclasses.replace(
            row, scores=[*(s for s in row.scores if s["metric"] != "tail_survival"), *tails, *counts]
        )

    every = studies(dataclasses.replace(chain, rows=[labelled(row) for row in chain.rows]) for chain in chains)
    found = next(f for c, f in profile(every[0], every).items() if c.ratio == 1.0)
    tails = next(finding for finding in found if finding.meaning == profiles.TAILS)
    assert (tails.answer, tails.quantity) == (YES, "loss of tail survival by species")
    assert tails.interval is not None and tails.interval.value == pytest.approx(0.15 * 4, abs=0.05)


def test_of_texts_the_rare_words_are_the_tails_and_the_spread_is_the_variance(tmp_path: Path) -> None:
    found = profiled(sweep(tmp_path, lambda r, g: {"spread": 6 - 0.6 * r * g, "rare_survival": 0.9 - 0.15 * r * g}))
    for meaning, change, quantity in (
        (profiles.VARIANCE, 0.4, "loss of spread"),
        (profiles.TAILS, 0.6, "loss of rare words that survive"),
    ):
        finding = found[1.0][meaning]
        assert (finding.answer, finding.quantity) == (YES, quantity)
        assert finding.interval is not None and finding.interval.value == pytest.approx(change, abs=0.05)


def test_a_rise_is_not_yet_a_catastrophe_and_a_level_is_no_divergence(tmp_path: Path) -> None:
    found = profiled(sweep(tmp_path, lambda r, g: {"fid": 100 * (1 + 0.5 * r * (g > 0))}))
    answers = [found[1.0][m].answer for m in (profiles.CATASTROPHIC, profiles.ANY, profiles.DIVERGING)]
    assert answers == [NO, YES, NO]


def test_a_change_that_is_sure_but_small_is_any_rise_and_nothing_else(tmp_path: Path) -> None:
    found = profiled(sweep(tmp_path, lambda r, g: {"fid": 100 + 3 * r, "vendi": 6 - 0.2 * r}, noise=0.001))
    rise, fall = found[1.0][profiles.ANY], found[1.0][profiles.VARIANCE]
    assert rise.interval is not None and fall.interval is not None
    assert rise.interval.low > 0 and fall.interval.low > 0 and rise.words.startswith("FID: +2.8 (")
    assert (rise.answer, found[1.0][profiles.DIVERGING].answer, fall.answer) == (YES, NO, NO)


def test_what_changes_for_the_better_is_no_collapse(tmp_path: Path) -> None:
    found = profiled(sweep(tmp_path, lambda r, g: {k: 2 * v for k, v in everything(-r / 4, g).items()}))
    for meaning in (profiles.ANY, profiles.VARIANCE, profiles.ENTANGLEMENT, profiles.TAILS, profiles.HALLUCINATION):
        assert found[1.0][meaning].answer == NO
        assert found[1.0][meaning].interval is not None and found[1.0][meaning].interval.high < 0


def test_noise_leaves_a_question_open_with_what_could_have_been_seen(tmp_path: Path) -> None:
    found = profiled(sweep(tmp_path, lambda r, g: {"fid": 100.0, "tail_survival": 0.5}, noise=0.25, seeds=(0, 1, 2)))
    for meaning in (profiles.ANY, profiles.TAILS):
        assert found[1.0][meaning].answer == OPEN and found[1.0][meaning].detectable > 0.1
        assert "detectable" in found[1.0][meaning].words


def test_an_end_near_zero_keeps_its_sign_and_a_large_number_has_no_exponent() -> None:
    interval = collapse.Interval(0.0009, -0.0004, 0.0022, 0.0003, 2)
    found = Finding(profiles.ANY, NO, "risk", profiles.PERCENT, interval, 2.6)
    assert found.words == "risk: +0.09 (-0.04 to +0.22) %, detectable 260"
    constant = Finding(profiles.ANY, NO, "risk", profiles.PERCENT, collapse.Interval(0.0, 0.0, 0.0, 0.0, 2), 0.0)
    assert constant.words == "risk: +0 %, no spread that would make an interval"
    assert constant.change_with_span == "+0 % (no spread)"


def test_why_a_meaning_is_not_known_is_said(tmp_path: Path) -> None:
    found = profiled(
        sweep(
            tmp_path, lambda r, g: {"fid": 100.0 - 50 * r * g, "vendi": 6.0} | ({} if g > 1 else {"tail_survival": 1.0})
        )
    )
    reasons = {meaning: finding.reason for meaning, finding in found[1.0].items() if finding.answer == UNKNOWN}
    assert reasons[profiles.ANY] == "FID is not above 0 throughout, so no share of it is defined"
    assert reasons[profiles.TAILS] == "fewer than three generations have tail survival"
    assert reasons[profiles.ENTANGLEMENT] == "class margin was not computed"
    assert reasons[profiles.HALLUCINATION] == "hallucination rate was not computed"
    assert profiles.VARIANCE not in reasons


def test_two_seeds_have_no_interval_for_a_share(tmp_path: Path) -> None:
    found = profiled(sweep(tmp_path, everything, seeds=(0, 1)))
    assert found[1.0][profiles.TAILS].answer == OPEN
    assert "too few seeds for an interval" in found[1.0][profiles.TAILS].words


def test_risk_stands_before_fid_unless_it_may_be_negative(tmp_path: Path) -> None:
    positive = profiled(sweep(tmp_path / "a", lambda r, g: {"fid": 100.0, "risk": 0.05 * (1 + r * g)}))
    assert (positive[1.0][profiles.ANY].quantity, positive[1.0][profiles.ANY].answer) == ("risk", YES)
    negative = profiled(sweep(tmp_path / "b", lambda r, g: {"fid": 100.0, "risk": -1 + r * g}))
    assert (negative[1.0][profiles.ANY].quantity, negative[1.0][profiles.ANY].answer) == ("FID", NO)


def test_the_numbers_behind_a_verdict_on_fid_are_those_of_the_profile(tmp_path: Path) -> None:
    (study,) = studies(ledger.read_runs([sweep(tmp_path, everything)]))
    found = profile(study, [study])
    for condition in study.conditions:
        ours, theirs = found[condition], growth(study, condition)
        assert theirs is not None and (ours[1].interval, ours[2].interval) == (theirs.rise, theirs.rate)
        assert (ours[2].answer == YES) == (verdict(study, condition).badge == collapse.DIVERGING)


@pytest.mark.parametrize(("exponent", "answer"), [(0.3, YES), (0.5, NO)])
def test_a_scaling_law_is_compared_with_that_of_ratio_0_over_three_sizes(
    tmp_path: Path, exponent: float, answer: str
) -> None:
    for n in (256, 512, 1024):
        sweep(tmp_path, lambda r, g, n=n: {"fid": 1e4 * n ** -(exponent if r == 1 else 0.5)}, num_train=n)
    every = studies(ledger.read_runs([tmp_path]))
    assert all(list(relatives(one, every, "data.num_train")) == [256, 512, 1024] for one in every)
    law = profiled(tmp_path)[1.0][profiles.SCALING]
    assert law.interval is not None and law.answer == answer
    assert law.interval.value == pytest.approx(0.5 - exponent, abs=0.03)
    assert profiled(tmp_path)[0.0][profiles.SCALING].answer == UNKNOWN


def test_studies_of_other_data_are_no_relatives(tmp_path: Path) -> None:
    one, other = (
        fabricate.sweep(tmp_path / name, seeds=(0,), num_generations=1, pictures=False, real=name * 64, sweep=name)
        for name in ("a", "b")
    )
    every = studies(ledger.read_runs([one, other]))
    assert len(every) == 2 and list(relatives(every[0], every, "data.num_train").values()) == [every[0]]


def study_with_all(tmp_path: Path) -> Study:
    (study,) = studies(ledger.read_runs([sweep(tmp_path, everything)]))
    return study


def test_card_csv_and_table_hold_every_finding(tmp_path: Path) -> None:
    study = study_with_all(tmp_path)
    found = profile(study, [study])
    body = json.loads(json.dumps(card(study, [study]), allow_nan=False))
    stated = statements.statements(study, [study])
    text = statements.to_markdown(stated[0])
    lines = [
        line
        for line in csv.DictReader(io.StringIO(statements.to_csv([(study, stated)])))
        if line["statement"] == "collapse profile"
    ]
    assert len(lines) == len(RATIOS) * len(MEANINGS)
    for i, (condition, findings) in enumerate(found.items()):
        for j, finding in enumerate(findings):
            entry, line = body["conditions"][i]["collapse_profile"][j], lines[i * len(MEANINGS) + j]
            assert (entry["meaning"], entry["answer"]) == (line["quantity"], line["answer"])
            assert (finding.meaning, finding.answer) == (entry["meaning"], entry["answer"])
            assert line["condition"] == condition.label
            if finding.interval is not None:
                assert entry["change"] == float(line["value"]) == finding.interval.value
                assert entry["low_95"] == float(line["low_95"]) == finding.interval.low
                assert finding.words in text
    assert "Not known for any condition, change of the scaling law" in text


def test_the_figure_says_each_answer_in_words_and_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: dict[str, Figure] = {}
    monkeypatch.setattr(style, "FORMATS", ("png",))
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: figures.update({Path(path).stem: self}))
    study = study_with_all(tmp_path)
    profile_figure.collapse_profile(study, [study], tmp_path, "profile")
    (axis,) = figures["profile"].axes
    found = profile(study, [study])
    shown = {tuple(text.get_position()): text.get_text() for text in axis.texts}
    for i, findings in enumerate(found.values()):
        for j, finding in enumerate(findings):
            words = shown[j + 0.5, i + 0.5].splitlines()
            assert words[0] == f"{profile_figure.SIGNS[finding.answer]} {finding.answer}"
            assert (words[1:] or [""])[0].split(" ")[0] == finding.change.split(" ")[0]
            assert (words[2:] or [""])[0] == finding.span
    assert [label.get_text().replace("\n", " ") for label in axis.get_xticklabels()] == list(MEANINGS)
    assert [label.get_text() for label in axis.get_yticklabels()] == [c.label for c in study.conditions]
    assert len(set(profile_figure.SIGNS.values())) == len(profile_figure.SIGNS) == 4


def test_the_page_has_figure_and_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FORMATS", ("svg",))
    report.write([sweep(tmp_path, everything)], tmp_path / "out")
    section = parse((tmp_path / "out" / "report.html").read_text()).one("section", "statements")
    assert "profile.svg" in {figure.attributes["data-file"] for figure in section.all("figure")}
    (study,) = studies(ledger.read_runs([tmp_path / "known"]))
    for findings in profile(study, [study]).values():
        assert all(f.words in section.text for f in findings if f.interval is not None)
