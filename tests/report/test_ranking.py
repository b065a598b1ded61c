"""Arms ranked against their baselines: planted differences are found in pairs of seeds; what a chain spends."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fabricate
import numpy as np
import pytest

from bench.analysis.ranking import rankings
from bench.analysis.spending import Spending, spending
from bench.analysis.study import Study, studies
from bench.ledger import Chain, Row
from bench.report import statements
from bench.report.ranking_statement import ranking

NUM = 6
SAMPLE = {"num_images": 100, "network_evaluations": 15}


def row(seed: int, generation: int, level: float, mixing: dict[str, Any], rules: dict[str, Any]) -> Row:
    """Coverage falls and FID, KID and risk rise with level × generation, from a start that is the seed's own."""
    base = fabricate.row(mixing.get("synthetic_ratio", 1.0), generation, seed, policy=mixing["policy"])
    start, noise = 10 * seed, np.random.default_rng([seed, generation]).normal()
    values = {
        "fid": 200 + start + 20 * level * generation, "coverage": 0.8 - 0.01 * seed - 0.05 * level * generation,
        "kid": 1 + 0.1 * seed + level * generation, "risk": 0.2 + 0.01 * seed + 0.01 * level * generation,
    }  # fmt: skip
    directions = {"coverage": "up"}
    scores = [
        {**fabricate.score(m, v + 1e-6 * noise, space="model" if m == "risk" else fabricate.SPACE), "parameters": {},
         "direction": directions.get(m, "down")}
        for m, v in values.items()
    ]  # fmt: skip
    remedy = {"num_samples": 40, "network_evaluations": 15, "num_steps": 7} if "remedy" in rules else {}
    name = json.dumps([mixing, rules, seed], sort_keys=True)
    return replace(
        base, chain=name, scores=scores, sample=SAMPLE, remedy=remedy,
        config={**base.config, **rules, "mixing": mixing},
    )  # fmt: skip


ARMS: dict[str, tuple[float, dict[str, Any], dict[str, Any]]] = {
    "ratio 0": (0.0, {"policy": "blend", "synthetic_ratio": 0.0, "real_part": "redrawn"}, {}),
    "replace": (3.0, {"policy": "replace"}, {}),
    "blend": (2.0, {"policy": "blend", "synthetic_ratio": 0.75, "real_part": "redrawn"}, {}),
    "retention": (2.5, {"policy": "blend", "synthetic_ratio": 0.9, "real_part": "redrawn"}, {}),
    "fresh": (1.2, {"policy": "fresh", "synthetic_ratio": 0.75}, {}),
    "accumulate": (0.5, {"policy": "accumulate"}, {}),
    "neon": (2.0, {"policy": "replace"}, {"remedy": {"name": "neon", "weight": 0.7}}),
    "random": (3.0, {"policy": "replace"}, {"selection": {"name": "random", "num_candidates": 200}}),
    "worse": (4.0, {"policy": "replace"}, {"selection": {"name": "reward", "num_candidates": 200}}),
    "oracle": (
        1.0,
        {"policy": "blend", "synthetic_ratio": 0.75, "real_part": "redrawn"},
        {"vetting": {"name": "oracle", "true_positive_rate": 0.9}},
    ),
}


def study_of(*names: str, seeds: int = 3) -> Study:
    chains = []
    for name in names or ARMS:
        level, mixing, rules = ARMS[name]
        for seed in range(seeds):
            rows = [row(seed, g, level, mixing, rules) for g in range(NUM)]
            chains.append(Chain(rows[0].chain, Path(name), rows))
    (study,) = studies(chains)
    return study


def test_each_arm_is_compared_with_the_baseline_whose_mixing_or_ratio_it_has() -> None:
    found = {r.baseline.label: [arm.condition.label for arm in r.arms] for r in rankings(study_of())}
    assert found.keys() == {"replace", "0.75"}
    assert found["0.75"] == ["0.75 + vetting oracle (TPR 0.9)", "fresh (r 0.75)"]
    assert [label.split(" (")[0] for label in found["replace"]] == [
        "accumulate", "replace + remedy neon", "0.90", "replace + selection random", "replace + selection reward",
    ]  # fmt: skip


def test_planted_differences_are_found_with_their_signs() -> None:
    (found,) = (r for r in rankings(study_of()) if r.baseline.label == "replace")
    assert found.quantities == ["coverage", "KID", "excess risk", "rate of FID"]
    arms = {arm.condition.label.split(" (")[0]: arm for arm in found.arms}
    neon = arms["replace + remedy neon"]
    expected = {"coverage": 0.25, "KID": -5.0, "excess risk": -0.05}
    for quantity, value in expected.items():
        difference = neon.differences[quantity].difference
        assert difference.mean == pytest.approx(value, abs=1e-4)
        assert difference.low is not None and difference.low <= value + 1e-4 and difference.n == 3
        assert neon.is_better(quantity) is True and arms["replace + selection reward"].is_better(quantity) is False
    rate = np.mean([100 * 20 * (2.0 - 3.0) / (200 + 10 * seed) for seed in range(3)])
    assert neon.differences["rate of FID"].difference.mean == pytest.approx(rate, abs=1e-3)
    assert neon.is_better("rate of FID") is True
    assert [arm.rank for arm in found.arms][:3] == [1.0, 2.0, 3.0]
    assert arms["replace + selection reward"].rank == 6.0, "the baseline has a rank, too"


def test_what_does_not_differ_is_neither_better_nor_worse() -> None:
    (found,) = (r for r in rankings(study_of("replace", "random", "ratio 0")))
    (control,) = found.arms
    assert control.is_better("KID") is None and control.differences["KID"].difference.mean == pytest.approx(0, abs=1e-9)


def test_seeds_are_paired_so_that_what_they_share_makes_no_interval() -> None:
    (found,) = (r for r in rankings(study_of("replace", "neon")))
    difference = found.arms[0].differences["KID"].difference
    assert difference.sd is not None and difference.sd < 1e-5, "unpaired, seeds scatter by 0.1"


def test_a_study_without_rules_has_no_ranking() -> None:
    assert rankings(study_of("replace", "blend", "ratio 0", "fresh")) == []


def test_one_seed_has_no_interval_and_no_verdict() -> None:
    (statement,) = ranking(study_of("replace", "neon", seeds=1))
    neon, base = statement.rows
    assert neon[2] == "+0.25" and base[1:4] == ["baseline", "0", "0"] and neon[-1] == "1"
    assert not any("better" in word for word in neon)


def test_a_chain_is_charged_with_all_that_it_uses() -> None:
    _, mixing, rules = ARMS["neon"]
    rows = [row(0, g, 1.0, mixing, rules) for g in range(NUM)]
    assert spending(rows) == Spending(1024, NUM * (800 + 7), NUM * (100 + 40) * 15)
    fresh = [replace(r, composition={**r.composition, "num_fresh": 10, "num_real": 20}) for r in rows[1:]]
    assert spending([rows[0], *fresh]).num_real == 1024 + 5 * 10
    vetted = [replace(r, vetting={"num_calibration": 400}) for r in rows]
    assert spending(vetted).num_real == 1024 + 400
    assert spending([replace(rows[0], sample={"num_images": 3})]).num_evaluations is None


def test_the_table_and_its_numbers_are_in_every_format() -> None:
    study = study_of()
    found = list(ranking(study))
    assert [one.title for one in found] == ["Arms against ratio 0.75", "Arms against replace"]
    (shown,) = (one for one in found if one.title.endswith("replace"))
    assert shown.head == [
        "arm", "rank", "coverage ↑", "KID ↓", "excess risk ↓", "rate of FID ↓", "real items", "optimiser steps",
        "network evaluations", "seeds",
    ]  # fmt: skip
    (neon,) = (line for line in shown.rows if "neon" in line[0])
    assert neon[2:4] == ["+0.25 (+0.25 to +0.25) better", "-5.0 (-5.0 to -5.0) better"]
    assert neon[-4:] == ["1024", str(NUM * 807), str(NUM * 140 * 15), "3"]
    assert shown.rows[-1][:2] == ["replace", "baseline"]
    assert "| arm | rank |" in statements.to_markdown(shown) and "better" in statements.to_latex(shown)
    table = statements.to_csv([(study, found)])
    numbers = {(r["condition"], r["quantity"]): r["value"] for r in csv.DictReader(io.StringIO(table))}
    assert float(numbers[neon[0], "KID minus that of replace"]) == pytest.approx(-5, abs=1e-4)
    assert numbers["replace", "optimiser steps"] == "4800"
