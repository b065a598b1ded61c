"""Whole chains, shrunk: what each stage is handed, what is recorded, what repeats, what the audit notices."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import configs as c
import echo
import numpy as np
import pytest
import scoring
from echo import Echo, Lines, N, small
from shrunk import TINY, composed

from bench import audit, ledger, loop
from bench.composition import Composition, PoolRef
from bench.config import Config, chain_id, to_dict
from bench.datasets import RealData, load_real
from bench.errors import BenchError, ConfigError, DataError, StoreError
from bench.ledger import Row
from bench.loop import begin, run_chain
from bench.machine import distributed
from bench.machine.console import Console
from bench.machine.device import resolve_runtime
from bench.mixing import compose, resolve
from bench.mixing.shared.history import History
from bench.pool import REAL, Pool
from bench.selection.random import Config as RandomSelection
from bench.store import Store, result_files
from bench.tracking import trackers


def run(*overrides: str) -> list[Row]:
    return ledger.read(run_chain(composed(*overrides), Console()) / "ledger.jsonl")


def samples(row: Row) -> Pool:
    return Pool.load(Path(row.store_dir) / row.artifacts["samples"])


# ------------------------------------------------------------------------- chains of stand-ins: who is handed what


@dataclass(frozen=True)
class Run:
    """A finished chain of stand-ins, what they were asked, and what was said."""

    config: Config
    echo: Echo
    rows: list[Row]
    said: list[str]

    def folder(self, generation: int, artifact: str) -> Path:
        return Path(self.config.store_dir).resolve() / self.rows[generation].artifacts[artifact]

    @cached_property
    def real(self) -> RealData:
        return load_real(self.config.data)

    @cached_property
    def samples(self) -> list[Pool]:
        return [samples(row) for row in self.rows]


COMPARISONS = ("frechet", "kernel", "manifold")


@pytest.fixture
def play(tmp_path, monkeypatch) -> Callable[..., Run]:
    def run_one(**changes: Any) -> Run:
        config, console = small(tmp_path, **changes), Lines()
        stand_in = Echo(monkeypatch)
        rows = ledger.read(run_chain(config, console) / ledger.FILENAME)
        return Run(config, stand_in, rows, console.lines)

    return run_one


WITH_RESERVE = c.ProceduralConfig(resolution=echo.SIDE, num_train=20, num_heldout=24, num_reserve=60, num_calibration=0)
POLICIES = {
    "replace": c.ReplaceConfig(),
    "blend": c.BlendConfig(synthetic_ratio=0.4),
    "schedule": c.BlendConfig(synthetic_ratio=[0.2, 0.95, 0.5], real_part="fixed"),
    "augment": c.AugmentConfig(synthetic_per_real=0.7),
    "accumulate": c.AccumulateConfig(),
    "accumulate_subsample": c.AccumulateSubsampleConfig(),
    "window": c.WindowConfig(synthetic_ratio=0.8, num_generations=2),
    "fresh": c.FreshConfig(synthetic_ratio=[0.5, 0.1, 0.9]),
    "real_only": c.RealOnlyConfig(synthetic_ratio=[0.5, 0.1, 0.9]),
}


@pytest.mark.parametrize("name", POLICIES)
def test_each_generation_trains_on_what_its_policy_says_and_the_ledger_counts_it(name, play):
    run = play(mixing=POLICIES[name], data=WITH_RESERVE, num_samples=22)
    real = run.real
    assert real.reserve is not None
    origin = {image.tobytes(): "train" for image in real.train.items}
    origin |= {image.tobytes(): "reserve" for image in real.reserve.items}
    refs: tuple[PoolRef, ...] = ()
    for generation, (row, given) in enumerate(zip(run.rows, run.echo.fits, strict=True)):
        counted = Counter(origin[image.tobytes()] for image in given.images)  # a KeyError: held out, or of the future
        births = Counter({"-1": counted["train"] + counted["reserve"]})
        births.update({str(g): counted[str(g)] for g in range(generation)})
        num_real, num = births["-1"], len(given.images)
        expected = {
            "num_real": num_real,
            "num_synthetic": num - num_real,
            "num_fresh": counted["reserve"],
            "num_distinct": len({image.tobytes() for image in given.images}),
            "synthetic_ratio": 1 - num_real / num,
            "synthetic_per_real": (num - num_real) / 20,
            "real_retained": counted["train"] / 20,
        }
        said = dict(row.composition)
        assert said.pop("per_generation") == {birth: count for birth, count in births.items() if count}
        assert said == pytest.approx(expected)
        history = History(
            generation, PoolRef.of(real.train, REAL), PoolRef.of(real.reserve, REAL), refs, budget=20, seed=5
        )
        planned = compose(resolve(run.config.mixing), history)
        assert Composition.load(run.folder(generation, "train")).id == planned.id
        by_id = {pool.id: pool for pool in (real.train, real.reserve, *run.samples[:generation])}
        np.testing.assert_array_equal(given.images, planned.items(by_id)[np.arange(len(planned))])
        pool = run.samples[generation]
        refs = (*refs, PoolRef.of(pool, generation))
        origin |= {image.tobytes(): str(generation) for image in pool.items}


def test_each_generation_is_sampled_from_its_own_model_with_noise_of_its_own(play):
    run = play()
    assert [given.model for given in run.echo.samplings] == [run.folder(g, "model") for g in range(4)]
    assert len({row.artifacts["model"] for row in run.rows}) == 4
    seeds: list[int] = []
    for generation, pool in enumerate(run.samples):
        assert set(pool.records.generation.tolist()) == {generation}
        for image, seed in zip(pool.items, pool.records.seed, strict=True):
            np.testing.assert_array_equal(image, echo.picture(run.folder(generation, "model"), seed))
        seeds += pool.records.seed.tolist()
    assert len(set(seeds)) == 4 * 40
    other = play(seed=6)
    assert not {seed for pool in other.samples for seed in pool.records.seed.tolist()} & set(seeds)


def test_probes_are_of_the_same_noise_in_every_generation(play):
    run = play()
    asked = [given.seeds.tolist() for given in run.echo.samplings]
    own = [set(pool.records.seed.tolist()) for pool in run.samples]
    probes = [[seed for seed in seeds if seed not in mine] for seeds, mine in zip(asked, own, strict=True)]
    assert all(seeds == probes[0] for seeds in probes) and len(probes[0]) == 3
    for generation in range(4):
        shown = np.load(run.folder(generation, "probes"), allow_pickle=False)
        model = run.folder(generation, "model")
        np.testing.assert_array_equal(shown, [echo.picture(model, seed) for seed in probes[0]])


def test_each_generation_trains_with_a_seed_of_its_own(play):
    seeds = [given.seed for run in (play(), play(seed=6)) for given in run.echo.fits]
    assert len(set(seeds)) == 8


def test_a_cold_chain_never_and_a_warm_one_always_goes_on_from_the_model_before(play):
    cold = play(num_generations=3)
    assert [given.init for given in cold.echo.fits] == [None] * 3
    first = play(num_generations=2, warm_start=True)  # interrupted, and then taken up again
    run = play(warm_start=True)
    models = [run.folder(g, "model") for g in range(4)]
    assert [given.init for given in (*first.echo.fits, *run.echo.fits)] == [models[0], *models[1:3]]
    assert models[0] == cold.folder(0, "model")
    assert models[1] != cold.folder(1, "model")


def test_samples_are_scored_against_held_out_images_and_what_they_were_trained_on(play):
    metrics = c.MetricsConfig(
        feature_space="echo:pixels",
        num_images=N,
        scores=["frechet", "manifold", "copying"],
        references=["heldout", "real_train", "training"],
    )
    run = play(metrics=metrics, mixing=c.BlendConfig(synthetic_ratio=0.5), num_generations=3)
    heldout, train = (echo.features(pool.items) for pool in (run.real.heldout, run.real.train))
    for row, pool, given in zip(run.rows, run.samples, run.echo.fits, strict=True):
        subject, training = echo.features(pool.items[:N]), echo.features(given.images)
        expected = scoring.score(subject, heldout[:N], metrics, training=training)
        expected += scoring.score(subject, train[:N], metrics, reference="real_train", families=COMPARISONS)
        expected += scoring.score(train[:N], heldout[:N], metrics, subject="real_train")
        got = {ledger.score_key(s): s for s in row.scores}
        assert len(got) == len(row.scores)
        for score in expected:
            found = got[ledger.score_key(score)]
            assert found["value"] == pytest.approx(score["value"], rel=1e-6), score
            assert found.get("num_training") == score.get("num_training")


def test_as_many_samples_as_asked_for_or_else_twice_as_many_as_real_images(play):
    assert [len(pool) for pool in play(num_generations=2).samples] == [40, 40]
    assert [len(pool) for pool in play(num_generations=2, num_samples=27).samples] == [27, 27]
    assert [len(pool) for pool in play(num_generations=2, num_samples=16, mixing=POLICIES["blend"]).samples] == [16, 16]


def test_a_selection_keeps_as_many_as_before_so_that_it_stays_as_strict(play):
    run = play(num_generations=2, selection=RandomSelection(num_candidates=30))
    assert [len(pool) for pool in run.samples] == [20, 20]
    counts = {"rule": "random", "num_candidates": 30, "num_kept": 20}
    assert [row.selection for row in run.rows] == [counts | {"seconds": row.selection["seconds"]} for row in run.rows]
    assert all(row.selection["seconds"] >= 0 for row in run.rows)


def test_a_chain_taken_up_again_makes_only_what_is_missing_and_ends_the_same(play):
    begun = play(num_generations=2)
    longer = play()
    assert [len(part.echo.fits) for part in (begun, longer)] == [2, 2]
    assert longer.rows[:2] == begun.rows
    said = [("from the store" in line) for line in longer.said]
    assert said == [True, True, False, False]
    apart = play(store_dir=longer.config.store_dir + "-of-its-own", name="apart")
    assert len(apart.echo.fits) == 4
    assert [row.artifacts for row in apart.rows] == [row.artifacts for row in longer.rows]
    assert [row.scores for row in apart.rows] == [row.scores for row in longer.rows]


def test_a_generation_of_which_one_stage_was_made_is_not_called_stored(play):
    metrics = small(Path("unused")).metrics
    first = play(num_generations=1)
    again = play(num_generations=1, metrics=replace(metrics, k=2))
    assert not again.echo.fits and again.rows[0].artifacts["train"] == first.rows[0].artifacts["train"]
    assert len(again.said) == 1 and "from the store" not in again.said[0]


def test_the_ledger_names_the_results_of_each_generation(play):
    run = play(num_generations=3, data=WITH_RESERVE)
    store = Store(Path(run.config.store_dir))
    for generation, (row, given) in enumerate(zip(run.rows, run.echo.fits, strict=True)):
        assert row.generation == generation
        assert {name: row.artifacts[name].split("/")[0] for name in ("real", "train", "sample", "score")} == {
            name: name for name in ("real", "train", "sample", "score")
        }
        assert Pool.load(run.folder(generation, "real") / "train").id == run.real.train.id
        assert row.train == {"num_steps": given.config.training.num_steps}
        assert row.sample["num_images"] == 40
        assert row.wall_seconds < 60
        assert row.config == to_dict(run.config) and row.chain == chain_id(run.config)
    assert store.root == run.folder(0, "real").parents[2]


def test_whoever_watches_is_told_where_the_chain_is(tmp_path, monkeypatch):
    places: list[str] = []
    console, config = Lines(), small(tmp_path, num_generations=2)

    class Watched(Echo):
        def fit(self, *arguments: Any, **given: Any) -> dict[str, Any]:
            places.append(console.where)
            return super().fit(*arguments, **given)

    Watched(monkeypatch)
    run_chain(config, console)
    assert places == [f"{chain_id(config)} · generation {g} of 1" for g in range(2)]
    assert [f"generation {g}:" in line for g, line in enumerate(console.lines)] == [True, True]


class Told:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.opened: list[tuple[Any, ...]] = []
        self.generations: list[tuple[Row, np.ndarray]] = []
        self.losses: list[tuple[int, int, int, float]] = []

    @contextmanager
    def mirror(self, *arguments: Any) -> Any:
        self.opened.append(arguments)
        yield self

    def log_generation(self, row: Row, probes: np.ndarray) -> None:
        self.generations.append((row, probes))

    def log_loss(self, generation: int, done: int, total: int, loss: float) -> None:
        self.losses.append((generation, done, total, loss))


@pytest.mark.parametrize("first", [True, False])
def test_only_the_first_of_several_processes_records_and_mirrors(first, tmp_path, monkeypatch):
    told, settings = Told(), c.TrackingConfig(project="mine")
    Echo(monkeypatch)
    monkeypatch.setattr(trackers, "mirror", told.mirror)
    monkeypatch.setattr(distributed, "is_first", lambda: first)
    config = small(tmp_path, num_generations=2, tracking=settings)
    directory = run_chain(config, Lines())
    whose = settings if first else c.TrackingConfig()
    assert told.opened == [(whose, chain_id(config), "echo", to_dict(config), directory)]
    assert [row.generation for row, _ in told.generations] == [0, 1]
    assert told.losses == [(0, 4, 4, 0.5), (1, 4, 4, 0.5)]  # while it trains
    for row, probes in told.generations:
        stored = np.load(Path(row.store_dir) / row.artifacts["probes"], allow_pickle=False)
        np.testing.assert_array_equal(probes, stored)
    assert (directory / ledger.FILENAME).exists() == first
    assert (directory / "probes").exists() == first
    if first:
        assert ledger.read(directory / ledger.FILENAME) == [row for row, _ in told.generations]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"mixing": c.FreshConfig(synthetic_ratio=0.0)},
            "generation 1 needs fresh real images 0…19, but the reserve has 0",
        ),
        ({"mixing": c.AugmentConfig(synthetic_per_real=[1.0, 1.0, 2.1])}, "generation 3 needs 42 images"),
        ({"mixing": c.CustomMixingConfig(function="nowhere:policy")}, r"mixing\.function"),
        ({"runtime": c.RuntimeConfig(device="cuda:99")}, r"runtime\.device"),
    ],
)
def test_what_a_later_generation_will_lack_is_said_before_the_first_one_trains(changes, error, tmp_path, monkeypatch):
    stand_in = Echo(monkeypatch)
    if "runtime" in changes:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BenchError, match=error):
        run_chain(small(tmp_path, **changes), Lines())
    assert not stand_in.fits


def test_what_needs_no_data_is_checked_before_the_data_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(loop.stages, "real_data", lambda *_: pytest.fail("read the data"))
    base = small(tmp_path)
    absent = replace(base.metrics, feature_space="efficientnet_lite0", weights=str(tmp_path / "nowhere.pt"))
    with pytest.raises(BenchError, match=r"nowhere\.pt"):
        run_chain(replace(base, metrics=absent), Lines())
    narrow = replace(base.generator, unet=c.UNetConfig([8, 8, 8, 8, 8], [False] * 5, layers_per_block=1))
    with pytest.raises(ConfigError, match=r"generator\.unet\.channels"):
        run_chain(replace(base, generator=narrow), Lines())
    (tmp_path / "a-file").write_text("")
    with pytest.raises(ConfigError, match=r"output_dir=.*cannot be written to"):
        run_chain(replace(base, output_dir=str(tmp_path / "a-file")), Lines())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"num_samples": 10**11}, "num_samples=100000000000: samples and probes take .* GB of memory"),
        (
            {"data": c.ProceduralConfig(resolution=echo.SIDE, num_train=10**11)},
            "100000001024 items take .* GB of memory",
        ),
    ],
)
def test_what_cannot_fit_into_memory_is_said_before_training(tmp_path, monkeypatch, changes, error):
    stand_in = Echo(monkeypatch)
    with pytest.raises(DataError, match=error):
        run_chain(small(tmp_path, **changes), Lines())
    assert not stand_in.fits


def test_an_output_folder_that_is_full_is_said(tmp_path, monkeypatch):
    Echo(monkeypatch)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "record", full)
    with pytest.raises(StoreError, match=r"echo/.* cannot be written to .*No space left on device.*the same command"):
        run_chain(small(tmp_path), Lines())


@pytest.mark.parametrize("name", ["x" * 256, "ü" * 101, "a\nb", "nul\0"])
def test_a_name_that_no_file_system_takes_is_said(tmp_path, name):
    with pytest.raises(ConfigError, match="must be at most 200 bytes that can be printed"):
        small(tmp_path, name=name)


@pytest.mark.parametrize("channels", [[], [8] * 9, [8, 10**9 * 8]])
def test_a_network_of_no_or_enormous_size_is_said(channels):
    with pytest.raises(ConfigError, match=r"channels=.*must (not be empty|have at most 8 levels)"):
        c.checked(c.UNetConfig(channels, [False] * len(channels)), "generator.unet")


def test_a_chain_begins_with_real_images_and_nothing_else(tmp_path):
    config = replace(small(tmp_path), data=c.NpzConfig(path="unread.npz", num_train=None, num_heldout=24), seed=9)
    pools = [load_real(replace(WITH_RESERVE, num_train=n)).train for n in (N, N - 1)]
    reserve = pools[1]
    with_reserve = begin(config, RealData(pools[0], pools[1], reserve))
    assert with_reserve == History(0, PoolRef.of(pools[0], -1), PoolRef.of(reserve, -1), (), budget=N, seed=9)
    assert begin(config, RealData(pools[0], pools[1], None)).reserve is None
    with pytest.raises(
        ConfigError, match=r"metrics\.num_images=16: the floor needs as many real items, but there are 15"
    ):
        begin(config, RealData(pools[1], pools[0], None))


# --------------------------------------------------------------------------------------------- with real networks


def test_a_chain_records_what_is_needed_to_cite_it(tiny, tmp_path):
    rows = run(*tiny, "num_generations=3", "mixing.synthetic_ratio=0.25", "name=cite")
    assert [row.generation for row in rows] == [0, 1, 2]
    assert [row.composition["synthetic_ratio"] for row in rows] == [0.0, 0.25, 0.25]
    assert rows[2].composition["per_generation"] == {"-1": 18, "1": 6}
    for row in rows:
        keys = {(s["metric"], s["subject"], s["reference"]) for s in row.scores}
        assert {("fid", "samples", "heldout"), ("fid", "real_train", "heldout")} <= keys
        assert {("precision", "samples", "heldout"), ("recall", "samples", "heldout")} <= keys
        assert all(s["num_subject"] == s["num_reference"] == 16 for s in row.scores if s["reference"] == "heldout")
        assert row.train["images_seen"] == 4 * 8
        assert row.environment["versions"]["torch"]
        assert row.config["generator"]["training"]["num_steps"] == 4
        pool = samples(row)
        assert len(pool) == 48
        assert set(pool.records.generation.tolist()) == {row.generation}
        assert len(set(pool.records.seed.tolist())) == 48
        probes = np.load(Path(row.store_dir) / row.artifacts["probes"], allow_pickle=False)
        assert probes.shape == (2, 3, 16, 16)
    chain = next((tmp_path / "outputs" / "cite").iterdir())
    assert (chain / "probes" / "generation_0002.png").exists()


def test_the_same_command_again_only_reads(tiny):
    first = run(*tiny, "num_generations=2")
    again = run(*tiny, "num_generations=2")
    assert [row.finished_at for row in again] == [row.finished_at for row in first]
    longer = run(*tiny, "num_generations=3")
    assert longer[:2] == first
    assert len(longer) == 3


def test_same_seed_gives_the_same_bytes_and_sampling_batch_size_changes_none(tiny, tmp_path):
    one = run(*tiny, "num_generations=2")
    two = run(*tiny, f"output_dir={tmp_path}/elsewhere", "num_generations=2", "generator.sampling.batch_size=5")
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(samples(a).items, samples(b).items)
        assert a.scores == b.scores
        assert a.artifacts == b.artifacts
    other = run(*tiny, "num_generations=1", "seed=1")
    assert (samples(other[0]).items != samples(one[0]).items).any()


def test_chains_share_what_is_equal(tiny):
    half = run(*tiny, "num_generations=2", "mixing.synthetic_ratio=0.5")
    full = run(*tiny, "num_generations=2", "mixing.synthetic_ratio=1")
    replace = run(*tiny, "num_generations=2", "mixing=replace")
    assert half[0].artifacts == full[0].artifacts
    assert half[1].artifacts["train"] != full[1].artifacts["train"]
    assert full[1].artifacts == replace[1].artifacts
    other_metric = run(*tiny, "num_generations=2", "mixing=replace", "metrics.k=2")
    assert other_metric[1].artifacts["train"] == replace[1].artifacts["train"]
    assert other_metric[1].artifacts["score"] != replace[1].artifacts["score"]


def test_warm_start_goes_on_from_the_previous_weights(tiny):
    cold = run(*tiny, "num_generations=2", "mixing=replace")
    warm = run(*tiny, "num_generations=2", "mixing=replace", "warm_start=true", "retrain_epochs=2")
    assert warm[0].artifacts["train"] == cold[0].artifacts["train"]
    assert warm[1].artifacts["train"] != cold[1].artifacts["train"]
    assert warm[1].train["num_steps"] == 2 * 24 // 8


def test_epochs_are_counted_over_the_composition(tiny):
    rows = run(*tiny, "num_generations=2", "mixing=accumulate", "generator.training.num_epochs=1")
    assert [row.train["num_steps"] for row in rows] == [3, 6]


def test_what_cannot_work_is_said_before_training(tiny, tmp_path):
    with pytest.raises(DataError, match="generation 1 needs fresh real images"):
        run(*tiny, "mixing=fresh", "num_generations=3")
    with pytest.raises(DataError, match="num_samples"):
        run(*tiny, "mixing=augment", "mixing.synthetic_per_real=[0.5,3]", "num_generations=3")
    with pytest.raises(BenchError, match=r"data\.resolution"):
        run(*tiny, "data.resolution=15")
    assert not list((tmp_path / "outputs" / "store").glob("train/*/*"))


# ------------------------------------------------------------------------------------------------------------ audit


@pytest.fixture
def finished(play) -> tuple[Path, list[Row]]:
    run = play(num_generations=3, mixing=c.BlendConfig(synthetic_ratio=0.5), seed=0)
    return Path(run.config.output_dir) / "echo" / run.rows[0].chain, run.rows


def test_audit_recounts_every_policy(play, tmp_path, capsys):
    for policy in POLICIES.values():
        play(mixing=policy, data=WITH_RESERVE, num_samples=22)
    assert audit.main([str(tmp_path / "echo")]) == 0
    assert "9 chains, 36 generations audited: 0 mismatches" in capsys.readouterr().out


def test_audit_has_nothing_to_say_of_an_empty_folder(tmp_path, capsys):
    assert audit.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error:")


def change_records(pool: Path, **columns: Any) -> None:
    """Rewrites the records of a stored pool; each column: a function of the one that is there."""
    with np.load(pool / "records.npz", allow_pickle=False) as stored:
        records = {name: stored[name] for name in stored}
    np.savez(
        pool / "records.npz", allow_pickle=False, **records | {k: change(records[k]) for k, change in columns.items()}
    )


def audited(directory: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert audit.main([str(directory)]) == 1
    return capsys.readouterr().out


def test_audit_counts_from_the_records_of_the_images(finished, capsys):
    directory, rows = finished
    change_records(samples_folder(rows[0]), generation=lambda births: np.full_like(births, REAL))
    said = audited(directory, capsys)
    assert "generation 1: num_real is 10 in the ledger and 20 by recount" in said
    assert "generation 1: per_generation is {'-1': 10, '0': 10} in the ledger and {'-1': 20} by recount" in said
    assert "generation 2: num_real" not in said


@pytest.mark.parametrize("birth", [1, 2])
def test_audit_notices_images_of_the_own_and_of_a_later_generation(finished, birth, capsys):
    directory, rows = finished
    change_records(samples_folder(rows[0]), generation=lambda births: np.full_like(births, birth))
    assert "generation 1: trained on items of its own or of a later generation" in audited(directory, capsys)


def test_audit_notices_held_out_images_under_their_names(finished, capsys):
    directory, rows = finished
    real = Path(rows[0].store_dir) / rows[0].artifacts["real"]
    trained = Pool.load(real / "train").records.source_id
    change_records(real / "heldout", source_id=lambda names: np.concatenate([trained[:1], names[1:]]))
    said = audited(directory, capsys)
    assert f"generation 0: trained on 1 held-out items, among them {str(trained[0])!r}" in said


def test_audit_goes_on_after_a_generation_that_cannot_be_read(finished, capsys):
    directory, rows = finished
    (Path(rows[1].store_dir) / rows[1].artifacts["train"] / "composition.npz").unlink()
    said = audited(directory, capsys)
    assert "generation 1: cannot be audited" in said
    assert "1 chains, 3 generations audited: 1 mismatches" in said  # its samples can be read: the next one is audited


def test_audit_of_a_generation_whose_predecessor_lost_its_samples(finished, capsys):
    directory, rows = finished
    (samples_folder(rows[1]) / "items.npy").unlink()
    said = audited(directory, capsys)
    assert "generation 1: cannot be audited" in said
    assert "generation 2: trained on 10 items of generation 1, whose samples cannot be read" in said
    assert "another training set" not in said


def samples_folder(row: Row) -> Path:
    return Path(row.store_dir) / row.artifacts["samples"]


@pytest.mark.parametrize(
    "key",
    [
        *("synthetic_ratio", "num_real", "num_synthetic", "num_distinct", "num_fresh"),
        *("synthetic_per_real", "real_retained", "per_generation"),
    ],
)
def test_audit_notices_a_wrong_number(finished, key, capsys):
    directory, _ = finished
    lines = (directory / "ledger.jsonl").read_text().splitlines()
    row = json.loads(lines[1])
    row["composition"][key] = {"-1": 20} if key == "per_generation" else 0.51
    lines[1] = json.dumps({**row, "digest": ledger.digest_of(row)})
    (directory / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    assert audit.main([str(directory)]) == 1
    assert f"generation 1: {key} is {row['composition'][key]}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row.update(seed=7), "seed is 7 in the ledger and 0"),
        (lambda row: row.update(policy="replace"), "policy is 'replace' in the ledger and 'blend'"),
        (lambda row: row["config"]["mixing"].update(synthetic_ratio=0.1), "config_hash is"),
        (lambda row: row["config"]["mixing"].update(real_part="fixed"), "composes another training set"),
        (lambda row: (row.update(seed=7), row["config"].update(seed=7)), "composes another training set"),
    ],
)
def test_audit_notices_a_chain_that_says_it_is_another(finished, change, said, capsys):
    directory, _ = finished
    rows = [json.loads(line) for line in (directory / "ledger.jsonl").read_text().splitlines()]
    for row in rows:
        change(row)
        row["digest"] = ledger.digest_of(row)
    (directory / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert audit.main([str(directory)]) == 1
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("name", ["real", "train", "sample", "score"])
def test_audit_notices_results_that_are_not_those_of_the_row(finished, name, capsys):
    """Whole and sealed, but with other bytes: only the row can say so."""
    directory, rows = finished
    folder = Path(rows[1].store_dir) / rows[1].artifacts[name]
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "note.txt").write_text("made elsewhere")
    manifest["files"]["note.txt"] = result_files._describe(folder / "note.txt")
    manifest["sha256"] = result_files._seal_of(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert audit.main([str(directory)]) == 1
    assert f"its result {rows[1].artifacts[name]} is not the one that was recorded" in capsys.readouterr().out


def test_audit_notices_damage_in_files_that_nothing_counts(finished, capsys):
    directory, rows = finished
    probes = Path(rows[1].store_dir) / rows[1].artifacts["probes"]
    np.save(probes, 255 - np.load(probes))
    assert audit.main([str(directory)]) == 1
    assert "is damaged: probes.npy does not match its checksum" in capsys.readouterr().out


def test_audit_and_report_refuse_a_score_that_was_changed(finished, capsys):
    directory, _ = finished
    body = (directory / "ledger.jsonl").read_text()
    assert '"value": ' in body
    (directory / "ledger.jsonl").write_text(body.replace('"value": ', '"value": 1', 1))
    assert audit.main([str(directory)]) == 2
    assert "line 1: generation 0 was changed after it was written" in capsys.readouterr().err


def test_audit_notices_held_out_images_in_a_training_set(finished, capsys):
    directory, rows = finished
    store = Path(rows[2].store_dir)
    folder = store / rows[2].artifacts["train"]
    heldout = Pool.load(store / rows[2].artifacts["real"] / "heldout")
    composition = Composition.load(folder)
    about = json.loads((folder / "composition.json").read_text())
    about["pools"][0]["id"] = heldout.id
    (folder / "composition.json").write_text(json.dumps(about))
    assert Composition.load(folder).id != composition.id
    assert audit.main([str(directory)]) == 1
    assert "generation 2: trained on 10 items of the held-out pool" in capsys.readouterr().out


def test_a_wrong_value_of_a_sweep_is_named_before_the_first_chain(tmp_path):
    command = [
        sys.executable,
        "-m",
        "bench",
        "-m",
        *TINY,
        f"output_dir={tmp_path}/o",
        "mixing.synthetic_ratio=0,7,0.5,8",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 2
    assert done.stderr.count("error: mixing.synthetic_ratio=") == 2
    assert "=7: must lie in [0, 1]" in done.stderr
    assert not (tmp_path / "o" / "store").exists()


def test_a_failed_chain_is_named_and_the_other_runs(tmp_path):
    command = [sys.executable, "-m", "bench", "-m", *TINY, f"output_dir={tmp_path}/o", "name=s", "num_generations=1"]
    wild = ["generator.training.gradient_clip=1e30", "generator.training.learning_rate=1e25,2e-3"]
    done = subprocess.run([*command, *wild], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 1
    assert "1 chain(s) of this sweep failed" in done.stderr
    assert "generator.training.learning_rate=1e+25" in done.stderr.replace("1e25", "1e+25")
    assert "TrainingError: " in done.stderr
    assert len(ledger.read_runs([tmp_path / "o" / "s"])) == 1
    made = sorted((tmp_path / "o" / "store").glob("[!lw]*/*/*"))
    run_chain(composed(*command[4:], wild[0], "generator.training.learning_rate=2e-3"), Console(quiet=True))
    assert sorted((tmp_path / "o" / "store").glob("[!lw]*/*/*")) == made, "what the other has made is read"


def test_whether_compiling_pays_is_decided_by_the_steps_of_a_training(tmp_path, monkeypatch):
    asked = []

    def resolve(config: Any, num_steps: int | None = None) -> Any:
        asked.append(num_steps)
        return resolve_runtime(config, num_steps)

    monkeypatch.setattr(loop, "resolve_runtime", resolve)
    config = small(tmp_path, num_generations=1)
    run_chain(config, Console())
    assert asked == [config.generator.training.num_steps]
