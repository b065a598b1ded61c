"""A newcomer in a polluted world: what it takes for real, what the ledger says of it, and what it shares."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import configs as c
import numpy as np
import pytest
from echo import Lines, features, small, with_reserve
from shrunk import composed

from bench import audit, ledger, loop, plan
from bench.composition import Composition
from bench.config import JoinConfig
from bench.datasets.points import Config as PointsConfig
from bench.detection import threshold_at
from bench.errors import ConfigError, DataError
from bench.generators import gaussian
from bench.ledger import Chain
from bench.machine.console import Console
from bench.metrics.shared.classifier import fit_classifier
from bench.pool import REAL, TAKEN_FOR_REAL, Pool
from bench.seeds import derive_seed
from bench.vetting.detector import Config as DetectorConfig
from bench.vetting.oracle import Config as OracleConfig

NUM_REAL = 20


@pytest.fixture
def first(play: Any) -> Chain:
    """A chain that began in a clean world: four generations at ratio 0.4, with 40 samples each."""
    chain, _ = play(name="first", num_generations=4, data=with_reserve(40))
    return chain


def joining(chain: Chain, **options: Any) -> JoinConfig:
    return c.checked(JoinConfig(chain=str(chain.directory), **options))


def ran(out: Path, **changes: Any) -> Chain:
    """Run one more chain of the stand-ins that `first` has put in place."""
    directory = loop.run_chain(small(out, **{"num_generations": 3, "data": with_reserve(40), **changes}), Lines())
    (chain,) = ledger.read_runs([directory])
    return chain


@pytest.fixture
def newcomer(tmp_path: Path, first: Chain) -> Any:
    """Return a function that runs a newcomer which joins `first`."""

    def run(changes: dict[str, Any] | None = None, **options: Any) -> Chain:
        given = {"name": "late", "num_generations": 2, "join": joining(first, **options)}
        return ran(tmp_path, **given | (changes or {}))

    return run


def stored(chain: Chain, generation: int, artifact: str, folder: str = "") -> Pool:
    row = chain.rows[generation]
    return Pool.load(Path(row.store_dir) / row.artifacts[artifact] / folder)


def order(seed: int, generation: int, size: int) -> np.ndarray:
    return np.random.default_rng(derive_seed(seed, 0, f"join/{generation}")).permutation(size)


def test_what_it_takes_for_real_is_gathered_by_hand(first, newcomer):
    late = newcomer(generation=2, ratio=0.3)
    pool, real, samples = (
        stored(late, 0, "join", "pool"),
        stored(first, 0, "real", "train"),
        stored(first, 2, "samples"),
    )
    rows, drawn = np.sort(order(5, REAL, NUM_REAL)[6:]), np.sort(order(5, 2, 40)[:6])
    np.testing.assert_array_equal(pool.items, np.concatenate([real.items[rows], samples.items[drawn]]))
    np.testing.assert_array_equal(pool.records.generation, [REAL] * 14 + [TAKEN_FOR_REAL] * 6)
    np.testing.assert_array_equal(pool.records.seed[14:], samples.records.seed[drawn])
    assert pool.records.source_id.tolist() == [*real.records.source_id[rows], *[""] * 6]
    assert {name: values[14:].tolist() for name, values in pool.records.labels.items()} == {
        name: [-1] * 6 for name in ("species", "colour", "pose")
    }
    trained_on = Composition.load(Path(late.rows[0].store_dir) / late.rows[0].artifacts["train"])
    assert [part.pool.id for part in trained_on.parts] == [pool.id] and len(trained_on) == NUM_REAL
    assert audit.main([str(late.directory)]) == 0


def test_the_ledger_counts_the_truth_and_names_the_earlier_chain(first, newcomer):
    late = newcomer(generation=2, ratio=0.3)
    row = late.rows[0]
    assert row.joined["chain"] == first.id and row.joined["condition"] == "0.40"
    assert [row.joined[name] for name in ("generation", "ratio", "num_samples")] == [2, 0.3, 6]
    stated = row.composition
    assert [stated[name] for name in ("num_real", "num_synthetic", "synthetic_ratio")] == [14, 6, 0.3]
    assert stated["per_generation"] == {"-2": 6, "-1": 14}
    second = late.rows[1].composition  # 12 of what it takes for real, and 8 samples of its own
    assert second["per_generation"]["0"] == 8 and second["num_real"] + second["per_generation"]["-2"] == 12
    assert second["num_synthetic"] == 20 - second["num_real"] > 8
    assert row.code["join"] == {"stage": 1} and "join" not in first.rows[0].code


@pytest.mark.parametrize("generation", [0, 2])
def test_by_default_the_ratio_is_that_of_the_next_generation_of_the_earlier_chain(newcomer, tmp_path, generation):
    mixing = c.BlendConfig(synthetic_ratio=[0.1, 0.2, 0.6])
    chain = ran(tmp_path, name="rising", mixing=mixing, num_generations=4)
    late = newcomer({"join": joining(chain, generation=generation)})
    assert late.rows[0].composition["synthetic_ratio"] == {0: 0.1, 2: 0.6}[generation]


def test_samples_of_all_generations_are_equal_parts(first, newcomer):
    late = newcomer(generation=2, ratio=0.45, samples_of="all")
    folder = Path(late.rows[0].store_dir) / late.rows[0].artifacts["join"]
    drawn = Composition.load(folder)
    assert [(part.pool.generation, len(part.rows)) for part in drawn.parts] == [(REAL, 11), (0, 3), (1, 3), (2, 3)]
    assert [part.pool.id for part in drawn.parts[1:]] == [stored(first, g, "samples").id for g in range(3)]
    assert audit.main([str(late.directory)]) == 0


def test_a_larger_ratio_keeps_some_of_the_same_real_items(newcomer):
    some, more = (
        set(stored(newcomer(generation=1, ratio=ratio), 0, "join", "pool").records.source_id) - {""}
        for ratio in (0.3, 0.8)
    )
    assert len(more) == 4 and more < some


def test_without_pollution_a_newcomer_is_the_first_mover(first, newcomer):
    late = newcomer(generation=3, ratio=0.0)
    assert late.id != first.id
    for name in ("train", "sample", "score"):
        assert late.rows[0].artifacts[name] == first.rows[0].artifacts[name]
    assert late.rows[0].scores == first.rows[0].scores


def test_a_polluted_pool_has_no_twin_of_held_out_items(newcomer):
    asked = c.MetricsConfig(feature_space="echo:pixels", num_images=16, scores=["frechet", "copying"])
    told = [
        {
            score["metric"]
            for row in newcomer({"metrics": asked}, generation=1, ratio=ratio).rows
            for score in row.scores
        }
        for ratio in (0.0, 0.5)
    ]
    assert "closer_to_training" in told[0] and "closer_to_training" not in told[1]


def test_held_out_items_and_the_floor_are_those_of_the_first_mover(first, newcomer):
    late = newcomer(generation=1, ratio=1.0)
    floors = [[s for s in chain.rows[0].scores if s["subject"] == "real_train"] for chain in (first, late)]
    assert floors[0] and floors[0] == floors[1] and late.rows[0].artifacts["real"] == first.rows[0].artifacts["real"]
    assert late.rows[0].composition["num_real"] == 0


def test_equal_samples_give_one_result_wherever_the_chain_lies(first, newcomer, tmp_path):
    here = newcomer(generation=1, ratio=0.5)
    elsewhere = tmp_path / "copies" / "of-a-friend"
    shutil.copytree(first.directory, elsewhere)
    there = newcomer({"join": JoinConfig(chain=str(elsewhere), generation=1, ratio=0.5), "name": "there"})
    other = newcomer(generation=2, ratio=0.5)
    assert here.rows[0].artifacts["join"] == there.rows[0].artifacts["join"] != other.rows[0].artifacts["join"]
    assert here.rows[0].artifacts["train"] == there.rows[0].artifacts["train"]


def test_in_a_sweep_the_chain_of_equal_seed_and_mixing_is_joined(first, newcomer, tmp_path):
    other = ran(tmp_path, name="first", seed=6)
    ran(tmp_path, name="first", mixing=c.ReplaceConfig())
    sweep = str(first.directory.parent)
    for seed, chain, generation in ((5, first, 1), (6, other, 1), (5, first, 2)):
        late = newcomer({"name": "first", "seed": seed, "join": JoinConfig(chain=sweep, generation=generation)})
        assert late.rows[0].joined["chain"] == chain.id
    with pytest.raises(
        ConfigError, match="one chain with seed 7 and the same mixing that itself joins none; it contains 0"
    ):
        newcomer({"seed": 7, "join": JoinConfig(chain=sweep, generation=1)})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"generation": 4}, r"join\.generation=4: .* has generations 0 to 3"),
        ({"generation": 3}, r"join\.ratio=None: stands for the synthetic share of generation 4 of .*, which ends"),
        ({"chain": "nowhere"}, r"join\.chain='nowhere': is no chain: .*no such file or directory"),
        ({"chain": "."}, r"join\.chain='\.': is no chain: .*holds no ledger\.jsonl"),
    ],
)
def test_a_chain_that_cannot_be_joined_is_refused_before_any_work(first, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(Path(first.rows[0].store_dir))
    config = small(tmp_path, name="late", join=JoinConfig(**{"chain": str(first.directory), **options}))
    monkeypatch.setattr(loop, "follow", None)
    with pytest.raises(ConfigError, match=said):
        loop.run_chain(config, Console(quiet=True))


@pytest.mark.parametrize("wrong", [{"ratio": 1.5}, {"ratio": -0.1}, {"generation": -1}, {"samples_of": "some"}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        c.checked(JoinConfig(chain="x", **wrong))


def test_options_without_a_chain_are_refused():
    with pytest.raises(ConfigError, match=r"join\.chain=None: which chain is joined"):
        composed("join.generation=3")


def test_other_data_are_refused(first, newcomer):
    other = replace(with_reserve(40), split_seed=1)
    with pytest.raises(
        DataError, match=r"has 20 images of shape \(3, 8, 8\), that of this chain 20 images .* same data"
    ):
        newcomer({"data": other}, generation=1)
    with pytest.raises(DataError, match=r"that of this chain 20 images of shape \(3, 16, 16\)"):
        newcomer({"data": replace(with_reserve(40), resolution=16)}, generation=1)


def test_too_few_samples_are_refused(newcomer, tmp_path):
    few = ran(tmp_path, name="few", num_samples=16)
    with pytest.raises(ConfigError, match=r"join\.ratio=0\.9: takes 18 samples of generation 1, which has 16"):
        newcomer({"join": joining(few, generation=1, ratio=0.9)})


def test_lost_and_changed_samples_are_refused(first, newcomer):
    folder = Path(first.rows[1].store_dir) / first.rows[1].artifacts["samples"]
    items = np.load(folder / "items.npy")
    np.save(folder / "items.npy", items[::-1])
    with pytest.raises(DataError, match=r"does not hold the samples items of generation 1 .* were changed"):
        newcomer(generation=1)
    shutil.rmtree(folder.parent)
    with pytest.raises(DataError, match=r"samples items of generation 1 of .* are not in .* any more"):
        newcomer(generation=1)


def test_an_oracle_finds_exactly_what_is_not_real(newcomer):
    late = newcomer({"vetting": OracleConfig()}, generation=2, ratio=0.3)
    row = late.rows[0]
    assert [row.vetting[name] for name in ("num_synthetic_dropped", "num_real_dropped", "num_kept")] == [6, 0, 14]
    assert row.vetting["effective_ratio"] == 0 and row.vetting["per_generation"]["-2"] == {"num": 6, "num_dropped": 6}
    assert late.rows[1].vetting["num_real_dropped"] == 0 and late.rows[1].vetting["effective_ratio"] == 0
    assert audit.main([str(late.directory)]) == 0


def test_refilling_takes_what_the_newcomer_takes_for_real(newcomer):
    vetting = OracleConfig(true_positive_rate=0.0, false_positive_rate=1.0, refill=True)
    late = newcomer({"vetting": vetting, "mixing": c.BlendConfig(synthetic_ratio=0.6)}, generation=2, ratio=0.5)
    pool = stored(late, 0, "join", "pool")
    trained_on = Composition.load(Path(late.rows[1].store_dir) / late.rows[1].artifacts["train"])
    assert {part.pool.id for part in trained_on.parts} == {pool.id, stored(late, 0, "samples").id}
    assert late.rows[1].vetting["num_refilled"] > 0 and audit.main([str(late.directory)]) == 0


@pytest.mark.parametrize("refit", [False, True])
def test_a_detector_judges_generation_0_by_the_first_mover_of_a_clean_world(first, newcomer, refit):
    rule = DetectorConfig(false_positive_rate=0.1, num_calibration=40, refit=refit)
    late = newcomer({"vetting": rule}, generation=2, ratio=0.3)
    reserve = features(stored(first, 0, "real", "reserve").items)
    every = [Pool.load(path.parent) for path in (Path(late.rows[0].store_dir) / "sample").rglob("pool/items.npy")]
    (mover,) = [pool for pool in every if pool.records.seed[0] == derive_seed(1000, 0, "sample", 0)]
    both = np.concatenate([reserve[:20], features(mover.items)])
    model = fit_classifier(both, np.repeat([0, 1], [20, len(mover)]), 2)
    threshold = threshold_at(model.log_odds(reserve[20:]), 0.1)
    scores = model.log_odds(features(stored(late, 0, "join", "pool").items))
    kept = np.load(Path(late.rows[0].store_dir) / late.rows[0].artifacts["vet"] / "kept.npy")
    np.testing.assert_array_equal(kept, scores <= threshold)
    assert late.rows[0].vetting["num_synthetic_dropped"] == (scores[14:] > threshold).sum()
    (trained,) = {
        path.parent
        for path in (Path(late.rows[0].store_dir) / "train").rglob("composition.npz")
        if json.loads((path.parent / "composition.json").read_text())["pools"][0]["id"]
        == stored(first, 0, "real", "train").id
        and path.parent.name != Path(first.rows[0].artifacts["train"]).name
        and len(Composition.load(path.parent).parts) == 1
    }
    assert len(Composition.load(trained)) == NUM_REAL
    assert audit.main([str(late.directory)]) == 0


def test_a_detector_in_the_network_of_generation_0_is_refused(first, tmp_path):
    own = c.MetricsConfig(feature_space="own_network", num_images=16, scores=["frechet"])
    with pytest.raises(ConfigError, match="a newcomer's generation 0 is vetted before its network is trained"):
        loop.run_chain(
            small(
                tmp_path,
                metrics=own,
                vetting=DetectorConfig(false_positive_rate=0.1, num_calibration=40),
                data=with_reserve(40),
                join=joining(first, generation=1),
            ),
            Console(quiet=True),
        )


def test_the_audit_gathers_it_again(first, newcomer):
    late = newcomer(generation=2, ratio=0.3)
    row, store = late.rows[0], Path(late.rows[0].store_dir)

    def problems(**joined: Any) -> list[str]:
        return audit.audit_row(replace(row, joined={**row.joined, **joined}), store, {})

    assert problems() == []
    assert problems(num_samples=5) == ["num_samples is 5 in the ledger and 6 by recount"]
    assert "it counts 6 samples among its 20 items as real" in problems(ratio=0.5)
    none = {**row.config, "join": {**row.config["join"], "ratio": 0.0}}
    assert "ratio is 0.3 in the ledger and 0.0 by recount" in audit.audit_row(replace(row, config=none), store, {})
    asked = {**row.config, "join": {**row.config["join"], "generation": 1}}
    found = audit.audit_row(replace(row, config=asked), store, {})
    assert "it counts samples of generations [-1, 2] as real" in found
    folder = store / row.artifacts["join"] / "pool"
    pool = Pool.load(folder)
    changed = np.array(pool.items)
    changed[0, 0, 0, 0] ^= 1
    np.save(folder / "items.npy", changed)
    assert "what it takes for real is not what was drawn for it" in problems()
    hidden = dict(np.load(folder / "records.npz"))
    hidden["generation"][:] = REAL
    np.savez(folder / "records.npz", **hidden)
    assert "its records do not say which items are samples that it takes for real" in problems()
    bare = replace(row, artifacts={k: v for k, v in row.artifacts.items() if k != "join"})
    assert any("joins" in problem and "left no result" in problem for problem in audit.audit_row(bare, store, {}))


def test_a_plan_knows_what_a_newcomer_has_trained(first, newcomer, tmp_path):
    late = newcomer(generation=2, ratio=0.3)
    config = small(
        tmp_path, name="late", num_generations=2, data=with_reserve(40), join=joining(first, generation=2, ratio=0.3)
    )
    found = plan.plan([config])
    assert found.missing == set() and list(found.trainings) == [
        f"train/{Path(r.artifacts['train']).name}" for r in late.rows
    ]
    other = plan.plan([replace(config, join=joining(first, generation=2, ratio=0.4))])
    assert len(other.to_do(list(other.trainings))) == 2


def test_a_gaussian_fitted_by_a_newcomer_has_the_moments_of_its_pool(tmp_path):
    """Of a share r of samples of N(m, C) and 1 − r real points of mean μ and covariance Σ: the mean is r m + (1 − r) μ,
    the covariance r C + (1 − r) Σ + r (1 − r) (m − μ)(m − μ)ᵀ, with the moments of the points themselves."""
    settings: dict[str, Any] = {
        "data": c.checked(PointsConfig(dimension=2, num_train=200, num_heldout=50)),
        "generator": gaussian.Config(estimator="maximum_likelihood"),
        "mixing": c.ReplaceConfig(),
        "metrics": c.MetricsConfig(feature_space="identity", num_images=50, scores=["frechet"]),
    }
    directory = loop.run_chain(small(tmp_path, name="first", **settings), Console(quiet=True))
    join = JoinConfig(chain=str(directory), generation=2, ratio=0.25)
    late = loop.run_chain(small(tmp_path, name="late", **settings | {"join": join}), Console(quiet=True))
    (first,), (chain,) = ledger.read_runs([directory]), ledger.read_runs([late])
    real = stored(first, 0, "real", "train").items[np.sort(order(5, REAL, 200)[50:])]
    made = stored(first, 2, "samples").items[order(5, 2, 400)[:50]]
    (mu, sigma), (m, covariance) = ((x.mean(axis=0), np.cov(x.T, ddof=0)) for x in (real, made))
    mean, factor = gaussian.load(Path(chain.rows[0].store_dir) / chain.rows[0].artifacts["model"])
    np.testing.assert_allclose(mean, 0.25 * m + 0.75 * mu)
    between = 0.25 * 0.75 * np.outer(m - mu, m - mu)
    np.testing.assert_allclose(factor @ factor.T, 0.25 * covariance + 0.75 * sigma + between)
    assert audit.main([str(late)]) == 0
