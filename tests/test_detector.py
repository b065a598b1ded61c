"""The learned detector: known error rates, what it learns from, what it judges, and its threshold."""

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import configs as c
import numpy as np
import pytest
from echo import features, small, with_reserve
from scipy.stats import norm

from bench import audit, plan, preflight, vet_stage, vetting
from bench.composition import Composition
from bench.detection import auroc, threshold_at
from bench.errors import ConfigError, DataError
from bench.generators.vae import Config as VAEConfig
from bench.metrics.shared.classifier import fit_classifier
from bench.pool import Pool
from bench.seeds import derive_seed
from bench.selection.diversity import Config as DiversityConfig
from bench.vetting.detector import Config as DetectorConfig

NEEDS = ("calibration",)
VERSION = 1
CALIBRATED_ON: list[np.ndarray] = []
FRESH = c.FreshConfig(synthetic_ratio=0.5)


def calibrated(unvetted: vetting.Unvetted, num_calibration: int) -> np.ndarray:
    """A rule for the tests: keep everything, and note the images to calibrate on."""
    assert unvetted.calibration is not None
    CALIBRATED_ON.append(unvetted.calibration[np.arange(len(unvetted.calibration))])
    return np.ones(len(unvetted.items), bool)


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.5])
def test_two_gaussians_are_told_apart_as_well_as_they_can_be(distance):
    """AUROC = Φ(Δ/√2) for the best detector of N(0, I) and N(Δ e1, I); 1/2 where they are one."""
    rng = np.random.default_rng(0)
    shift = np.eye(5)[0] * distance
    real, fake, real2, fake2 = (rng.standard_normal((4000, 5)) + s for s in (0, shift, 0, shift))
    detect = vet_stage.fit_detector(real, fake, "cpu")
    assert auroc(detect(real2), detect(fake2)) == pytest.approx(norm.cdf(distance / np.sqrt(2)), abs=0.02)


def test_shuffled_labels_teach_nothing():
    rng = np.random.default_rng(0)
    both = rng.permutation(np.concatenate([rng.standard_normal((2000, 5)), rng.standard_normal((2000, 5)) + 2]))
    detect = vet_stage.fit_detector(both[:2000], both[2000:], "cpu")
    fresh = rng.standard_normal((2000, 5)), rng.standard_normal((2000, 5))
    assert auroc(detect(fresh[0]), detect(fresh[1])) == pytest.approx(0.5, abs=0.03)


@pytest.fixture
def play(play: Any) -> Any:
    return partial(play, data=with_reserve(40), mixing=c.BlendConfig(synthetic_ratio=0.5))


def rule(**options: Any) -> DetectorConfig:
    return c.checked(DetectorConfig(**{"false_positive_rate": 0.1, "num_calibration": 40, **options}))


@pytest.mark.parametrize("refit", [False, True])
def test_the_decision_is_that_of_a_detector_fitted_by_hand(play, refit):
    chain, stand_in = play(vetting=rule(refit=refit), num_samples=32)
    movers = [given for given in stand_in.samplings if given.config is not None and len(given.seeds) == 43]
    assert len(movers) == 1 and movers[0].seeds[0] == derive_seed(1000, 0, "sample", 0)
    first_fit = [given for given in stand_in.fits if given.seed == derive_seed(1000, 0, "train")]
    assert len(first_fit) == 1 and len(first_fit[0].images) == 20
    stored = [Pool.load(path.parent) for path in (Path(chain.rows[0].store_dir) / "sample").rglob("pool/items.npy")]
    (mover,) = [pool for pool in stored if len(pool) == 40]
    for row in chain.rows[1:]:
        store = Path(row.store_dir)
        reserve = features(Pool.load(store / row.artifacts["real"] / "reserve").items)
        drawn = Composition.load(store / row.artifacts["vet"] / "drawn")
        last = Pool.load(store / chain.rows[row.generation - 1].artifacts["samples"])
        train = Pool.load(store / row.artifacts["real"] / "train")
        generated = features(mover.items)
        if refit:
            rest = np.setdiff1d(np.arange(len(last)), drawn.parts[1].rows)
            assert len(rest) == 22
            generated = np.concatenate([generated, features(last.items[rest])])
        both = np.concatenate([reserve[:20], generated])
        model = fit_classifier(both, np.repeat([0, 1], [20, len(generated)]), 2)
        threshold = threshold_at(model.log_odds(reserve[20:]), 0.1)
        items = np.concatenate([train.items[drawn.parts[0].rows], last.items[drawn.parts[1].rows]])
        kept = np.load(store / row.artifacts["vet"] / "kept.npy")
        np.testing.assert_allclose(
            np.load(store / row.artifacts["vet"] / "scores.npy"), model.log_odds(features(items))
        )
        np.testing.assert_array_equal(kept, model.log_odds(features(items)) <= threshold)
        assert row.vetting["threshold"] == pytest.approx(threshold) and row.vetting["auroc"] is not None
    assert audit.main([str(chain.directory)]) == 0


def test_refitting_without_samples_that_are_left_is_refused(play):
    with pytest.raises(ConfigError, match="generation 1 draws all 20: set a larger num_samples, or refit=false"):
        play(vetting=rule(refit=True), num_samples=20, mixing=c.ReplaceConfig())


def test_a_detector_is_not_refitted_where_a_policy_draws_nothing_of_the_last_generation(play):
    """At a synthetic ratio of 0 there is nothing to detect, and real items are dropped by mistake."""
    decided = []
    for refit in (True, False):
        chain, _ = play(name=f"{refit}", vetting=rule(refit=refit), mixing=c.BlendConfig(synthetic_ratio=0.0))
        folder = Path(chain.rows[0].store_dir) / chain.rows[2].artifacts["vet"]
        decided.append(np.load(folder / "scores.npy"))
    np.testing.assert_array_equal(*decided)


def test_a_first_mover_that_is_the_chain_itself_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="first_mover_seed=7: is this chain's own seed"):
        preflight.check(small(tmp_path, seed=7, vetting=rule(first_mover_seed=7), data=with_reserve(40)))


def test_too_few_real_images_for_both_halves_are_refused():
    with pytest.raises(ConfigError, match=r"num_calibration=197: a false-positive rate of 0\.01 needs at least 198"):
        c.checked(DetectorConfig(num_calibration=197))
    c.checked(DetectorConfig(num_calibration=198))


def test_a_detector_without_features_is_refused(tmp_path):
    config = small(tmp_path, vetting=rule(), metrics=c.MetricsConfig(num_images=16, scores=["risk"]))
    with pytest.raises(ConfigError, match=r"vetting=detector needs features"):
        preflight.check(config)


def test_a_plan_of_a_chain_with_a_detector_is_made(tmp_path):
    chain = {"data": with_reserve(40), "mixing": c.BlendConfig(synthetic_ratio=0.5)}
    assert len(plan.plan([small(tmp_path, vetting=rule(), **chain)]).trainings) == 4
    own = c.MetricsConfig(feature_space="own_network", num_images=16, scores=["frechet"])
    chain |= {"metrics": own, "generator": c.checked(VAEConfig(channels=[]))}
    select = c.checked(DiversityConfig(num_candidates=45))
    for rules in ({"vetting": rule()}, {"selection": select, "num_samples": 40}):
        assert len(plan.plan([small(tmp_path, **chain, **rules)]).trainings) == 4


def test_features_of_generation_0_s_network_are_no_part_of_what_is_decided_before_it(play, tmp_path):
    """Generation 0 is vetted before the network is trained that describes items."""
    own = c.MetricsConfig(feature_space="own_network", num_images=16, scores=["frechet"])
    config = small(tmp_path, vetting=rule(), data=with_reserve(40), metrics=own)
    real, models = SimpleNamespace(train=[], reserve=None, joined=None), ()
    found = vetting.resolve(config.vetting)
    assert vet_stage.evidence_spec(SimpleNamespace(first_model=None), config, found, 0, real, models) == {}


def test_a_rule_of_ones_own_is_given_real_images_that_no_policy_draws(play):
    own = c.CustomVettingConfig(function="test_detector:calibrated", parameters={"num_calibration": 10})
    CALIBRATED_ON.clear()
    chain, _ = play(vetting=own, data=with_reserve(30), mixing=c.FreshConfig(synthetic_ratio=0.5))
    row = chain.rows[1]
    reserve = Pool.load(Path(row.store_dir) / row.artifacts["real"] / "reserve").items
    assert len(CALIBRATED_ON) == 3 and all(np.array_equal(seen, reserve[20:]) for seen in CALIBRATED_ON)
    for row in chain.rows[1:]:
        drawn = Composition.load(Path(row.store_dir) / row.artifacts["vet"] / "drawn")
        assert all(part.pool.num_items == 20 for part in drawn.parts if not part.pool.is_synthetic)
        assert row.vetting["num_calibration"] == 10
    assert audit.main([str(chain.directory)]) == 0
    with pytest.raises(DataError, match=r"data\.num_reserve=30 draws them"):
        play(vetting=own, data=with_reserve(29), mixing=c.FreshConfig(synthetic_ratio=0.5))


def test_fresh_items_that_run_out_beside_a_calibration_are_told_with_both(tmp_path):
    own = c.CustomVettingConfig(function="test_detector:calibrated", parameters={"num_calibration": 500})
    with pytest.raises(DataError, match=r"take 20 in all; data\.num_reserve=520 draws them"):
        preflight.check(small(tmp_path, num_generations=3, vetting=own, data=with_reserve(500), mixing=FRESH))


def indifferent(unvetted: vetting.Unvetted) -> np.ndarray:
    """A rule for the tests that keeps everything; what it needs is set by them."""
    return np.ones(len(unvetted.items), bool)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        (("truht",), "needs 'truht'; a rule may need truth, calibration, past, features"),
        (("calibration",), "test_detector:indifferent needs num_calibration, the number of real items"),
    ],
)
def test_needs_that_cannot_be_met_are_refused_before_any_work(tmp_path, monkeypatch, stated, said):
    monkeypatch.setattr(sys.modules[__name__], "NEEDS", stated)
    own = c.CustomVettingConfig(function="test_detector:indifferent")
    with pytest.raises(ConfigError, match=said):
        preflight.check(small(tmp_path, vetting=own))


def test_a_rule_may_know_the_past_of_a_chain_without_a_watermark(play, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "NEEDS", ("past",))
    chain, _ = play(vetting=c.CustomVettingConfig(function="test_detector:indifferent"))
    assert [row.vetting["num_kept"] for row in chain.rows] == [20, 20, 20]
