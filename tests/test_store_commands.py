"""python -m bench.store list | explain | size | verify | prune."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from bench import ledger
from bench.errors import StoreError
from bench.ledger import Row
from bench.store import Result, Store, inventory, lease
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
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Create a store, whose stages require no files, with one chain of one generation that a ledger refers to, and the
    unused results of another."""
    monkeypatch.setattr("bench.store.__main__.REQUIRED", {})
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
    """Return the path of a result relative to the store, as ledgers name it."""
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


def test_mistakes_are_reported_in_one_line(store: Store, capsys: Any) -> None:
    for args in (
        ["list", "/nowhere"],
        ["list", str(store.root), "--stage", "tran"],
        ["list", str(store.root), "--stage", "work"],
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
        assert main(["explain", str(store.root), f"train/{work.stem}"]) == 0
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


def test_verify_detects_files_that_changed_in_the_store(store: Store, capsys: Any) -> None:
    assert main(["verify", str(store.root)]) == 0
    assert "8 of 8" in capsys.readouterr().out
    path = next(store.root.glob("features/*/*/x.bin"))
    path.write_bytes(b"y" * 2048)
    assert main(["verify", str(store.root)]) == 1
    out = capsys.readouterr().out
    assert "x.bin does not match its checksum" in out and "7 of 8" in out


def test_verify_can_be_kept_to_one_stage_and_names_a_manifest_that_is_cut(store: Store, capsys: Any) -> None:
    manifest = next(store.root.glob("features/*/*/manifest.json"))
    manifest.write_text(manifest.read_text()[:-20])
    assert main(["verify", str(store.root), "--stage", "train"]) == 0
    assert "2 of 2" in capsys.readouterr().out
    assert main(["verify", str(store.root)]) == 1
    out = capsys.readouterr().out
    assert f"features/{manifest.parent.name}: manifest.json" in out and "7 of 8" in out
    assert main(["list", str(store.root), "--stage", "features"]) == 0
    damaged = next(line for line in capsys.readouterr().out.splitlines() if manifest.parent.name in line)
    assert "manifest.json" in damaged


def test_list_shows_the_facts_of_a_result(store: Store, capsys: Any) -> None:
    assert main(["list", str(store.root), "--stage", "sample"]) == 0
    assert capsys.readouterr().out.count("num_images=7") == 2


@pytest.mark.parametrize(("num_bytes", "text"), [(500, "KiB"), (3 << 20, "3.0 MiB"), (5 << 30, "5.0 GiB")])
def test_sizes_are_binary(tmp_path: Path, capsys: Any, num_bytes: int, text: str) -> None:
    store = Store(tmp_path / "store")
    with (train(store, 0).path / "x.bin").open("r+b") as file:
        file.truncate(num_bytes)  # a sparse file, which needs no space
    for command in ("list", "size"):
        assert main([command, str(store.root)]) == 0
        assert text in capsys.readouterr().out


def test_a_key_is_named_by_as_many_digits_as_tell_it_apart(store: Store) -> None:
    whole = next(key for key in keys(store) if key.startswith("train/"))
    assert inventory.find_key(store, whole) == inventory.find_key(store, whole[:12]) == whole
    with pytest.raises(StoreError, match="matches 2"):
        inventory.find_key(store, "train/")
    with pytest.raises(StoreError, match="matches nothing"):
        inventory.find_key(store, "train/nothing")


def test_differences_include_fields_that_one_side_lacks() -> None:
    here, there = {"a": 1, "b": {"c": [1, 2]}, "same": None}, {"b": {"c": [1, 3, 4]}, "same": None, "d": {}}
    assert inventory.differences(here, there) == [
        ("a", 1, "(absent)"),
        ("b.c.1", 2, 3),
        ("b.c.2", "(absent)", 4),
        ("d", "(absent)", {}),
    ]


def test_the_nearest_result_is_whole_another_and_the_same_each_time(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = {n: store.make("train", {"a": n, "b": n // 2, "c": 0}, write) for n in range(4)}
    asked = made[0]
    nearest = inventory.nearest(store, asked.key)
    assert nearest is not None and nearest[0].key == made[1].key and nearest[1] == [("a", 0, 1)]
    (made[1].path / "manifest.json").write_text("{}")
    nearest = inventory.nearest(store, asked.key)
    assert nearest is not None and nearest[0].key == min(made[2].key, made[3].key) and len(nearest[1]) == 2
    for n in (2, 3):
        (made[n].path / "manifest.json").write_text("{}")
    assert inventory.nearest(store, asked.key) is None


def test_explain_follows_no_field_that_names_a_result_on_one_side_only(store: Store, capsys: Any) -> None:
    """The results of a warm and a cold start differ like this."""
    init = train(store, 0).key
    asked = store.make("train", {"init": init, "more": 1, "and": 2, "so": 3}, write)
    store.make("train", {"init": None, "more": 1, "and": 2, "so": 3}, write)
    assert main(["explain", str(store.root), asked.key]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"  init: {init!r} here, None there"]


def test_explain_reports_that_a_named_result_is_missing(store: Store, capsys: Any) -> None:
    before = {key for key in keys(store) if key.startswith("sample/")}
    gone = [f"train/{digit * 32}" for digit in "ab"]
    asked = store.make("sample", {"model": gone[0], "num_samples": 16, "more": 1, "and": 2}, write)
    store.make("sample", {"model": gone[1], "num_samples": 16, "more": 1, "and": 2}, write)
    assert before and main(["explain", str(store.root), asked.key]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [f"  model: {gone[0]!r} here, {gone[1]!r} there", f"    ({gone[0]} is not in {store.root})"]


def test_the_only_result_of_a_stage_has_no_nearest(tmp_path: Path, capsys: Any) -> None:
    store = Store(tmp_path / "store")
    key = train(store, 0).key
    store.make("sample", {"seed": 0}, write)
    assert main(["explain", str(store.root), key]) == 0
    assert "the only result of its stage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("train/" + "0123456789abcdef" * 2, True),
        ("train/" + "0123456789abcdef" * 2 + "0", False),
        ("train/" + "0123456789abcdeg" * 2, False),
        ("a/b/" + "0" * 32, False),
        ("0" * 32, False),
        (None, False),
    ],
)
def test_keys_are_distinguished_from_other_values(value: Any, is_one: bool) -> None:
    assert inventory.is_key(value) is is_one


NOW = ["--min-age-hours", "0"]


def test_prune_removes_nothing_without_yes(store: Store, capsys: Any) -> None:
    before = keys(store)
    assert main(["prune", str(store.root), *NOW]) == 0
    out = capsys.readouterr().out
    assert out.count("would remove") == 4 and "4 results kept (1 ledgers" in out
    assert keys(store) == before


def test_prune_keeps_results_in_a_ledger_and_everything_they_were_made_from(store: Store, capsys: Any) -> None:
    assert main(["prune", str(store.root), *NOW, "--yes"]) == 0
    left = keys(store)
    assert [key.split("/")[0] for key in left] == ["features", "sample", "score", "train"]
    assert train(store, 0).reused and sample(store, train(store, 0), 16).reused and score(store, "pool-0").reused
    assert store.make("features", {"pool": "pool-0"}, write).reused
    assert not train(store, 1, "c1").reused


def test_prune_keeps_young_results(store: Store, capsys: Any) -> None:
    assert main(["prune", str(store.root), "--yes"]) == 0
    assert "8 results kept" in capsys.readouterr().out
    for key in keys(store):
        os.utime(store.path(key), (time.time() - 90_000,) * 2)
    train(store, 1, "c1")  # used again: young again
    assert main(["prune", str(store.root), "--yes"]) == 0
    assert "5 results kept" in capsys.readouterr().out


def test_prune_keeps_the_whole_line_of_ancestors(tmp_path: Path, capsys: Any) -> None:
    """A warm-started chain of which only the last generation is in a ledger is kept whole."""
    store, outputs = Store(tmp_path / "outputs" / "store"), tmp_path / "outputs"
    model = train(store, 0)
    line = [model]
    for generation in range(1, 4):
        line.append(store.make("train", {"init": line[-1].key, "generation": generation}, write))
    row(outputs, {"model": relative(line[-1], "model")})
    sample(store, model, 16)
    assert main(["prune", str(store.root), *NOW, "--yes"]) == 0
    assert keys(store) == sorted(result.key for result in line)


def test_prune_looks_for_ledgers_below_outputs(store: Store, tmp_path: Path) -> None:
    """Two sweeps share a store: a result of either is used, but only ledgers below --outputs count."""
    other = train(store, 1, "c1")
    row(tmp_path / "elsewhere" / "deep", {"model": relative(other, "model")})
    assert main(["prune", str(store.root), *NOW, "--yes", "--outputs", str(tmp_path)]) == 0
    assert sorted(key.split("/")[0] for key in keys(store)) == ["features", "sample", "score", "train", "train"]
    assert main(["prune", str(store.root), *NOW, "--yes", "--outputs", str(tmp_path / "elsewhere")]) == 0
    assert keys(store) == [other.key]


@pytest.mark.parametrize(("more", "hours"), [([], 24), (["--min-age-hours", "3"], 3)])
def test_age_is_counted_in_hours_and_a_day_by_default(store: Store, more: list[str], hours: int) -> None:
    young, old = train(store, 1, "c1"), score(store, "pool-1")
    os.utime(young.path, (time.time() - (hours - 0.5) * 3600,) * 2)
    os.utime(old.path, (time.time() - (hours + 0.5) * 3600,) * 2)
    before = set(keys(store))
    assert main(["prune", str(store.root), "--yes", *more]) == 0
    assert before - set(keys(store)) == {old.key}


def test_prune_removes_damaged_and_half_written_results(store: Store, capsys: Any) -> None:
    path = train(store, 0).path
    (path / "x.bin").write_bytes(b"y" * 2048)
    train(store, 0)
    damaged = next(store.root.glob("damaged/train/*"))
    half = store.root / "tmp" / "train" / ("a" * 32 + ".0123")
    half.mkdir()
    (half / "x.bin").write_bytes(b"x")
    assert main(["prune", str(store.root), "--yes"]) == 0
    assert damaged.exists() and half.exists(), "they are young"
    assert main(["prune", str(store.root), *NOW]) == 0
    assert damaged.exists() and half.exists(), "removed without --yes"
    with lease.hold(store.lock(f"train/{'a' * 32}"), "a test"):
        assert main(["prune", str(store.root), *NOW, "--yes"]) == 0
    assert not damaged.exists() and half.exists(), "somebody is writing it"
    assert main(["prune", str(store.root), *NOW, "--yes"]) == 0
    assert not half.exists()
    assert not [p for p in (store.root / "tmp").rglob("*") if p.is_file()]


def test_prune_reports_how_much_it_frees(store: Store, capsys: Any) -> None:
    def num_bytes(size: str, unit: str) -> float:
        return float(size) * {"B": 1, "KiB": 1024}[unit]

    for more, text in (([], "to be freed with --yes"), (["--yes"], "freed;")):
        assert main(["prune", str(store.root), *NOW, *more]) == 0
        *lines, last = capsys.readouterr().out.splitlines()
        freed = sum(num_bytes(*line.split()[-2:]) for line in lines)
        assert len(lines) == 4 and text in last
        assert num_bytes(*last.split()[:2]) == pytest.approx(freed, abs=300) and freed > 4096


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


def test_prune_keeps_results_that_are_being_produced(store: Store, capsys: Any) -> None:
    unused = train(store, 1, "c1")
    with lease.hold(store.lock(unused.key), "a test"):
        assert main(["prune", str(store.root), *NOW, "--yes"]) == 0
    assert unused.path.exists()
    assert "a process is producing it" in capsys.readouterr().out


def test_prune_keeps_unfinished_work_without_unfinished(store: Store) -> None:
    def fails(out: Path, work: Path) -> dict[str, Any]:
        (work / "checkpoint").write_bytes(b"x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.make("train", {"seed": 9}, fails)
    assert main(["prune", str(store.root), *NOW, "--yes"]) == 0
    assert list(store.root.glob("work/train/*/checkpoint"))
    assert main(["prune", str(store.root), *NOW, "--yes", "--unfinished"]) == 0
    assert not list(store.root.glob("work/train/*")), "the spec beside it included"
