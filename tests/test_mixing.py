"""Policies: counts that papers state, draws that repeat, and what no policy may ever do."""

import math
from dataclasses import replace as changed
from itertools import pairwise

import configs as c
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench import registry
from bench.composition import Composition, Part, PoolRef
from bench.errors import ConfigError, DataError
from bench.mixing import compose, plan, resolve
from bench.mixing.shared.history import History
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
    c.RealOnlyConfig(synthetic_ratio=0.25),
]


GENERATION_0 = {"real": [0, 1, 2, 3, 4, 5]}
GOLDEN: list[tuple[c.MixingConfig, list[dict[str, list[int]]]]] = [
    (c.ReplaceConfig(), [{"s0": [0, 3, 5, 6, 7, 8]}, {"s1": [0, 1, 3, 4, 5, 7]}]),
    (c.BlendConfig(synthetic_ratio=0.5), [{"real": [2, 3, 5], "s0": [0, 3, 6]}, {"real": [3, 4, 5], "s1": [3, 4, 7]}]),
    (
        c.BlendConfig(synthetic_ratio=0.5, real_part="fixed"),
        [{"real": [0, 1, 3], "s0": [0, 3, 6]}, {"real": [0, 1, 3], "s1": [3, 4, 7]}],
    ),
    (
        c.AugmentConfig(synthetic_per_real=0.5),
        [{"real": [0, 1, 2, 3, 4, 5], "s0": [0, 3, 6]}, {"real": [0, 1, 2, 3, 4, 5], "s1": [3, 4, 7]}],
    ),
    (
        c.AccumulateConfig(),
        [
            {"real": [0, 1, 2, 3, 4, 5], "s0": [0, 2, 4, 5, 6, 8]},
            {"real": [0, 1, 2, 3, 4, 5], "s0": [0, 2, 4, 5, 6, 8], "s1": [0, 3, 5, 6, 7, 8]},
        ],
    ),
    (c.AccumulateSubsampleConfig(), [{"real": [2, 3, 4], "s0": [0, 4, 8]}, {"s0": [0, 6, 8], "s1": [0, 5, 7]}]),
    (
        c.WindowConfig(synthetic_ratio=0.75, num_generations=2),
        [{"real": [3, 5], "s0": [4, 5, 6, 8]}, {"real": [3, 4], "s0": [0, 4], "s1": [5, 6]}],
    ),
    (
        c.FreshConfig(synthetic_ratio=0.5),
        [{"reserve": [9, 10, 11], "s0": [0, 3, 6]}, {"reserve": [0, 3, 5], "s1": [3, 4, 7]}],
    ),
    (c.RealOnlyConfig(synthetic_ratio=0.5), [{"real": [2, 3, 5]}, {"real": [3, 4, 5]}]),
    (c.RealOnlyConfig(synthetic_ratio=0.5, real_part="fixed"), [{"real": [0, 1, 3]}, {"real": [0, 1, 3]}]),
]


def test_every_policy_is_tried_here_and_has_a_schema():
    named = {config.policy for config in CONFIGS}
    assert named == set(registry.names("bench.mixing"))
    assert all(registry.schema("mixing", name)().policy == name for name in named)


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
        (c.RealOnlyConfig(synthetic_ratio=0.25), 3, 30, {"-1": 30}),
        (c.RealOnlyConfig(synthetic_ratio=[0.0, 0.5, 0.9]), 3, 4, {"-1": 4}),
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


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    budget=st.integers(1, 40),
    ratio=st.floats(0, 1, exclude_max=True),
    generation=st.integers(1, 6),
    part=st.sampled_from(["fixed", "redrawn"]),
)
def test_real_only_is_blend_without_its_samples(seed, budget, ratio, generation, part):
    past = changed(history(generation, seed=seed), budget=budget)
    if round(ratio * budget) == budget:
        with pytest.raises(DataError, match="without a single item"):
            compose(resolve(c.RealOnlyConfig(synthetic_ratio=ratio, real_part=part)), past)
        return
    blended, starved = (
        compose(resolve(schema(synthetic_ratio=ratio, real_part=part)), past)
        for schema in (c.BlendConfig, c.RealOnlyConfig)
    )
    assert starved.num_synthetic == 0 and rows_of(starved, "real") == rows_of(blended, "real")


@pytest.mark.parametrize("ratio", [1.0, [0.5, 1.0]])
def test_real_only_needs_a_real_image(ratio):
    with pytest.raises(ConfigError, match=r"mixing\.synthetic_ratio.*below 1"):
        c.checked(c.RealOnlyConfig(synthetic_ratio=ratio), "mixing")


@pytest.mark.parametrize("schema", [c.BlendConfig, c.WindowConfig, c.RealOnlyConfig])
def test_fixed_real_part_stays_and_is_nested_redrawn_changes(schema):
    def real_rows(ratio: float, part: str, generation: int) -> set[int]:
        return rows_of(at(schema(synthetic_ratio=ratio, real_part=part), generation), "real")

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


def test_a_generation_without_fresh_images_needs_no_reserve():
    start = History(0, PoolRef("real", N, REAL), None, (), N, seed=0)
    compositions = plan(resolve(c.FreshConfig(synthetic_ratio=[1.0, 1.0])), start, 3, num_samples=N)
    assert [composition.num_real for composition in compositions] == [N, 0, 0]
    with pytest.raises(DataError, match="generation 2 needs fresh real images"):
        plan(resolve(c.FreshConfig(synthetic_ratio=[1.0, 0.9])), start, 3, num_samples=N)


def test_a_schedule_of_fresh_images_meets_none_twice():
    config = c.FreshConfig(synthetic_ratio=[0.5, 0.0, 0.75])
    rows = [at(config, g).parts[0].rows for g in (1, 2, 3)]
    assert [len(r) for r in rows] == [20, 40, 10]
    assert len(np.unique(np.concatenate(rows))) == 70


def test_too_few_samples_are_noticed_before_training():
    with pytest.raises(DataError, match="raise num_samples"):
        planned(c.AugmentConfig(synthetic_per_real=2.0), 3)


@st.composite
def chains(draw: st.DrawFn) -> tuple[c.MixingConfig, History]:
    """Any policy with any parameters, and any history that it can be asked about."""
    budget, generation = draw(st.integers(1, 60)), draw(st.integers(1, 6))
    share = st.floats(0, 1) | st.lists(st.floats(0, 1), min_size=generation, max_size=generation)
    ratio, part = draw(share), draw(st.sampled_from(["fixed", "redrawn"]))
    config = draw(
        st.sampled_from(
            [
                c.ReplaceConfig(num_images=draw(st.none() | st.integers(1, budget))),
                c.BlendConfig(synthetic_ratio=ratio, real_part=part),
                c.AugmentConfig(synthetic_per_real=ratio),
                c.AccumulateConfig(),
                c.AccumulateSubsampleConfig(),
                c.WindowConfig(synthetic_ratio=ratio, num_generations=draw(st.integers(1, 7)), real_part=part),
                c.FreshConfig(synthetic_ratio=ratio),
                c.RealOnlyConfig(synthetic_ratio=ratio, real_part=part),
            ]
        )
    )
    num_samples = draw(st.integers(budget, 2 * budget))
    synthetic = tuple(PoolRef(f"s{g}", num_samples, g) for g in range(generation))
    reserve = PoolRef("reserve", generation * budget, REAL)
    return config, History(generation, PoolRef("real", budget, REAL), reserve, synthetic, budget, draw(seeds))


seeds = st.integers(0, 2**31)


def nearest(share: float, num: int) -> set[int]:
    """The whole numbers that are nearest to a share of `num`; two where it lies between them."""
    low = math.floor(share * num)
    return {n for n in (low, low + 1) if abs(share * num - n) <= 0.5}


@settings(max_examples=300, deadline=None)
@given(chain=chains())
def test_each_policy_takes_what_its_paper_says_from_where_it_says(chain):
    config, past = chain
    now = getattr(config, "synthetic_ratio", None)
    now = now[past.generation - 1] if isinstance(now, list) else now
    assume(not isinstance(config, c.RealOnlyConfig) or round(now * past.budget) < past.budget)
    composition = compose(resolve(config), past)
    taken = {part.pool.id: len(part.rows) for part in composition.parts}
    assert all(len(np.unique(part.rows)) == len(part.rows) for part in composition.parts)  # nothing twice
    g, n = past.generation, past.budget
    ratio = getattr(config, "synthetic_ratio", getattr(config, "synthetic_per_real", None))
    now = ratio[g - 1] if isinstance(ratio, list) else ratio
    newest = taken.get(f"s{g - 1}", 0)
    match config:
        case c.ReplaceConfig():
            assert taken == {f"s{g - 1}": config.num_images or n}
        case c.AccumulateConfig():
            assert taken == {"real": n} | {f"s{i}": n for i in range(g)}
        case c.AccumulateSubsampleConfig():
            assert sum(taken.values()) == n and taken.keys() <= {"real", *(f"s{i}" for i in range(g))}
        case c.AugmentConfig():
            assert newest in nearest(now, n)
            assert taken == {k: v for k, v in {"real": n, f"s{g - 1}": newest}.items() if v}
        case c.WindowConfig():
            window = {f"s{i}" for i in range(max(0, g - config.num_generations), g)}
            num_real = taken.pop("real", 0)
            assert taken.keys() <= window
            assert sum(taken.values()) in nearest(now, n) and num_real == n - sum(taken.values())
        case c.RealOnlyConfig():
            assert taken.keys() == {"real"} and n - taken["real"] in nearest(now, n)
        case _:
            real = "reserve" if isinstance(config, c.FreshConfig) else "real"
            assert newest in nearest(now, n)
            assert taken == {k: v for k, v in {real: n - newest, f"s{g - 1}": newest}.items() if v}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.policy)
def test_another_seed_and_another_generation_are_another_draw(config):
    drawn = [at(config, g, num_samples=3 * N, seed=seed) for g, seed in ((3, 0), (3, 1), (4, 0), (4, 1))]
    assert len({composition.id for composition in drawn}) == 4
    for seed in (0, 1):
        assert at(config, 3, num_samples=3 * N, seed=seed).id == drawn[seed].id


@settings(max_examples=50, deadline=None)
@given(
    seed=seeds,
    budget=st.integers(1, 40),
    schedule=st.lists(st.floats(0, 1), min_size=1, max_size=6),
    spare=st.integers(0, 1),
)
def test_fresh_images_go_through_the_reserve_once_and_leave_no_gap(seed, budget, schedule, spare):
    shares = [budget - round(ratio * budget) for ratio in schedule]
    config, num = c.FreshConfig(synthetic_ratio=schedule), sum(shares)
    start = History(0, PoolRef("real", budget, REAL), PoolRef("reserve", num + spare, REAL), (), budget, seed)
    compositions = plan(resolve(config), start, len(schedule) + 1, num_samples=budget)
    used = [part.rows for composition in compositions for part in composition.parts if part.pool.id == "reserve"]
    assert [len(rows) for rows in used] == [share for share in shares if share]
    together = np.concatenate([np.zeros(0, int), *used])
    assert len(np.unique(together)) == len(together) == num
    if num > 1:
        short = changed(start, reserve=PoolRef("reserve", num - 1, REAL))
        with pytest.raises(
            DataError, match=rf"^generation \d needs fresh real images .*…{num - 1}, but the reserve has {num - 1}"
        ):
            plan(resolve(config), short, len(schedule) + 1, num_samples=budget)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, num_generations=st.integers(2, 6), spare=st.integers(0, 50))
def test_accumulate_keeps_what_it_held_and_subsample_draws_from_that(seed, num_generations, spare):
    start = changed(history(0, seed=seed), seed=seed)
    plans = [plan(resolve(config), start, num_generations, N + spare) for config in (CONFIGS[4], CONFIGS[5])]

    def images(composition: Composition) -> set[tuple[str, int]]:
        return {(part.pool.id, row) for part in composition.parts for row in part.rows.tolist()}

    held = [images(composition) for composition in plans[0]]
    assert all(before < after for before, after in pairwise(held))
    assert all(images(drawn) <= all_ for drawn, all_ in zip(plans[1], held, strict=True))


def rows_of(composition: Composition, pool: str) -> set[int]:
    return {row for part in composition.parts if part.pool.id == pool for row in part.rows.tolist()}


def test_no_two_draws_are_the_same_numbers():
    """Each pool, generation and purpose draws for itself: what is common is common by chance."""
    shown = [*(PoolRef(f"s{g}", 400, g) for g in range(3)), PoolRef("real", 400, REAL), PoolRef("reserve", 400, REAL)]
    past = History(3, shown[3], shown[4], tuple(shown[:3]), 400, seed=0)
    drawn = [past.draw(pool, 100).rows for pool in shown[:4]]
    drawn += [past.draw(pool, 100, fixed=True).rows for pool in shown[:4]] + [past.draw_fresh(100, 0).rows]
    drawn += [changed(past, generation=4).draw(shown[0], 100).rows, changed(past, seed=1).draw(shown[0], 100).rows]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            assert 5 <= len(set(one.tolist()) & set(other.tolist())) <= 50  # 25 by chance


def test_a_fixed_draw_is_the_same_in_every_generation_and_grows_at_its_end():
    pool = PoolRef("real", 400, REAL)
    pasts = [History(g, pool, None, (), 400, seed=0) for g in (1, 2, 5)]
    draws = [past.draw(pool, 100, fixed=True).rows.tolist() for past in pasts]
    assert draws[0] == draws[1] == draws[2]
    for fixed in (True, False):
        assert set(pasts[1].draw(pool, 60, fixed).rows.tolist()) < set(pasts[1].draw(pool, 61, fixed).rows.tolist())


def test_fresh_images_are_the_same_queue_for_every_generation():
    past = History(2, PoolRef("real", 9, REAL), PoolRef("reserve", 50, REAL), (), 9, seed=0)
    whole = past.draw_fresh(10, num_used=20).rows.tolist()
    apart = [changed(past, generation=g).draw_fresh(5, num_used=used).rows.tolist() for g, used in ((4, 20), (5, 25))]
    assert sorted(apart[0] + apart[1]) == whole


def test_every_row_of_a_pool_is_drawn_as_often_as_any_other():
    pool = PoolRef("real", 20, REAL)
    counts = np.zeros(20)
    for generation in range(1, 801):
        counts[History(generation, pool, None, (), 20, seed=3).draw(pool, 5).rows] += 1
    assert np.abs(counts - 200).max() < 5 * math.sqrt(800 * 0.25 * 0.75)


def test_a_subsample_is_redrawn_in_every_generation_and_takes_all_where_all_are_asked_for():
    universe = Composition((Part(PoolRef("real", 60, REAL), np.arange(50)), Part(PoolRef("s0", 60, 0), np.arange(50))))
    past = history(1)
    one, again, two = (changed(past, generation=g).subsample(universe, 40) for g in (1, 1, 2))
    assert one.id == again.id != two.id
    assert past.subsample(universe, 100).id == universe.id
    with pytest.raises(DataError, match="needs 101 images of a universe of 100"):
        past.subsample(universe, 101)


def test_the_total_of_a_policy_is_what_generation_0_trained_on_and_augment_takes_all_real_images():
    past = changed(history(2), budget=30)
    assert len(compose(resolve(c.BlendConfig(synthetic_ratio=0.5)), past)) == 30
    assert len(compose(resolve(c.WindowConfig(synthetic_ratio=0.5)), past)) == 30
    assert len(compose(resolve(c.FreshConfig(synthetic_ratio=0.5)), past)) == 30
    assert len(compose(resolve(c.ReplaceConfig()), past)) == 30
    augmented = compose(resolve(c.AugmentConfig(synthetic_per_real=0.5)), past)
    assert (augmented.num_real, augmented.num_synthetic) == (40, 20)


def test_a_draw_of_more_than_there_is_says_of_what():
    past = history(2)
    assert len(past.draw(past.real, N).rows) == N
    with pytest.raises(DataError, match=f"needs {N + 1} images of the real pool, which has {N}; raise data.num_train"):
        past.draw(past.real, N + 1)
    with pytest.raises(
        DataError, match=f"{N + 1} images of the samples of generation 1, which has {N}; raise num_samples"
    ):
        past.draw(past.synthetic[1], N + 1)


def test_the_first_generation_trains_on_the_same_real_images_whatever_the_policy():
    shown: list[History] = []

    def never(past: History) -> Composition:
        shown.append(past)
        raise AssertionError

    start = changed(history(0), budget=30)
    composition = compose(never, start)
    assert not shown and len(composition) == composition.num_real == 30
    assert composition.id == compose(never, start).id
    assert composition.id != compose(never, changed(start, seed=1)).id


def test_a_plan_shows_each_generation_what_the_chain_will():
    shown: list[History] = []

    def watch(past: History) -> Composition:
        shown.append(past)
        return Composition((past.draw(past.synthetic[-1], 3),))

    start = history(0, num_reserve=7, seed=3)
    compositions = plan(watch, start, num_generations=4, num_samples=11)
    assert [c.num_synthetic for c in compositions] == [0, 3, 3, 3]
    assert [past.generation for past in shown] == [1, 2, 3]
    for past in shown:
        sizes = [(pool.num_items, pool.generation) for pool in past.synthetic]
        assert sizes == [(11, g) for g in range(past.generation)]
        assert len({pool.id for pool in past.synthetic}) == past.generation
        assert (past.real, past.reserve, past.budget, past.seed) == (start.real, start.reserve, N, 3)
    grown = start.grown(PoolRef("x", 5, 0))
    assert (grown.generation, grown.synthetic, start.synthetic) == (1, (PoolRef("x", 5, 0),), ())


def test_what_a_policy_returns_is_looked_at():
    past = history(2)
    with pytest.raises(DataError, match="returned Part, expected a Composition"):
        compose(lambda past: past.draw(past.real, 3), past)
    everything = Composition(tuple(past.draw(pool, 2) for pool in (past.real, past.reserve, *past.synthetic) if pool))
    assert compose(lambda _: everything, past) is everything
    for foreign in (PoolRef("s2", N, 2), PoolRef("heldout", N, REAL)):
        with pytest.raises(DataError, match=rf"not shown: \['{foreign.id}'\]"):
            compose(lambda past, pool=foreign: Composition((past.draw(past.real, 2), past.draw(pool, 2))), past)
    without = changed(past, reserve=None)
    with pytest.raises(DataError, match=r"not shown: \['reserve'\]"):
        compose(lambda _: Composition((past.draw_fresh(2, 0),)), without)


@pytest.mark.parametrize(("config", "expected"), GOLDEN, ids=lambda value: getattr(value, "policy", ""))
def test_the_draws_are_frozen(config, expected):
    """Changing one changes every number of every protocol."""
    start = History(0, PoolRef("real", 6, REAL), PoolRef("reserve", 12, REAL), (), 6, seed=1)
    for composition, rows in zip(
        plan(resolve(config), start, 3, num_samples=9), [GENERATION_0, *expected], strict=True
    ):
        ids = {part.pool.id.replace("samples of generation ", "s"): part.rows.tolist() for part in composition.parts}
        assert ids == rows


def test_plan_draws_the_rows_that_the_chain_will():
    ahead = planned(c.BlendConfig(synthetic_ratio=0.5), 3, seed=7)
    real = at(c.BlendConfig(synthetic_ratio=0.5), 2, seed=7)
    for a, b in zip(ahead[2].parts, real.parts, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)


def test_a_policy_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "their_policies.py").write_text(
        "from bench.composition import Composition\n"
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
    mine = c.CustomMixingConfig(function="their_policies:first_and_last", parameters={"share": 0.25})
    assert at(mine, 3).counts(PoolRef("real", N, REAL))["per_generation"] == {"0": 30, "2": 10}
    with pytest.raises(DataError, match="not shown"):
        at(c.CustomMixingConfig(function="their_policies:thief"), 1)
    with pytest.raises(DataError, match="ZeroDivisionError"):
        planned(c.CustomMixingConfig(function="their_policies:broken"), 2)
    with pytest.raises(ConfigError, match=r"mixing\.parameters"):
        at(changed(mine, parameters={"shrae": 1}), 2)
    with pytest.raises(ConfigError, match=r"mixing\.function"):
        at(changed(mine, function="their_policies:nothing"), 2)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, "half", True, [], [0.5, 2.0]])
def test_bad_ratios_are_named(ratio):
    with pytest.raises(ConfigError, match=r"mixing\.synthetic_ratio"):
        c.checked(c.BlendConfig(synthetic_ratio=ratio), "mixing")
