"""The ledger: rows are read back as they were written, and every damage is detected."""

import dataclasses
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import ledger
from bench.errors import LedgerError
from bench.ledger import Row


def make_row(generation: int = 0, chain: str = "blend-r0.50-seed0-3fa2b1c9", **changes: object) -> Row:
    score = {
        "metric": "fid",
        "feature_space": "efficientnet_lite0",
        "reference": "heldout",
        "subject": "samples",
        "num_subject": 64,
        "num_reference": 64,
        "parameters": {},
        "value": 12.5 + generation,
        "direction": "down",
    }
    row = Row(
        chain=chain,
        sweep="quick",
        generation=generation,
        seed=0,
        policy="blend",
        dataset="procedural",
        generator="ddpm",
        composition={
            "num_real": 32,
            "num_synthetic": 32,
            "synthetic_ratio": 0.5,
            "per_generation": {"-1": 32, "0": 32},
        },
        scores=[score],
        train={"seconds": 1.5},
        sample={"seconds": 0.5},
        score={"seconds": 0.25},
        artifacts={"model": "train/ab/abc"},
        store_dir="outputs/store",
        config={"name": "quick", "naïve": "ja"},
        config_hash="3fa2b1c9",
        protocol={"name": None, "version": None},
        environment={"device": "cpu"},
        finished_at="2026-01-01T00:00:00Z",
        wall_seconds=2.25,
    )
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "chain" / "ledger.jsonl"
    rows = [make_row(generation) for generation in range(3)]
    for row in rows:
        ledger.append(path, row)
    assert ledger.read(path) == rows
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert next(iter(json.loads(lines[0]))) == "schema"


def test_rows_are_sorted_by_generation(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for generation in (2, 0, 1):
        ledger.append(path, make_row(generation))
    assert [row.generation for row in ledger.read(path)] == [0, 1, 2]


@pytest.mark.parametrize("keep", [1, 40, -1])
def test_a_half_written_last_line_is_reported_and_never_used(
    tmp_path: Path, keep: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger.append(path, make_row(0))
    line = ledger.to_line(make_row(1)).encode()
    with path.open("ab") as file:
        file.write(line[:keep])  # -1: all of it but the newline
    with caplog.at_level(logging.WARNING):
        assert [row.generation for row in ledger.read(path)] == [0]
    assert "half written" in caplog.text
    assert "half written" in ledger.read_runs([path])[0].notes[0]

    caplog.clear()
    ledger.append(path, make_row(1))
    assert "cut off" in caplog.text
    assert [row.generation for row in ledger.read(path)] == [0, 1]
    assert path.read_bytes().endswith(line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"schema": 1', "not JSON"),
        ("[1, 2]", "not an object"),
        ('{"schema": 1}', "lacks"),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger.append(path, make_row(0))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(LedgerError, match=message) as error:
        ledger.read(path)
    assert f"{path}, line 2" in str(error.value)
    assert "delete the file and run the same command again" in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", 2, "schema 2"),
        ("generation", -1, "generation is -1"),
        ("generation", True, "generation is True"),
        ("seed", "0", "seed is '0'"),
        ("chain", 7, "chain is 7"),
        ("composition", {"num_real": 1}, "composition lacks num_synthetic"),
        ("scores", {}, "scores is"),
        ("generation", 1.0, "generation is 1.0"),
        ("seed", -1, "seed is -1"),
        ("train", [], "train is"),
        ("artifacts", None, "artifacts is None"),
        ("finished_at", 12, "finished_at is 12"),
        ("wall_seconds", "3", "wall_seconds is '3'"),
        ("wall_seconds", -1.0, "wall_seconds is -1.0"),
        ("wall_seconds", True, "wall_seconds is True"),
        ("scores", [{"metric": "fid"}], "a score lacks feature_space"),
        ("scores", ["fid"], "a score lacks metric"),
        ("extra", 1, "unknown extra"),
    ],
)
def test_a_row_of_the_wrong_form_is_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    body = json.loads(ledger.to_line(make_row()))
    body[key] = value
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps(body) + "\n")
    with pytest.raises(LedgerError, match=message):
        ledger.read(path)


def test_rows_of_older_versions_lack_only_optional_fields(tmp_path: Path) -> None:
    row, path = make_row(vetting={"seconds": 1.0}), tmp_path / "ledger.jsonl"
    whole = json.loads(ledger.to_line(row))
    path.write_text(json.dumps({key: value for key, value in whole.items() if key not in ledger.OPTIONAL}) + "\n")
    assert ledger.read(path) == [make_row(vetting={}, selection={})]
    for key in whole.keys() - ledger.OPTIONAL:
        path.write_text(json.dumps({name: value for name, value in whole.items() if name != key}) + "\n")
        with pytest.raises(LedgerError, match=f"line 1: lacks {key};"):
            ledger.read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["scores"][0].update(value=1.5),
        lambda body: body["checksums"].update(probes="00"),
        lambda body: body.update(seed=1),
        lambda body: body.update(digest="0" * 64),
        lambda body: body.pop("digest"),
    ],
)
def test_a_row_that_was_changed_later_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger.append(path, make_row(checksums={"probes": "ab"}))
    body = json.loads(path.read_text())
    reordered = {key: body[key] for key in sorted(body)}
    path.write_text(json.dumps(reordered) + "\n")
    assert ledger.read(path)[0].checksums == {"probes": "ab"}
    change(body)
    path.write_text(json.dumps(body) + "\n")
    with pytest.raises(LedgerError, match=r"line 1: generation 0 was changed after it was written.*delete the file"):
        ledger.read_runs([path])


def test_rows_without_a_digest_are_read_and_this_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger._warn_of_rows_without_digest.cache_clear()
    path = tmp_path / "ledger.jsonl"
    bodies = [json.loads(ledger.to_line(make_row(generation))) for generation in range(3)]
    for body in bodies:
        del body["digest"], body["checksums"]
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    assert ledger.read(path) == [make_row(generation) for generation in range(3)]
    assert len(ledger.read(path)) == 3
    assert caplog.text.count("without a digest") == 1


@pytest.mark.parametrize("key", ["num_real", "num_synthetic", "synthetic_ratio", "per_generation"])
def test_a_composition_lacks_nothing(key: str) -> None:
    good = make_row().composition
    with pytest.raises(LedgerError, match=f"composition lacks {key}$"):
        make_row(composition={name: value for name, value in good.items() if name != key})


@pytest.mark.parametrize("key", list(make_row().scores[0]))
def test_a_score_lacks_nothing(key: str) -> None:
    good = make_row().scores[0]
    with pytest.raises(LedgerError, match=f"a score lacks {key}$"):
        make_row(scores=[good, {name: value for name, value in good.items() if name != key}])


@pytest.mark.parametrize("direction", ["UP", "", None])
def test_a_score_is_better_in_one_of_two_directions_or_in_none(direction: object) -> None:
    good = make_row().scores[0]
    assert make_row(scores=[{**good, "direction": "up"}]) and make_row(scores=[{**good, "direction": "none"}])
    with pytest.raises(LedgerError, match="expected up, down or none"):
        make_row(scores=[{**good, "direction": direction}])


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "inception/fid"),
        ({"parameters": {"k": 3}}, "inception/fid_k3"),
        ({"parameters": {"z": 1, "a": "b"}}, "inception/fid_ab_z1"),
        ({"subject": "real_train"}, "floor/inception/fid"),
        ({"subject": "shuffled"}, "shuffled/inception/fid"),
        ({"reference": "training"}, "samples_vs_training/inception/fid"),
        ({"subject": "real_train", "reference": "training"}, "real_train_vs_training/inception/fid"),
    ],
)
def test_a_score_is_named_with_all_that_tells_it_apart(changes: dict[str, object], name: str) -> None:
    assert ledger.score_key({**make_row().scores[0], "feature_space": "inception", **changes}) == name


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "12", True])
def test_a_score_must_be_a_finite_number(value: object) -> None:
    good = make_row().scores[0]
    with pytest.raises(LedgerError, match="finite number"):
        make_row(scores=[{**good, "value": value}])


def test_a_value_that_json_cannot_hold_is_refused_before_the_file_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for facts in ({"loss": float("nan")}, {"path": Path("x")}):
        with pytest.raises(LedgerError, match="cannot be written"):
            ledger.append(path, make_row(train=facts))
    assert not path.exists()


def test_a_generation_is_never_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger.append(path, make_row(0))
    with pytest.raises(LedgerError, match="already has generation 0"):
        ledger.append(path, make_row(0))
    with pytest.raises(LedgerError, match="belongs to chain"):
        ledger.append(path, make_row(1, chain="other"))
    path.write_text(path.read_text() * 2)
    with pytest.raises(LedgerError, match="line 2: generation 0 is there twice"):
        ledger.read(path)


def test_a_ledger_has_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(ledger.to_line(make_row(0)) + "\n" + ledger.to_line(make_row(1, chain="other")))
    with pytest.raises(LedgerError, match="line 3: a second chain, other"):  # the empty line counts
        ledger.read(path)


def test_a_row_that_cannot_be_appended_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for generation in (0, 1):
        ledger.append(path, make_row(generation))
    before = path.read_bytes()
    for row in (make_row(0), make_row(1, wall_seconds=99.0), make_row(2, chain="other")):
        with pytest.raises(LedgerError):
            ledger.append(path, row)
    assert path.read_bytes() == before


def test_text_is_kept_as_it_is_and_a_number_to_its_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    score = {**make_row().scores[0], "value": 0.1 + 0.2}
    ledger.append(path, make_row(scores=[score], dataset="flöwers\u2028\x85"))
    assert "flöwers" in path.read_text() and "naïve" in path.read_text()
    (row,) = ledger.read(path)
    assert row.scores[0]["value"] == 0.1 + 0.2 and row.dataset == "flöwers\u2028\x85"


def test_chains_come_by_name_with_the_notes_of_their_own_file(tmp_path: Path) -> None:
    for chain in ("b", "c", "a"):
        ledger.append(tmp_path / f"folder_of_{chain}" / "ledger.jsonl", make_row(chain=chain))
    with (tmp_path / "folder_of_c" / "ledger.jsonl").open("a") as file:
        file.write("{")
    chains = ledger.read_runs([tmp_path / f"folder_of_{chain}" for chain in "cab"])
    assert [(chain.id, chain.directory.name, len(chain.notes)) for chain in chains] == [
        ("a", "folder_of_a", 0),
        ("b", "folder_of_b", 0),
        ("c", "folder_of_c", 1),
    ]
    assert [row.chain for chain in chains for row in chain.rows] == ["a", "b", "c"]


def test_runs_are_read_at_every_depth_and_once(tmp_path: Path) -> None:
    for chain in ("a", "b"):
        ledger.append(tmp_path / "quick" / chain / "ledger.jsonl", make_row(chain=chain))
    sweep = tmp_path / "quick"
    for paths in ([tmp_path], [sweep], [sweep / "a", sweep / "b"], [sweep / "a" / "ledger.jsonl", sweep]):
        assert [chain.id for chain in ledger.read_runs(paths)] == ["a", "b"]
    assert ledger.read_runs([sweep])[0].directory == (sweep / "a").resolve()


def test_paths_that_cannot_be_read_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(LedgerError, match="no such file"):
        ledger.read_runs([tmp_path / "nowhere"])
    with pytest.raises(LedgerError, match="no path was given"):
        ledger.read_runs([])
    with pytest.raises(LedgerError, match="cannot be read"):
        ledger.read(tmp_path / "nowhere")
    with pytest.raises(LedgerError, match=r"holds no ledger\.jsonl"):
        ledger.read_runs([tmp_path])
    (tmp_path / "ledger.jsonl").write_text('{"half')
    with pytest.raises(LedgerError, match="no finished generation"):
        ledger.read_runs([tmp_path])
    ledger.append(tmp_path / "other" / "ledger.jsonl", make_row())
    caplog.clear()
    assert len(ledger.read_runs([tmp_path])) == 1
    assert "left out" in caplog.text


def test_a_copy_of_a_chain_is_counted_once_and_one_with_other_scores_is_refused(tmp_path: Path) -> None:
    for place, generations in (("one", 1), ("two", 2)):
        for generation in range(generations):
            ledger.append(tmp_path / place / "ledger.jsonl", make_row(generation))
    (chain,) = ledger.read_runs([tmp_path])
    assert chain.directory.name == "two" and len(chain.rows) == 2
    (note,) = chain.notes
    assert "one" in note and "two" in note and note.endswith("with the same scores: counted once")
    scores = [{**score, "value": score["value"] + 1} for score in make_row().scores]
    ledger.append(tmp_path / "three" / "ledger.jsonl", make_row(scores=scores))
    with pytest.raises(LedgerError, match=r"is in both .* with other scores"):
        ledger.read_runs([tmp_path])


def test_reading_a_ledger_needs_no_torch() -> None:
    code = "import sys, bench.ledger; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
