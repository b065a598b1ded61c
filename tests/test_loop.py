"""Whole chains, shrunk: what is recorded, what repeats, what is shared, what the audit notices."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shrunk import TINY, composed

from bench import audit, ledger
from bench.composition import Composition
from bench.console import Console
from bench.errors import BenchError, DataError
from bench.ledger import Row
from bench.loop import run_chain
from bench.pool import Pool


def run(*overrides: str) -> list[Row]:
    return ledger.read(run_chain(composed(*overrides), Console()) / "ledger.jsonl")


def samples(row: Row) -> Pool:
    return Pool.load(Path(row.store_dir) / row.artifacts["samples"])


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
        assert len(pool) == 24
        assert set(pool.records.generation.tolist()) == {row.generation}
        assert len(set(pool.records.seed.tolist())) == 24
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
        np.testing.assert_array_equal(samples(a).images, samples(b).images)
        assert a.scores == b.scores
        assert a.artifacts == b.artifacts
    other = run(*tiny, "num_generations=1", "seed=1")
    assert (samples(other[0]).images != samples(one[0]).images).any()


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


@pytest.fixture
def finished(tiny) -> tuple[Path, list[Row]]:
    directory = run_chain(composed(*tiny, "num_generations=3", "mixing.synthetic_ratio=0.5"), Console())
    return directory, ledger.read(directory / "ledger.jsonl")


def test_audit_recounts_every_policy(tiny, tmp_path, capsys):
    overrides = [*tiny, "num_generations=3", "num_samples=24", "data.num_reserve=40", "name=audited"]
    for mixing in ("replace", "blend", "augment", "accumulate", "accumulate_subsample", "window", "fresh"):
        run(*overrides, f"mixing={mixing}")
    assert audit.main([str(tmp_path / "outputs" / "audited")]) == 0
    assert "7 chains, 21 generations audited: 0 mismatches" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["synthetic_ratio", "num_real", "num_synthetic", "num_distinct", "num_fresh"])
def test_audit_notices_a_wrong_number(finished, key, capsys):
    directory, _ = finished
    lines = (directory / "ledger.jsonl").read_text().splitlines()
    row = json.loads(lines[1])
    row["composition"][key] = 0.51
    lines[1] = json.dumps(row)
    (directory / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    assert audit.main([str(directory)]) == 1
    assert f"generation 1: {key} is 0.51" in capsys.readouterr().out


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
    (directory / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert audit.main([str(directory)]) == 1
    assert said in capsys.readouterr().out


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
    assert "generation 2: trained on 12 images of the held-out pool" in capsys.readouterr().out


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


def test_a_failed_chain_is_named_and_the_others_run(tmp_path):
    command = [sys.executable, "-m", "bench", "-m", *TINY, f"output_dir={tmp_path}/o", "name=s", "num_generations=2"]
    done = subprocess.run(
        [*command, "mixing=blend,fresh,replace"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 1
    assert "1 chain(s) of this sweep failed" in done.stderr
    assert "mixing=fresh" in done.stderr
    assert "DataError: generation 1 needs fresh real images" in done.stderr
    assert len(ledger.read_runs([tmp_path / "o" / "s"])) == 2
    again = subprocess.run(
        [*command, "mixing=blend,replace"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("from the store") == 4
