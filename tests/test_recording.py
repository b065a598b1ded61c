"""From results to a ledger row: every fact in its own field, and a ledger that says only what is so."""

import hashlib
import json
import logging
import multiprocessing
import shlex
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hydra.core.hydra_config import HydraConfig
from PIL import Image
from shrunk import TINY, composed
from test_ledger import make_row as ledger_row

from bench import ledger, recording
from bench.config import Config, chain_id, config_hash
from bench.ledger import Row
from bench.machine import environment
from bench.store import Result, Store

COUNTS = {"num_real": 18, "num_synthetic": 6, "synthetic_ratio": 0.25, "per_generation": {"-1": 18, "1": 6}}
SCORE = ledger_row().scores[0]
RUNTIME_FACTS = {"device": "a device of its own", "precision": "fp32"}


@pytest.fixture
def results(tmp_path: Path) -> dict[str, Result]:
    """One of each stage, no two of which share a fact, a key or a file."""
    store = Store(tmp_path / "store")

    def make(stage: str, scores: list[dict[str, Any]]) -> Result:
        def produce(out: Path, work: Path) -> dict[str, Any]:
            (out / "scores.json").write_text(json.dumps(scores))
            np.save(out / "probes.npy", np.zeros(len(stage)))
            return {"stage": stage, "seconds": float(len(stage))}

        return store.make(stage, {}, produce)

    return {
        stage: make(stage, [{**SCORE, "metric": f"fid_of_{stage}"}]) for stage in ("real", "train", "sample", "score")
    }


@pytest.fixture
def config(tmp_path: Path) -> Config:
    changed = ["name=the_sweep", "seed=5", "data.kind=birds", "mixing=augment", f"store_dir={tmp_path}/elsewhere/../s"]
    return composed(*TINY, *changed, f"output_dir={tmp_path}/outputs")


def row_of(config: Config, results: dict[str, Result], tmp_path: Path, wall_seconds: float = 12.34567) -> Row:
    context: Any = SimpleNamespace(
        store=Store(tmp_path / "store"), runtime=SimpleNamespace(facts=lambda: RUNTIME_FACTS), console=None
    )
    return recording.make_row(config, context, 3, COUNTS, results, wall_seconds)


def test_every_field_of_a_row_holds_its_own_fact(
    config: Config, results: dict[str, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "seed=5", "mixing.function='a b'"])
    config.protocol.deviations = {"seed": [0, 5]}
    row = row_of(config, results, tmp_path)
    assert (row.chain, row.sweep) == (chain_id(config), "the_sweep")
    assert row.chain.startswith("augment-") and "seed5" in row.chain
    assert (row.generation, row.seed) == (3, 5)
    assert (row.policy, row.dataset, row.generator) == ("augment", "birds", "ddpm")
    assert row.composition == COUNTS
    assert [score["metric"] for score in row.scores] == ["fid_of_score"]
    assert row.train == {"stage": "train", "seconds": 5.0}
    assert row.sample == {"stage": "sample", "seconds": 6.0}
    assert row.score == {"stage": "score", "seconds": 5.0}
    assert row.store_dir == str((tmp_path / "s").resolve())
    assert row.config["seed"] == 5 and row.config["mixing"]["policy"] == "augment" and row.config["data"]["resolution"]
    assert row.config_hash == config_hash(config)
    assert row.chain.endswith(row.config_hash[:8])
    protocol = config.protocol
    expected = {"name": protocol.name, "version": protocol.version, "deviations": {"seed": [0, 5]}}
    assert row.protocol == expected
    probes_file = results["sample"].path / "probes.npy"
    assert row.checksums == {
        **{name: result.checksum for name, result in results.items()},
        "probes": hashlib.sha256(probes_file.read_bytes()).hexdigest(),
    }
    assert len(set(row.checksums.values())) == 5
    about = row.environment
    assert about["versions"]["numpy"] == np.__version__ and about["device"] == RUNTIME_FACTS["device"]
    assert shlex.split(about["command"]) == ["python", "-m", "bench", "seed=5", "mixing.function='a b'"]
    assert row.wall_seconds == 12.346
    finished = datetime.fromisoformat(row.finished_at)
    assert finished.utcoffset() == timedelta(0) and abs(datetime.now(UTC) - finished) < timedelta(minutes=5)
    ledger.to_line(row)


def test_artifacts_lead_to_the_files_of_their_own_stage(
    config: Config, results: dict[str, Result], tmp_path: Path
) -> None:
    artifacts = row_of(config, results, tmp_path).artifacts
    assert not [path for path in artifacts.values() if Path(path).is_absolute()]
    found = {name: tmp_path / "store" / path for name, path in artifacts.items()}
    stages = {name: found.pop(name) for name in results}
    assert stages == {name: result.path for name, result in results.items()}
    assert found == {
        "model": results["train"].path / "model",
        "samples": results["sample"].path / "pool",
        "probes": results["sample"].path / "probes.npy",
    }


def test_data_without_a_kind_is_known_by_its_name(results: dict[str, Result], tmp_path: Path) -> None:
    of_any_data = [override for override in TINY if not override.startswith("data.num_calibration")]
    config = composed(*of_any_data, "data=cub200", "data.resolution=16", f"output_dir={tmp_path}/outputs")
    assert row_of(config, results, tmp_path).dataset == config.data.name == "cub200"


def test_the_command_of_a_chain_is_its_own_overrides_within_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "-m", "seed=0,1"])
    task = SimpleNamespace(overrides=SimpleNamespace(task=["seed=1", "name=two words"]))
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: task))
    assert shlex.split(environment.command()) == ["python", "-m", "bench", "seed=1", "name=two words"]


# ------------------------------------------------------------------------------------------------- the record of truth


def probes(value: int) -> np.ndarray:
    return np.full((1, 3, 64, 64), value, np.uint8)


def row(generation: int, result: str, finished_at: str = "then") -> Row:
    return ledger_row(generation, artifacts={"train": f"train/{result}"}, finished_at=finished_at)


def told(path: Path) -> list[tuple[int, str, str]]:
    return [(r.generation, r.artifacts["train"].split("/")[1], r.finished_at) for r in ledger.read(path)]


def test_a_generation_from_the_same_results_stays_as_it_was(tmp_path: Path) -> None:
    for generation in (0, 1):
        recording.record(tmp_path, row(generation, "a"), probes(generation))
    before = (tmp_path / "ledger.jsonl").read_bytes()
    recording.record(tmp_path, row(0, "a", "now"), probes(0))
    recording.record(tmp_path, row(1, "a", "now"), probes(1))
    assert (tmp_path / "ledger.jsonl").read_bytes() == before
    assert not list(tmp_path.glob("superseded*"))


def test_other_results_supersede_their_generation_and_all_later_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for generation in range(4):
        recording.record(tmp_path, row(generation, "old"), probes(generation))
    old = (tmp_path / "ledger.jsonl").read_bytes()
    with caplog.at_level(logging.WARNING):
        recording.record(tmp_path, row(2, "new", "now"), probes(2))
    assert told(tmp_path / "ledger.jsonl") == [(0, "old", "then"), (1, "old", "then"), (2, "new", "now")]
    assert (tmp_path / "superseded-1.jsonl").read_bytes() == old
    assert "other results for generation 2" in caplog.text and "superseded-1.jsonl" in caplog.text

    recording.record(tmp_path, row(0, "newest", "now"), probes(0))
    assert told(tmp_path / "ledger.jsonl") == [(0, "newest", "now")]
    assert (tmp_path / "superseded-1.jsonl").read_bytes() == old
    assert told(tmp_path / "superseded-2.jsonl")[-1] == (2, "new", "now")
    recording.record(tmp_path, row(1, "newest", "now"), probes(1))  # what comes after goes on in the new file
    assert [known[:2] for known in told(tmp_path / "ledger.jsonl")] == [(0, "newest"), (1, "newest")]


def test_any_artifact_that_differs_is_another_result(tmp_path: Path) -> None:
    same = {"train": "train/a", "score": "score/a"}
    recording.record(tmp_path, ledger_row(0, artifacts=same), probes(0))
    recording.record(tmp_path, ledger_row(0, artifacts={**same, "score": "score/b"}), probes(0))
    assert ledger.read(tmp_path / "ledger.jsonl")[0].artifacts["score"] == "score/b"


def test_other_bytes_under_the_same_name_are_another_result(tmp_path: Path) -> None:
    def made(checksums: dict[str, str]) -> Row:
        return ledger_row(0, artifacts={"train": "train/a"}, checksums=checksums, finished_at=str(checksums))

    known = made({"train": "1", "probes": "2"})
    assert recording.from_same_results(known, known) and recording.from_same_results(made({}), known)
    assert not recording.from_same_results(known, made({"train": "1", "probes": "3"}))
    recording.record(tmp_path, known, probes(0))
    recording.record(tmp_path, made({"train": "other"}), probes(0))
    assert ledger.read(tmp_path / "ledger.jsonl")[0].checksums == {"train": "other"}


def _read_slowly(path: Path) -> list[Row]:
    rows = READ(path)
    time.sleep(0.02)  # long enough for every other process to read the same
    return rows


READ = ledger.read


def _record_all(directory: Path, start: Any) -> None:
    start.wait()
    for generation in range(6):
        recording.record(directory, row(generation, "a"), probes(generation))


def test_processes_that_record_the_same_chain_at_once_leave_one_whole_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "read", _read_slowly)
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    processes = [context.Process(target=_record_all, args=(tmp_path, start)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert [known[0] for known in told(tmp_path / "ledger.jsonl")] == list(range(6))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.jsonl", "probes"]


def test_probes_are_shown_under_the_generation_that_made_them(tmp_path: Path) -> None:
    for generation in (0, 12):
        recording.record(tmp_path, row(generation, "a"), probes(10 * generation))
    pictures = {path.name: np.asarray(Image.open(path)) for path in (tmp_path / "probes").iterdir()}
    assert {name: set(pixels.ravel().tolist()) for name, pixels in pictures.items()} == {
        "generation_0000.png": {0},
        "generation_0012.png": {120},
    }


def test_the_line_of_a_generation_has_the_scores_of_its_samples_alone() -> None:
    scores = [
        {**SCORE, "metric": "fid", "value": 111.0},
        {**SCORE, "metric": "precision", "value": 0.222},
        {**SCORE, "metric": "density", "value": 0.333},
        {**SCORE, "metric": "fid", "subject": "real_train", "value": 444.0},
        {**SCORE, "metric": "recall", "reference": "training", "value": 0.555},
    ]
    made = ledger_row(4, scores=scores, composition=COUNTS, wall_seconds=77.2)
    said = recording.summary(made, reused=False)
    assert said.startswith(made.chain)
    for word in ("generation 4", "0.25 synthetic", "FID 111", "precision 0.222", "77 s"):
        assert word in said, word
    for word in ("0.333", "444", "0.555", "from the store"):
        assert word not in said, word
    again = recording.summary(made, reused=True)
    assert again.endswith("from the store") and "77 s" not in again


# --------------------------------------------------------------------------------------------------------- environment


def test_the_revision_says_whether_the_code_differs_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "checkout" / "bench" / "environment.py"))
    here = tmp_path / "checkout" / "bench"
    here.mkdir(parents=True)
    (here / "environment.py").write_text("1\n")
    assert environment.code_revision() is None
    environment._git(here, "init", "-q")
    assert environment.code_revision() is None, "no commit yet"
    environment._git(here, "add", ".")
    environment._git(here, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "one")
    head = environment._git(here, "rev-parse", "HEAD")
    (here / "outputs").write_text("untracked\n")
    assert len(head) == 40 and environment.code_revision() == head
    (here / "environment.py").write_text("2\n")
    assert environment.code_revision() == f"{head}+dirty"


def test_packages_that_are_not_there_have_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package"))
    environment.describe.cache_clear()
    try:
        assert environment.describe()["versions"] == {"numpy": np.__version__, "no-such-package": None}
    finally:
        environment.describe.cache_clear()
