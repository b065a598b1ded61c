"""The oracle: its rates in expectation, the refill with unused real items, what is refused before training."""

from pathlib import Path
from typing import Any

import configs as c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import audit, vetting
from bench.composition import Composition, Part, PoolRef
from bench.detection import auroc
from bench.errors import ConfigError, DataError
from bench.pool import REAL, Pool, Records
from bench.vetting.oracle import Config as OracleConfig
from bench.vetting.oracle import num_kept
from bench.vetting.shared.decision import Decision, facts

VERSION = 1


def pools(num_real: int, num_synthetic: int) -> tuple[Pool, Pool, Composition]:
    real = Pool(np.zeros((num_real, 3, 8, 8), np.uint8), Records.real([str(i) for i in range(num_real)]))
    made = Pool(np.ones((num_synthetic, 3, 8, 8), np.uint8), Records.synthetic(0, np.arange(num_synthetic)))
    parts = (Part(PoolRef.of(real, REAL), np.arange(num_real)), Part(PoolRef.of(made, 0), np.arange(num_synthetic)))
    return real, made, Composition(parts)


def decided(tpr: float, fpr: float, num_real: int, num_synthetic: int, seed: int) -> dict[str, Any]:
    real, made, drawn = pools(num_real, num_synthetic)
    rule = vetting.resolve(c.checked(OracleConfig(true_positive_rate=tpr, false_positive_rate=fpr)))
    decision = vetting.decide(rule, drawn, {real.id: real, made.id: made}, real, seed)
    after = vetting.apply(rule, drawn, decision, PoolRef.of(real, REAL), None)
    return facts(drawn, decision, after, {real.id: real, made.id: made})


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(0, 0.9), st.integers(0, 2**31))
def test_what_is_dropped_is_within_one_item_of_the_rates(tpr, fpr, seed):
    said = decided(tpr, fpr, 30, 20, seed)
    assert abs(said["num_synthetic_dropped"] - 20 * tpr) < 1
    assert abs(said["num_real_dropped"] - 30 * fpr) < 1
    assert said["true_positive_rate"] == said["num_synthetic_dropped"] / 20
    assert said["false_positive_rate"] == said["num_real_dropped"] / 30


def test_the_counts_are_exact_in_expectation_and_the_ratio_is_bayes():
    tpr, fpr, s = 0.83, 0.37, 0.4
    said = [decided(tpr, fpr, 6, 4, seed) for seed in range(800)]
    for side, expected in (("synthetic", 4 * tpr), ("real", 6 * fpr)):
        counts = np.array([fact[f"num_{side}_dropped"] for fact in said])
        assert abs(counts.mean() - expected) < 4 * counts.std() / np.sqrt(len(counts))
    kept = {
        side: np.mean([n - fact[f"num_{side}_dropped"] for fact in said]) for side, n in (("synthetic", 4), ("real", 6))
    }
    bayes = s * (1 - tpr) / (s * (1 - tpr) + (1 - s) * (1 - fpr))
    assert kept["synthetic"] / sum(kept.values()) == pytest.approx(bayes, abs=0.01)
    assert decided(0.9, 0.1, 600, 400, 1)["effective_ratio"] == pytest.approx(40 / 580)
    assert num_kept(600, 400, 0.9, 0.1) == pytest.approx(580)


def test_every_item_is_dropped_equally_often():
    real, made, drawn = pools(6, 6)
    rule = vetting.resolve(c.checked(OracleConfig(true_positive_rate=0.5, false_positive_rate=0.25)))
    dropped = sum(~vetting.decide(rule, drawn, {real.id: real, made.id: made}, real, seed).kept for seed in range(600))
    assert abs(dropped[:6] - 150).max() < 4 * np.sqrt(600 * 0.25 * 0.75)
    assert abs(dropped[6:] - 300).max() < 4 * np.sqrt(600 * 0.25)


def test_unused_real_items_take_the_place_of_what_was_dropped(play, capsys):
    rule = c.checked(OracleConfig(true_positive_rate=0.5, refill=True))
    chain, stand_in = play(vetting=rule, mixing=c.BlendConfig(synthetic_ratio=0.5))
    assert [len(given.images) for given in stand_in.fits] == [20, 20, 20]
    for row in chain.rows[1:]:
        assert row.vetting["num_refilled"] == 5 and row.vetting["effective_ratio"] == 0.25
        trained = Composition.load(Path(row.store_dir) / row.artifacts["train"])
        drawn = Composition.load(Path(row.store_dir) / row.artifacts["vet"] / "drawn")
        assert len(trained.parts[0].rows) == 15 == len(np.unique(trained.parts[0].rows))
        assert set(drawn.parts[0].rows) < set(trained.parts[0].rows)
    assert audit.main([str(chain.directory)]) == 0
    monkey = Path(chain.rows[1].store_dir) / chain.rows[1].artifacts["vet"] / "kept.npy"
    decision = np.load(monkey)
    decision[np.flatnonzero(~decision)[0]] = True
    np.save(monkey, decision)
    assert audit.main([str(chain.directory)]) == 1
    assert "the training set is not what the stored vetting kept" in capsys.readouterr().out


def test_a_refill_that_runs_out_says_so_and_takes_what_there_is(caplog):
    real, _, drawn = pools(6, 4)
    rule = vetting.resolve(c.checked(OracleConfig(refill=True)))
    decision = Decision(np.array([True] * 6 + [False] * 4))
    after = vetting.apply(rule, drawn, decision, PoolRef.of(real, REAL), 3)
    assert len(after) == 6 and "4 items dropped, 0 unused real ones" in caplog.text


def test_other_generations_and_seeds_refill_with_other_items():
    _, made, _ = pools(2, 4)
    real = PoolRef("real", 50, REAL)
    drawn = Composition((Part(real, np.arange(10)), Part(PoolRef.of(made, 0), np.arange(4))))
    rows = [vetting.unused_rows(drawn, real, 5, seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert (rows[0] != rows[2]).any() and min(r.min() for r in rows) >= 10


def test_an_oracle_that_leaves_nothing_is_refused_before_training(play, tmp_path):
    with pytest.raises(ConfigError, match=r"generation 1 draws 0 real items and 20 samples, of which 0 would be left"):
        play(vetting=c.checked(OracleConfig()), mixing=c.ReplaceConfig())
    assert not (tmp_path / "store" / "train").exists()


@pytest.mark.parametrize("name", ["true_positive_rate", "false_positive_rate"])
@pytest.mark.parametrize("rate", [-0.01, 1.01])
def test_rates_outside_the_unit_interval_are_refused(name, rate):
    with pytest.raises(ConfigError, match=rf"{name}={rate}: must lie in \[0, 1\]"):
        c.checked(OracleConfig(**{name: rate}))


def scored(unvetted: vetting.Unvetted) -> Decision:
    """A rule for the tests: the mean of an item is its score."""
    return Decision.at(unvetted.items[np.arange(len(unvetted.items))].mean(axis=(1, 2, 3)), 0.5)


def upper_quarter(unvetted: vetting.Unvetted) -> Decision:
    scores = unvetted.items[np.arange(len(unvetted.items))].mean(axis=(1, 2, 3))
    return Decision.at(scores, float(np.quantile(scores, 0.75)))


def not_a_number(unvetted: vetting.Unvetted) -> Decision:
    return Decision.at(np.full(len(unvetted.items), np.nan), 0.5)


def test_the_scores_of_a_rule_are_stored_in_the_order_of_the_composition():
    real, made, drawn = pools(6, 4)
    rule = vetting.resolve(c.CustomVettingConfig(function="test_vetting_oracle:scored"))
    decision = vetting.decide(rule, drawn, {real.id: real, made.id: made}, real, 5)
    np.testing.assert_array_equal(decision.scores, [0] * 6 + [1] * 4)
    said = facts(drawn, decision, drawn.kept(decision.kept), {real.id: real, made.id: made})
    assert (said["true_positive_rate"], said["false_positive_rate"], said["auroc"]) == (1, 0, 1)
    broken = vetting.resolve(c.CustomVettingConfig(function="test_vetting_oracle:not_a_number"))
    with pytest.raises(DataError, match="scores with NaN"):
        vetting.decide(broken, drawn, {real.id: real, made.id: made}, real, 5)


def test_the_audit_compares_a_decision_with_its_scores(play, capsys):
    chain, _ = play(
        vetting=c.CustomVettingConfig(function="test_vetting_oracle:upper_quarter"),
        mixing=c.BlendConfig(synthetic_ratio=0.5),
    )
    row = chain.rows[1]
    assert audit.main([str(chain.directory)]) == 0 and row.vetting["auroc"] is not None
    scores = Path(row.store_dir) / row.artifacts["vet"] / "scores.npy"
    np.save(scores, 1 - np.load(scores))
    assert audit.main([str(chain.directory)]) == 1
    assert "did not drop the items that its scores name" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("negatives", "positives", "expected"),
    [
        ([0, 1], [2, 3], 1),
        ([2, 3], [0, 1], 0),
        ([1, 1], [1], 0.5),
        ([0, 2], [1], 0.5),
        ([], [1], None),
        ([1], [], None),
    ],
)
def test_auroc_of_small_sets(negatives, positives, expected):
    assert auroc(np.array(negatives, float), np.array(positives, float)) == expected


def test_auroc_of_two_gaussians():
    rng = np.random.default_rng(0)
    shift = 1.3
    value = auroc(rng.normal(size=20_000), rng.normal(size=20_000) + shift)
    from scipy.stats import norm

    assert value == pytest.approx(norm.cdf(shift / np.sqrt(2)), abs=0.01)
