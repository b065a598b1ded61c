"""python -m bench.store list | explain | size | verify | prune."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from bench import ledger
from bench.ledger import Row
from bench.store import Result, Store, lease
from bench.store.__main__ import main


def write(out: Path, work: Path) -> dict[str, Any]:
    (out / "x.bin").write_bytes(b"x" * 2048)
    return {"num_images": 7}


def train(store: Store, seed: int, composition: str = "c0") -> Result:
    return store.make("train", {"seed": seed, "composition": composition, "unet": {"channels": [8, 16]}}, write)


def sample(store: Store, model: Result, num_samples: int) -> Result:
    return store.make("sample", {"model": model.key, "num_samples": num_samples}, write)


def score(store: Store, pool: str) -> Result:
    def produce(out: Path, work: Path) -> dict[str, Any]:
        store.make("features", {"pool": pool}, write)
        return {"num_scores": 1}

    return store.make("score", {"samples": pool}, produce)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One chain of one generation that a ledger refers to, and the leavings of another."""
    store = Store(tmp_path / "outputs" / "store")
    model = train(store, 0)
    samples = sample(store, model, 16)
    scores = score(store, "pool-0")
    row(tmp_path / "outputs", {"samples": relative(samples, "pool"), "score": relative(scores)})
    other = train(store, 1, "c1")
    sample(store, other, 16)
    score(store, "pool-1")
    return store


def relative(result: Result, *inside: str) -> str:
    """As a ledger names it: a path relative to the store."""
    return "/".join([*result.path.parts[-3:], *inside])


def row(outputs: Path, artifacts: dict[str, str]) -> None:
    text = dict.fromkeys(["sweep", "policy", "dataset", "generator", "store_dir", "config_hash", "finished_at"], "x")
    composition = {"num_real": 1, "num_synthetic": 0, "synthetic_ratio": 0.0, "per_generation": {}}
    empty: dict[str, Any] = {name: {} for name in ("train", "sample", "score", "config", "protocol", "environment")}
    made = Row(
        chain="chain-0", generation=0, seed=0, composition=composition, scores=[], artifacts=artifacts,
        wall_seconds=1.0, **text, **empty,
    )  # fmt: skip
    ledger.append(outputs / "x" / "chain-0" / ledger.FILENAME, made)


def keys(store: Store) -> list[str]:
    return sorted(f"{path.parent.parent.name}/{path.name}" for path in store.root.glob("*/??/*"))


def test_list_names_every_result_with_its_size(store: Store, capsys: Any) -> None:
    assert main(["list", str(store.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == keys(store) and len(lines) == 8
    assert all("KiB" in line or " B " in line for line in lines)
    assert main(["list", str(store.root), "--stage", "train"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_mistakes_are_said_in_one_line(store: Store, capsys: Any) -> None:
    for args in (
        ["list", "/nowhere"],
        ["list", str(store.root), "--stage", "tran"],
        ["explain", str(store.root), "train/"],
    ):
        assert main(args) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1


def test_explain_names_the_nearest_spec_and_the_fields_that_differ(store: Store, capsys: Any) -> None:
    near = store.find("train", {"seed": 1, "composition": "c1", "unet": {"channels": [8, 16]}})
    asked = store.make("train", {"seed": 1, "composition": "c1", "unet": {"channels": [8, 32]}}, write)
    assert near is not None
    assert main(["explain", str(store.root), asked.key[:12]]) == 0
    out = capsys.readouterr().out
    assert f"{asked.key} differs from the nearest stored result, {near.key}, in 1 of its fields" in out
    assert "unet.channels.1: 32 here, 16 there" in out


def test_explain_follows_a_field_into_the_results_it_names(store: Store, capsys: Any) -> None:
    samples = next(key for key in keys(store) if key.startswith("sample/"))
    assert main(["explain", str(store.root), samples]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "model: 'train/" in lines[1]
    assert any(line.startswith("    seed: ") for line in lines[2:])
    assert any(line.startswith("    composition: ") for line in lines[2:])


def test_explain_works_while_the_result_is_being_made(store: Store, capsys: Any) -> None:
    def produce(out: Path, work: Path) -> dict[str, Any]:
        assert main(["explain", str(store.root), f"train/{work.name}"]) == 0
        return {}

    store.make("train", {"seed": 0, "composition": "c0", "unet": {"channels": [8, 16], "dropout": 0.1}}, produce)
    assert "unet.dropout: 0.1 here, '(absent)' there" in capsys.readouterr().out


def test_size_counts_stages_and_leavings(store: Store, capsys: Any) -> None:
    def fails(out: Path, work: Path) -> dict[str, Any]:
        (work / "checkpoint").write_bytes(b"x" * 1024)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.make("train", {"seed": 9}, fails)
    assert main(["size", str(store.root)]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["train"][:4] == ["2", "results", "6", "files"]
    assert lines["(work)"] == ["1", "results", "1", "files", "1.0", "KiB"]


def test_verify_finds_what_changed_behind_the_stores_back(store: Store, capsys: Any) -> None:
    assert main(["verify", str(store.root)]) == 0
    assert "8 of 8" in capsys.readouterr().out
    path = next(store.root.glob("features/*/*/x.bin"))
    path.write_bytes(b"y" * 2048)
    assert main(["verify", str(store.root)]) == 1
    out = capsys.readouterr().out
    assert "x.bin does not match its checksum" in out and "7 of 8" in out


NOW = ["--min-age-hours", "0"]


def test_prune_only_says_until_told(store: Store, capsys: Any) -> None:
    before = keys(store)
    assert main(["prune", str(store.root), *NOW]) == 0
    out = capsys.readouterr().out
    assert out.count("would remove") == 4 and "4 results kept (1 ledgers" in out
    assert keys(store) == before


def test_prune_keeps_what_a_ledger_refers_to_and_all_it_was_made_from(store: Store, capsys: Any) -> None:
    assert main(["prune", str(store.root), *NOW, "--yes"]) == 0
    left = keys(store)
    assert [key.split("/")[0] for key in left] == ["features", "sample", "score", "train"]
    assert train(store, 0).reused and sample(store, train(store, 0), 16).reused and score(store, "pool-0").reused
    assert store.make("features", {"pool": "pool-0"}, write).reused
    assert not train(store, 1, "c1").reused


def test_prune_keeps_what_is_young(store: Store, capsys: Any) -> None:
    assert main(["prune", str(store.root), "--yes"]) == 0
    assert "8 results kept" in capsys.readouterr().out
    for key in keys(store):
        os.utime(store.path(key), (time.time() - 90_000,) * 2)
    train(store, 1, "c1")  # used again: young again
    assert main(["prune", str(store.root), "--yes"]) == 0
    assert "5 results kept" in capsys.readouterr().out


def test_prune_removes_used_results_only_when_asked(store: Store, capsys: Any) -> None:
    assert main(["prune", str(store.root), *NOW, "--yes", "--also-used"]) == 0
    assert keys(store) == []


def test_prune_can_be_kept_to_one_stage(store: Store, capsys: Any) -> None:
    assert main(["prune", str(store.root), *NOW, "--yes", "--also-used", "--stage", "train"]) == 0
    assert sorted({key.split("/")[0] for key in keys(store)}) == ["features", "sample", "score"]


def test_prune_refuses_where_it_finds_no_ledger(store: Store, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["prune", str(store.root), *NOW, "--yes", "--outputs", str(tmp_path / "empty")]) == 2
    assert "no ledger below" in capsys.readouterr().err
    assert len(keys(store)) == 8


def test_prune_refuses_where_a_ledger_cannot_be_read(store: Store, tmp_path: Path, capsys: Any) -> None:
    path = next((tmp_path / "outputs").glob("*/*/ledger.jsonl"))
    path.write_text(json.dumps({"not": "a row"}) + "\n")
    assert main(["prune", str(store.root), *NOW, "--yes"]) == 2
    assert "line 1" in capsys.readouterr().err
    assert len(keys(store)) == 8


def test_prune_leaves_alone_what_somebody_is_making(store: Store, capsys: Any) -> None:
    unused = train(store, 1, "c1")
    with lease.hold(store.lock(unused.key), "a test"):
        assert main(["prune", str(store.root), *NOW, "--yes"]) == 0
    assert unused.path.exists()
    assert "a process is making it" in capsys.readouterr().out


def test_prune_keeps_unfinished_work_unless_told(store: Store) -> None:
    def fails(out: Path, work: Path) -> dict[str, Any]:
        (work / "checkpoint").write_bytes(b"x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.make("train", {"seed": 9}, fails)
    assert main(["prune", str(store.root), *NOW, "--yes"]) == 0
    assert list(store.root.glob("work/train/*/checkpoint"))
    assert main(["prune", str(store.root), *NOW, "--yes", "--unfinished"]) == 0
    assert not list(store.root.glob("work/train/*"))
