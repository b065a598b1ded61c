"""Policies: counts that papers state, draws that repeat, and what no policy may ever do."""

from dataclasses import replace as changed

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import config as c
from bench.composition import Composition, Part, PoolRef
from bench.errors import ConfigError, DataError
from bench.mixing import POLICIES, History, compose, plan, resolve
from bench.pool import REAL

N = 40


def history(generation: int, num_samples: int = N, num_reserve: int = 200, seed: int = 0) -> History:
    synthetic = tuple(PoolRef(f"s{g}", num_samples, g) for g in range(generation))
    return History(generation, PoolRef("real", N, REAL), PoolRef("reserve", num_reserve, REAL), synthetic, N, seed)


def planned(config: c.MixingConfig, num_generations: int, num_reserve: int = 0, seed: int = 0) -> list[Composition]:
    return plan(resolve(config), history(0, num_reserve=num_reserve, seed=seed), num_generations, num_samples=N)


def at(config: c.MixingConfig, generation: int, **kwargs: int) -> Composition:
    return compose(resolve(config), history(generation, **kwargs))


CONFIGS = [
    c.ReplaceConfig(),
    c.BlendConfig(synthetic_ratio=0.25),
    c.BlendConfig(synthetic_ratio=0.25, real_part="fixed"),
    c.AugmentConfig(synthetic_per_real=0.5),
    c.AccumulateConfig(),
    c.AccumulateSubsampleConfig(),
    c.WindowConfig(synthetic_ratio=0.75, num_generations=2),
    c.FreshConfig(synthetic_ratio=0.5),
]


def test_every_policy_is_tried_here_and_has_a_schema():
    named = {config.policy for config in CONFIGS}
    assert named == set(POLICIES)
    assert {f"{name}_schema" for name in POLICIES} | {"custom_schema"} == {
        name for group, name in c.SCHEMAS if group == "mixing"
    }


@pytest.mark.parametrize(
    ("config", "generation", "num_real", "per_generation"),
    [
        (c.ReplaceConfig(), 3, 0, {"2": 40}),
        (c.BlendConfig(synthetic_ratio=0.25), 3, 30, {"-1": 30, "2": 10}),
        (c.BlendConfig(synthetic_ratio=[0.0, 0.5, 1.0]), 1, 40, {"-1": 40}),
        (c.BlendConfig(synthetic_ratio=[0.0, 0.5, 1.0]), 2, 20, {"-1": 20, "1": 20}),
        (c.BlendConfig(synthetic_ratio=[0.0, 0.5, 1.0]), 3, 0, {"2": 40}),
        (c.AugmentConfig(synthetic_per_real=0.5), 2, 40, {"-1": 40, "1": 20}),
        (c.AccumulateConfig(), 3, 40, {"-1": 40, "0": 40, "1": 40, "2": 40}),
        (c.FreshConfig(synthetic_ratio=0.5), 3, 20, {"-1": 20, "2": 20}),
    ],
)
def test_counts_are_what_the_paper_says(config, generation, num_real, per_generation):
    composition = at(config, generation)
    counts = composition.counts(PoolRef("real", N, REAL), PoolRef("reserve", 200, REAL))
    assert counts["num_real"] == num_real
    assert counts["per_generation"] == per_generation
    assert counts["synthetic_ratio"] == pytest.approx(1 - num_real / len(composition))


def test_subsample_keeps_the_budget_and_takes_from_everywhere():
    composition = at(c.AccumulateSubsampleConfig(), 3)
    assert len(composition) == N
    assert {part.pool.id for part in composition.parts} == {"real", "s0", "s1", "s2"}


def test_subsample_takes_each_pool_in_proportion_on_average():
    drawn = np.zeros(4)
    for seed in range(200):
        for part in at(c.AccumulateSubsampleConfig(), 3, seed=seed).parts:
            drawn[part.pool.generation + 1] += len(part.rows)
    np.testing.assert_allclose(drawn / drawn.sum(), 0.25, atol=0.02)


def test_subsample_is_not_drawn_towards_pools_with_spare_samples():
    few, many = (
        at(c.AccumulateSubsampleConfig(), 3, num_samples=N),
        at(c.AccumulateSubsampleConfig(), 3, num_samples=10 * N),
    )
    assert [len(p.rows) for p in few.parts] == [len(p.rows) for p in many.parts]


def test_accumulate_contains_the_set_before_it():
    before, after = at(c.AccumulateConfig(), 2), at(c.AccumulateConfig(), 3)
    later = {part.pool.id: set(part.rows.tolist()) for part in after.parts}
    assert all(set(part.rows.tolist()) <= later[part.pool.id] for part in before.parts)


def test_blend_at_ratio_one_is_replace_and_window_of_one_is_blend():
    assert at(c.BlendConfig(synthetic_ratio=1.0), 2).id == at(c.ReplaceConfig(), 2).id
    assert at(c.WindowConfig(synthetic_ratio=1.0, num_generations=1), 2).num_synthetic == N


def test_fixed_real_part_stays_and_is_nested_redrawn_changes():
    def real_rows(ratio: float, part: str, generation: int) -> set[int]:
        return set(at(c.BlendConfig(synthetic_ratio=ratio, real_part=part), generation).parts[0].rows.tolist())

    assert real_rows(0.5, "fixed", 1) == real_rows(0.5, "fixed", 2)
    assert real_rows(0.75, "fixed", 1) < real_rows(0.5, "fixed", 1)
    assert real_rows(0.5, "redrawn", 1) != real_rows(0.5, "redrawn", 2)


def test_fresh_images_are_never_given_twice_and_run_out_with_an_error():
    config = c.FreshConfig(synthetic_ratio=0.0)
    rows = [at(config, g).parts[0].rows for g in range(1, 6)]
    assert len(np.unique(np.concatenate(rows))) == 5 * N
    with pytest.raises(DataError, match="reserve has 200"):
        at(config, 6)
    with pytest.raises(DataError, match="generation 6"):
        planned(config, 7, num_reserve=200)


def test_a_schedule_of_fresh_images_meets_none_twice():
    config = c.FreshConfig(synthetic_ratio=[0.5, 0.0, 0.75])
    rows = [at(config, g).parts[0].rows for g in (1, 2, 3)]
    assert [len(r) for r in rows] == [20, 40, 10]
    assert len(np.unique(np.concatenate(rows))) == 70


def test_too_few_samples_are_noticed_before_training():
    with pytest.raises(DataError, match="raise num_samples"):
        planned(c.AugmentConfig(synthetic_per_real=2.0), 3)


@settings(max_examples=80, deadline=None)
@given(
    index=st.integers(0, len(CONFIGS) - 1),
    generation=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    num_samples=st.integers(N, 3 * N),
)
def test_properties_of_all_policies(index, generation, seed, num_samples):
    config = CONFIGS[index]
    composition = at(config, generation, seed=seed, num_samples=num_samples)
    again = at(config, generation, seed=seed, num_samples=num_samples)
    assert composition.id == again.id
    shown = {"real", "reserve", *(f"s{g}" for g in range(generation))}
    assert {part.pool.id for part in composition.parts} <= shown  # so never a held-out image, nor a later generation
    assert all(len(np.unique(part.rows)) == len(part.rows) for part in composition.parts)
    assert composition.num_real + composition.num_synthetic == len(composition)


def test_plan_draws_the_rows_that_the_chain_will():
    ahead = planned(c.BlendConfig(synthetic_ratio=0.5), 3, seed=7)
    real = at(c.BlendConfig(synthetic_ratio=0.5), 2, seed=7)
    for a, b in zip(ahead[2].parts, real.parts, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)


def test_composition_survives_the_disk(tmp_path):
    composition = at(c.AccumulateSubsampleConfig(), 3)
    composition.save(tmp_path)
    assert Composition.load(tmp_path).id == composition.id


def test_a_policy_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "their_policies.py").write_text(
        "from bench.mixing import Composition\n"
        "def first_and_last(history, share):\n"
        "    newest = round(share * history.budget)\n"
        "    return Composition((history.draw(history.synthetic[-1], newest),\n"
        "                        history.draw(history.synthetic[0], history.budget - newest)))\n"
        "def thief(history):\n"
        "    from dataclasses import replace\n"
        "    return Composition((history.draw(replace(history.real, id='heldout'), 3),))\n"
        "def broken(history):\n"
        "    return 1 / 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    mine = c.CustomConfig(function="their_policies:first_and_last", parameters={"share": 0.25})
    assert at(mine, 3).counts(PoolRef("real", N, REAL))["per_generation"] == {"0": 30, "2": 10}
    with pytest.raises(DataError, match="not shown"):
        at(c.CustomConfig(function="their_policies:thief"), 1)
    with pytest.raises(DataError, match="ZeroDivisionError"):
        planned(c.CustomConfig(function="their_policies:broken"), 2)
    with pytest.raises(ConfigError, match=r"mixing\.parameters"):
        at(changed(mine, parameters={"shrae": 1}), 2)
    with pytest.raises(ConfigError, match=r"mixing\.function"):
        at(changed(mine, function="their_policies:nothing"), 2)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, "half", True, [], [0.5, 2.0]])
def test_bad_ratios_are_named(ratio):
    with pytest.raises(ConfigError, match=r"mixing\.synthetic_ratio"):
        c.BlendConfig(synthetic_ratio=ratio)


def test_rows_outside_the_pool_are_refused():
    with pytest.raises(DataError, match="must lie in"):
        Part(PoolRef("real", 3, REAL), np.array([3]))
