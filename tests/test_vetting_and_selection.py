"""What a vetting drops and a selection keeps: counted, stored, audited; what is refused."""

import json
import shutil
from pathlib import Path

import configs as c
import numpy as np
import pytest

from bench import audit, ledger, selection, vetting
from bench.composition import Composition, Part, PoolRef
from bench.errors import ConfigError, DataError
from bench.pool import REAL, Gathered, Pool, Records
from bench.seeds import derive_seed

NEEDS = ("truth",)
VERSION = 1


def half(unvetted: vetting.Unvetted, seen: str = "") -> np.ndarray:
    """A rule for the tests: keep real items and every other sample."""
    truth = unvetted.is_synthetic
    assert truth is not None
    return ~truth | (np.cumsum(truth) % 2 == 1)


def everything(unvetted: vetting.Unvetted) -> np.ndarray:
    return np.zeros(len(unvetted.items), bool)


def numbers(unvetted: vetting.Unvetted) -> np.ndarray:
    return np.arange(len(unvetted.items))


def last(candidates: selection.Candidates) -> np.ndarray:
    """A rule for the tests: keep the last candidates."""
    return np.arange(len(candidates.pool))[-candidates.num_kept :]


def twice(candidates: selection.Candidates) -> np.ndarray:
    return np.zeros(candidates.num_kept, int)


def too_few(candidates: selection.Candidates) -> np.ndarray:
    return np.arange(candidates.num_kept - 1)


DRAWS: list[tuple[str, int]] = []


def noted_vetting(unvetted: vetting.Unvetted) -> np.ndarray:
    DRAWS.append(("vet", int(unvetted.rng.integers(2**62))))
    return np.ones(len(unvetted.items), bool)


def noted_selection(candidates: selection.Candidates) -> np.ndarray:
    DRAWS.append(("select", int(candidates.rng.integers(2**62))))
    return np.arange(candidates.num_kept)


VET = c.CustomVettingConfig(function="test_vetting_and_selection:half")
SELECT = c.CustomSelectionConfig(function="test_vetting_and_selection:last", num_candidates=30)


def test_what_is_vetted_is_not_trained_on_and_the_ledger_counts_it(play):
    chain, stand_in = play(vetting=VET, mixing=c.BlendConfig(synthetic_ratio=0.5))
    assert [len(given.images) for given in stand_in.fits] == [20, 15, 15]
    for row, given in zip(chain.rows[1:], stand_in.fits[1:], strict=True):
        assert (row.composition["num_real"], row.composition["num_synthetic"]) == (10, 10)
        assert row.vetting == {
            "rule": "test_vetting_and_selection:half", "num_real_dropped": 0, "num_synthetic_dropped": 5,
            "num_kept": 15, "num_refilled": 0, "effective_ratio": pytest.approx(1 / 3), "true_positive_rate": 0.5,
            "false_positive_rate": 0.0, "auroc": None, "threshold": None, "seconds": row.vetting["seconds"],
            "per_generation": {"-1": {"num": 10, "num_dropped": 0},
                               str(row.generation - 1): {"num": 10, "num_dropped": 5}},
        }  # fmt: skip
        store = Path(row.store_dir)
        drawn = Composition.load(store / row.artifacts["vet"] / "drawn")
        trained = Composition.load(store / row.artifacts["train"])
        assert (len(drawn), len(trained)) == (20, 15)
        before = Pool.load(store / chain.rows[row.generation - 1].artifacts["samples"])
        decision = np.load(store / row.artifacts["vet"] / "kept.npy")
        assert decision[:10].all() and decision[10:].sum() == 5
        np.testing.assert_array_equal(given.images[10:], before.items[drawn.parts[1].rows[decision[10:]]])


def test_without_a_rule_there_is_no_stage_and_no_fact(play, tmp_path):
    chain, _ = play()
    assert not {"vet", "select"} & {path.name for path in (tmp_path / "store").iterdir()}
    assert all(row.vetting == row.selection == {} for row in chain.rows)
    assert not {"vet", "select"} & set(chain.rows[0].artifacts)


def test_what_is_selected_is_what_the_next_generation_draws_from(play):
    chain, stand_in = play(selection=SELECT, mixing=c.ReplaceConfig())
    assert [len(given.seeds) for given in stand_in.samplings] == [33] * 3  # three probes
    for row in chain.rows:
        store = Path(row.store_dir)
        drawn = Pool.load(store / row.artifacts["sample"] / "pool")
        pool = Pool.load(store / row.artifacts["samples"])
        assert row.selection["num_candidates"] == 30 and len(pool) == 20
        np.testing.assert_array_equal(pool.items, drawn.items[10:])
        np.testing.assert_array_equal(pool.records.seed, drawn.records.seed[10:])
    first = Pool.load(Path(chain.rows[0].store_dir) / chain.rows[0].artifacts["samples"])
    trained = {image.tobytes() for image in stand_in.fits[1].images}
    assert trained == {image.tobytes() for image in first.items}


def test_every_draw_of_a_rule_comes_from_run_generation_and_stage(play):
    rules = {
        "vetting": c.CustomVettingConfig(function="test_vetting_and_selection:noted_vetting"),
        "selection": c.CustomSelectionConfig("custom", "test_vetting_and_selection:noted_selection", 21),
    }
    DRAWS.clear()
    for seed in (5, 6):
        play(seed=seed, name="echo" if seed == 5 else "other", **rules)
    assert len(DRAWS) == 12 and len(set(DRAWS)) == 12 and len({number for _, number in DRAWS}) == 12
    rng = np.random.default_rng(derive_seed(5, 0, "vet"))
    rng.permutation(20)  # the order in which the rule sees the items
    assert DRAWS[0] == ("vet", int(rng.integers(2**62)))


def audited(chain: ledger.Chain, capsys: pytest.CaptureFixture) -> str:
    audit.main([str(chain.directory)])
    return capsys.readouterr().out


def test_the_audit_agrees_and_notices_another_decision(play, capsys):
    chain, _ = play(vetting=VET, selection=SELECT)
    assert "0 mismatches" in audited(chain, capsys)
    row = chain.rows[1]
    kept = Path(row.store_dir) / row.artifacts["vet"] / "kept.npy"
    decision = np.load(kept)
    np.save(kept, np.roll(decision, 1))
    assert "generation 1: the training set is not what the stored vetting kept" in audited(chain, capsys)
    np.save(kept, decision)
    rows = Path(row.store_dir) / row.artifacts["select"] / "rows.npy"
    np.save(rows, np.load(rows) - 1)
    assert "generation 1: the pool is not what the stored selection kept" in audited(chain, capsys)


@pytest.mark.parametrize(
    ("stage", "fact", "value"),
    [("vetting", "num_synthetic_dropped", 3), ("vetting", "effective_ratio", 0.5), ("selection", "num_candidates", 99)],
)
def test_the_audit_notices_facts_that_are_not_so(play, capsys, stage, fact, value):
    chain, _ = play(vetting=VET, selection=SELECT)
    file = chain.directory / ledger.FILENAME
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[2][stage][fact] = value
    rows[2]["digest"] = ledger.digest_of(rows[2])
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert f"generation 2: {fact} is {value!r} in the ledger" in audited(chain, capsys)


@pytest.mark.parametrize("stage", ["vet", "select"])
def test_the_audit_notices_a_rule_that_left_nothing(play, capsys, stage):
    chain, _ = play(vetting=VET, selection=SELECT)
    file = chain.directory / ledger.FILENAME
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    del rows[1]["artifacts"][stage]
    rows[1]["digest"] = ledger.digest_of(rows[1])
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "custom left no result" in audited(chain, capsys)


def test_a_chain_taken_up_again_reads_what_was_decided(play, tmp_path):
    first, _ = play(vetting=VET, selection=SELECT)
    shutil.rmtree(first.directory)
    again, stand_in = play(vetting=VET, selection=SELECT)
    assert stand_in.fits == stand_in.samplings == []
    assert [row.artifacts for row in again.rows] == [row.artifacts for row in first.rows]


@pytest.mark.parametrize(
    ("rule", "named"),
    [("everything", "dropped 20 of the 20 items of the composition: 0 are"), ("numbers", "expected bool")],
)
def test_a_vetting_that_cannot_be_used_is_refused(play, rule, named):
    with pytest.raises(DataError, match=named):
        play(vetting=c.CustomVettingConfig(function=f"test_vetting_and_selection:{rule}"))


@pytest.mark.parametrize(
    ("rule", "named"), [("twice", "rows twice or outside"), ("too_few", "expected 20 row numbers")]
)
def test_a_selection_that_cannot_be_used_is_refused(play, rule, named):
    with pytest.raises(DataError, match=named):
        play(
            selection=c.CustomSelectionConfig(function=f"test_vetting_and_selection:{rule}", num_candidates=30)
        )  # fmt: skip


def test_fewer_candidates_than_samples_are_refused_before_training(play, tmp_path):
    with pytest.raises(ConfigError, match=r"selection\.num_candidates=19: must be at least 20"):
        play(selection=c.CustomSelectionConfig(function="test_vetting_and_selection:last", num_candidates=19))
    assert not (tmp_path / "store" / "train").exists()


@pytest.mark.parametrize(
    ("resolve", "config", "key"),
    [
        (vetting.resolve, c.CustomVettingConfig(function="echo:nothing"), "vetting.function"),
        (vetting.resolve, c.CustomVettingConfig(function=VET.function, parameters={"x": 1}), "vetting.parameters"),
        (lambda x: selection.resolve(x, 5), c.CustomSelectionConfig("custom", "echo:nothing", 9), "selection.function"),
        (lambda x: selection.resolve(x, 5), c.CustomSelectionConfig("custom", SELECT.function, 9, {"x": 1}),
         "selection.parameters"),
    ],
)  # fmt: skip
def test_a_rule_that_does_not_exist_or_fit_names_its_key(resolve, config, key):
    with pytest.raises(ConfigError) as error:
        resolve(config)
    assert error.value.key == key


SEEN: list[tuple[np.ndarray, np.ndarray]] = []


def looks(unvetted: vetting.Unvetted) -> np.ndarray:
    SEEN.append((unvetted.items[np.arange(len(unvetted.items))], unvetted.is_synthetic))
    assert not hasattr(unvetted.items, "parts")
    return np.ones(len(unvetted.items), bool)


def test_the_place_of_an_item_tells_nothing_and_the_truth_is_told_of_the_right_one():
    real = Pool(np.full((30, 3, 8, 8), 1, np.uint8), Records.real([str(i) for i in range(30)]))
    made = Pool(np.full((30, 3, 8, 8), 2, np.uint8), Records.synthetic(0, np.arange(30)))
    parts = tuple(Part(PoolRef.of(pool, g), np.arange(30)) for pool, g in ((real, REAL), (made, 0)))
    rule = vetting.resolve(c.CustomVettingConfig(function="test_vetting_and_selection:looks"))
    SEEN.clear()
    for seed in (0, 1):
        vetting.decide(rule, Composition(parts), {real.id: real, made.id: made}, real, seed)
    for items, truth in SEEN:
        np.testing.assert_array_equal(items[:, 0, 0, 0] == 2, truth)
        assert 5 < truth[:30].sum() < 25
    assert (SEEN[0][1] != SEEN[1][1]).any()


@pytest.mark.parametrize(("needs", "told"), [(("truth",), True), ((), False)])
def test_a_rule_is_not_told_the_truth_unless_it_needs_it(monkeypatch, needs, told):
    monkeypatch.setattr("test_vetting_and_selection.NEEDS", needs)
    pool = Pool(np.full((3, 3, 8, 8), 1, np.uint8), Records.real(["a", "b", "c"]))
    SEEN.clear()
    rule = vetting.resolve(c.CustomVettingConfig(function="test_vetting_and_selection:looks"))
    vetting.decide(rule, Composition((Part(PoolRef.of(pool, REAL), np.arange(3)),)), {pool.id: pool}, pool, 0)
    assert (SEEN[0][1] is not None) == told


def test_a_random_selection_keeps_each_candidate_equally_often():
    pool = Pool(np.zeros((6, 3, 8, 8), np.uint8), Records.synthetic(0, np.arange(6)))
    rule = selection.resolve(c.checked(RandomConfig(num_candidates=6)), 2)
    counts = np.zeros(6)
    for seed in range(600):
        counts[selection.keep(rule, selection.Candidates(pool, 2, pool, np.random.default_rng(seed)))] += 1
    assert counts.sum() == 1200 and abs(counts - 200).max() < 4 * np.sqrt(600 * (1 / 3) * (2 / 3))


RandomConfig = __import__("bench.selection.random", fromlist=["Config"]).Config


def test_what_is_kept_of_a_composition_keeps_its_order():
    pools = [Pool(np.full((5, 3, 8, 8), g + 1, np.uint8), Records.synthetic(g, np.arange(5))) for g in (0, 1)]
    parts = tuple(Part(PoolRef.of(pool, g), np.array([0, 2, 2, 4])) for g, pool in enumerate(pools))
    composition = Composition(parts)
    kept = composition.kept(np.array([1, 0, 1, 0, 0, 0, 0, 1], bool))
    assert [part.rows.tolist() for part in kept.parts] == [[0, 2], [4]]
    assert isinstance(kept.items({pool.id: pool for pool in pools}), Gathered) and REAL == -1
