"""Remedies in a chain: which model is trained shortly on what, what is drawn from and what trained on; what is counted,
audited, planned and refused."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import configs as c
import numpy as np
import pytest
from echo import picture, small
from shrunk import composed

from bench import audit, generators, ledger, plan, preflight
from bench.errors import ConfigError
from bench.generators.vae import Config as VAEConfig
from bench.options import check
from bench.pool import Pool
from bench.remedies.neon import Config as NeonConfig
from bench.remedies.sims import Config as SimsConfig
from bench.seeds import derive_seed
from bench.watermarks.pixel_pattern import Config as PatternConfig

NEON = NeonConfig(weight=0.5, num_samples=6, num_steps=3, learning_rate_factor=0.5)
SIMS = SimsConfig(weight=0.5, num_samples=6, num_steps=3)


@pytest.fixture
def combinations(monkeypatch):
    """Take the place of what combines two models; returns what it was given."""
    given: list[SimpleNamespace] = []

    def combine(config, verb, model: Path, self_trained: Path, weight: float, out: Path) -> None:
        given.append(SimpleNamespace(verb=verb, model=model, weight=weight, out=out))
        out.mkdir()
        both = b"".join((folder / "weights").read_bytes() for folder in (model, self_trained))
        (out / "weights").write_bytes(hashlib.sha256(both + str(weight).encode()).digest())

    monkeypatch.setattr(generators, "combine", combine)
    return given


def folder(row: ledger.Row, name: str) -> Path:
    return Path(row.store_dir) / row.artifacts[name]


def test_the_model_is_trained_shortly_on_samples_of_its_own_and_what_comes_of_it_is_drawn_from(play, combinations):
    chain, stand_in = play(remedy=NEON, mixing=c.ReplaceConfig())
    shortly = stand_in.fits[1::2]
    assert len(stand_in.fits) == 6 and len(shortly) == len(combinations) == 3
    for row, fit, given in zip(chain.rows, shortly, combinations, strict=True):
        trained = folder(row, "train") / "model"
        seeds = [derive_seed(5, row.generation, "own sample", i) for i in range(6)]
        np.testing.assert_array_equal(fit.images, [picture(trained, seed) for seed in seeds])
        assert fit.init == given.model == trained and (given.verb, given.weight) == ("extrapolate", 0.5)
        training = fit.config.training
        assert (training.num_steps, training.learning_rate) == (3, 0.5 * 2e-4)
        assert (training.warmup_steps, training.decay) == (0, "none")
        assert row.artifacts["model"] == f"{row.artifacts['remedy']}/model"
        made = folder(row, "model")
        pool = Pool.load(folder(row, "samples"))
        np.testing.assert_array_equal(pool.items[0], picture(made, derive_seed(5, row.generation, "sample", 0)))
        assert (made / "weights").read_bytes() != (trained / "weights").read_bytes()
        own = Pool.load(folder(row, "remedy") / "own")
        np.testing.assert_array_equal(own.items, fit.images)
        assert own.records.seed.tolist() == seeds
    assert len({fit.seed for fit in stand_in.fits}) == 6
    drawn = {image.tobytes() for row in chain.rows[:2] for image in Pool.load(folder(row, "samples")).items}
    assert {image.tobytes() for fit in stand_in.fits[2::2] for image in fit.images} <= drawn


def test_a_warm_start_goes_on_from_the_trained_weights(play, combinations):
    chain, stand_in = play(remedy=NEON, warm_start=True)
    starts = [fit.init for fit in stand_in.fits[::2]]
    assert starts == [None, *(folder(row, "train") / "model" for row in chain.rows[:2])]


def test_what_a_remedy_spends_is_in_the_ledger_and_guidance_doubles_the_evaluations(play, combinations):
    rows = {rule.name: play(name=rule.name, remedy=rule)[0].rows[1] for rule in (NEON, SIMS)}
    for name, row in rows.items():
        networks = 2 if name == "sims" else 1
        assert row.remedy == {
            "rule": name, "num_samples": 6, "network_evaluations": 2, "num_steps": 3, "num_networks": networks,
            "seconds": row.remedy["seconds"],
        }  # fmt: skip
        assert row.sample["network_evaluations"] == 2 * networks
        assert row.code["remedy"] == {"stage": 1, name: 1}


def test_without_a_remedy_nothing_is_there_and_nothing_is_named_otherwise(play, tmp_path):
    chain, _ = play()
    assert not (tmp_path / "store" / "remedy").exists()
    assert all(row.remedy == {} and "remedy" not in row.artifacts for row in chain.rows)
    assert not any("remedy" in path.read_text() for path in (tmp_path / "store").rglob("manifest.json"))
    assert "remedy" not in chain.rows[0].code
    assert chain.rows[0].sample["network_evaluations"] == 2


def test_weight_and_steps_make_other_results_and_the_training_is_shared(play, combinations, tmp_path):
    play(name="one", remedy=NEON, num_generations=1)
    for number, changed in enumerate(
        [{"weight": 1.0}, {"num_steps": 4}, {"num_samples": 7}, {"learning_rate_factor": 1.0}]
    ):
        play(name=f"two{number}", remedy=replace(NEON, **changed), num_generations=1)
    assert [len(list((tmp_path / "store" / stage).glob("*/*"))) for stage in ("train", "remedy", "sample")] == [1, 5, 5]


def test_own_samples_carry_no_mark(play, combinations):
    chain, _ = play(remedy=NEON, watermark=c.checked(PatternConfig()), num_generations=1)
    (row,) = chain.rows
    own = Pool.load(folder(row, "remedy") / "own")
    trained = folder(row, "train") / "model"
    np.testing.assert_array_equal(own.items[0], picture(trained, int(own.records.seed[0])))
    pool = Pool.load(folder(row, "samples"))
    assert (pool.items[0] != picture(folder(row, "model"), int(pool.records.seed[0]))).any()


def lied(chain: ledger.Chain, change, capsys) -> str:
    file = chain.directory / ledger.FILENAME
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    change(rows[1])
    rows[1]["digest"] = ledger.digest_of(rows[1])
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    audit.main([str(chain.directory)])
    return capsys.readouterr().out


def test_the_audit_agrees_and_notices_what_is_not_so(play, combinations, capsys):
    chain, _ = play(remedy=NEON)
    assert "0 mismatches" in lied(chain, lambda row: None, capsys)
    assert "generation 1: num_steps is 2 in the ledger" in lied(
        chain, lambda row: row["remedy"].update(num_steps=2), capsys
    )
    assert "generation 1: remedy neon left no result" in lied(chain, lambda row: row["artifacts"].pop("remedy"), capsys)


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"weight": -0.1}, "weight=-0.1"), ({"num_steps": 0}, "num_steps=0"), ({"num_samples": 0}, "num_samples=0"),
     ({"learning_rate_factor": 0.0}, "learning_rate_factor=0.0")],
)  # fmt: skip
@pytest.mark.parametrize("rule", [NeonConfig, SimsConfig])
def test_values_that_make_no_sense_are_refused(rule, changed, named):
    with pytest.raises(ConfigError, match=rf"remedy\.{named}"):
        check(rule(**changed), "remedy")


@pytest.mark.parametrize("rule", [NEON, SIMS])
def test_a_generator_without_the_verb_is_refused_with_those_that_have_it(rule, tmp_path):
    config = small(tmp_path, remedy=rule, generator=c.checked(VAEConfig(channels=[])))
    with pytest.raises(ConfigError, match=rf"generator\.name='vae': .* remedy={rule.name} needs; ddpm and flow do"):
        preflight.check(config)


def test_a_plan_counts_steps_and_evaluations_of_remedies(tmp_path):
    base = [
        *("experiment=tiny", "runtime.device=cpu", f"output_dir={tmp_path}", "mixing=blend", "num_generations=3"),
        *("generator.training.num_steps=7", "generator.sampling.num_steps=5", "mixing.synthetic_ratio=0.5"),
    ]
    options = ["remedy.num_samples=10", "remedy.num_steps=2"]
    found = {
        name: plan.plan([composed(*base, f"remedy={name}", *(options if name != "none" else []))])
        for name in ("none", "neon", "sims")
    }
    (plain,), (neon,), (sims,) = (one.budgets.values() for one in found.values())
    assert plain == plan.Budget(num_real=64, num_steps=21, num_evaluations=3 * 128 * 5)
    assert neon == plan.Budget(num_real=64, num_steps=27, num_evaluations=3 * (128 + 10) * 5)
    assert sims == plan.Budget(num_real=64, num_steps=27, num_evaluations=3 * (128 * 2 + 10) * 5)
    assert [len(one.trainings) for one in found.values()] == [3, 6, 6]
    assert plan.lines(found["neon"])[0] == "chains      1, 3 generations in all"
    assert "64 real items, 27 optimiser steps, 3990 network evaluations to sample" in "\n".join(
        plan.lines(found["sims"])
    )
