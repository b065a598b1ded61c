"""Locks that nobody keeps, and a holder that was suspended for longer than its lease."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bench.errors import StoreError
from bench.store import Store, lease, result_files, spec_hash, stage_files
from bench.store.__main__ import main
from bench.store.result_files import Damaged

SPEC = {"seed": 1}
KEY = f"train/{spec_hash('train', SPEC)}"
FILES = {"train": ("composition.json", "model/")}


def whole(out: Path, work: Path) -> dict[str, Any]:
    (out / "composition.json").write_text("{}")
    (out / "model").mkdir()
    (out / "model" / "weights.bin").write_bytes(b"x" * 100)
    return {}


# ----------------------------------------------------------------------------------------------- a suspended holder


def _make_in_two_steps(root: Path, began: Any) -> None:
    """Like a training: writes one file first and the others much later, into folders that it makes again."""

    def produce(out: Path, work: Path) -> dict[str, Any]:
        (out / "composition.json").write_text("{}")
        (work / "checkpoint.partial").write_text("half")
        began.set()
        time.sleep(0.5)
        (out / "model").mkdir(parents=True)
        (out / "model" / "weights.bin").write_bytes(b"x" * 100)
        return {"pid": os.getpid()}

    Store(root, lease_seconds=1.0).make("train", SPEC, produce)


def test_a_holder_that_was_suspended_past_its_lease_publishes_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    began, goes_on = context.Event(), threading.Event()
    holder = context.Process(target=_make_in_two_steps, args=(tmp_path, began))
    holder.start()
    assert began.wait(30) and holder.pid is not None
    os.kill(holder.pid, signal.SIGSTOP)

    def slow(out: Path, work: Path) -> dict[str, Any]:
        assert not list(work.iterdir()), "what the suspended process may still write is in the successor's folder"
        os.kill(holder.pid, signal.SIGCONT)  # type: ignore[arg-type]
        assert goes_on.wait(30)
        return whole(out, work)

    made: list[Any] = []
    store = Store(tmp_path, lease_seconds=1.0)
    successor = threading.Thread(target=lambda: made.append(store.make("train", SPEC, slow)))
    successor.start()
    time.sleep(3.5)  # the lease expires, the successor begins, and the holder comes to its end
    assert not store.path(KEY).exists(), "published by a process that does not hold the lease"
    goes_on.set()
    successor.join(30)
    holder.join(30)
    assert holder.exitcode == 0 and not made[0].reused
    assert result_files.file_names(made[0].path) == ["composition.json", "model/weights.bin", "spec.json"]
    assert not any((tmp_path / "tmp" / "train").iterdir()) and not any((tmp_path / "work" / "train").iterdir())


def test_no_process_publishes_a_folder_that_another_is_deleting(tmp_path: Path, monkeypatch: Any) -> None:
    """The last moment: the lease is lost between the question and the renaming."""
    store = Store(tmp_path)
    monkeypatch.setattr(result_files, "remove", lambda path: [p.unlink() for p in path.glob("*.json")])

    def late(out: Path, work: Path) -> dict[str, Any]:
        monkeypatch.setattr(lease, "_is_held", lambda lease: store.discard(out) is None)
        return whole(out, work)

    with pytest.raises(FileNotFoundError):
        store.make("train", SPEC, late)
    assert not store.path(KEY).exists()


# ------------------------------------------------------------------------------------------ what belongs to a result


@pytest.mark.parametrize("name", ["composition.json", "model/weights.bin"])
def test_a_result_that_lacks_a_file_of_its_stage_is_not_published(tmp_path: Path, name: str) -> None:
    def lacks(out: Path, work: Path) -> dict[str, Any]:
        whole(out, work)
        (out / name).unlink()
        return {}

    store = Store(tmp_path, required=FILES)
    with pytest.raises(StoreError, match=f"without {name.split('weights')[0]}"):
        store.make("train", SPEC, lacks)
    assert not store.path(KEY).exists()


def test_a_published_result_that_lacks_a_file_of_its_stage_is_none(tmp_path: Path, capsys: Any) -> None:
    def lacks(out: Path, work: Path) -> dict[str, Any]:
        (out / "composition.json").write_text("{}")
        return {}

    Store(tmp_path).make("train", SPEC, lacks)
    assert main(["verify", str(tmp_path)]) == 1
    assert f"{KEY}: it was published without composition.npz" in capsys.readouterr().out
    path = Store(tmp_path).path(KEY)
    with pytest.raises(Damaged, match="without model/"):
        result_files.verify(path, result_files.read_manifest(path, KEY), FILES["train"])


def test_a_required_folder_has_a_file_in_it() -> None:
    assert stage_files.absent(("a", "b/"), {"a": 0, "b/c": 0}) is None
    assert stage_files.absent(("a", "b/"), ["a", "b", "bc"]) == "b/"
    assert stage_files.absent(("a",), ["a/b"]) == "a"


def test_verify_refuses_a_result_in_the_place_of_another(tmp_path: Path, capsys: Any) -> None:
    store = Store(tmp_path)
    right = store.make("odd", {"n": 1}, whole).path
    wrong = store.path(f"odd/{spec_hash('odd', {'n': 2})}")
    wrong.parent.mkdir(parents=True, exist_ok=True)
    right.rename(wrong)
    assert main(["verify", str(tmp_path)]) == 1
    assert f"it is the result of odd/{right.name}, in the place of odd/{wrong.name}" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------- locks of nobody

JUNK = {
    "empty": b"",
    "one byte": b"x",
    "binary": bytes(range(256)) * 8,
    "a number": b"12345\n",
    "half a lock": b"filelock/2\npid=1",
    "another version": b"filelock/2\npid=1\nhost=elsewhere\nmode=shared\n",
    "another duration": b"filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=ab\nduration=7.0\n",
    "a strict lock": b"1\nfilelock-strict-v1\x00\n0\n",
}


@pytest.mark.parametrize("name", JUNK)
def test_a_lock_file_of_any_content_expires_by_the_waiters_clock(tmp_path: Path, name: str, caplog: Any) -> None:
    caplog.set_level(logging.INFO, logger="bench")
    store = Store(tmp_path, lease_seconds=0.6, user="chain-7")
    store.lock(KEY).parent.mkdir(parents=True)
    store.lock(KEY).write_bytes(JUNK[name])
    os.utime(store.lock(KEY), (time.time() + 9e5, time.time() + 9e5))  # a clock that is ahead
    began = time.monotonic()
    assert not store.make("train", SPEC, whole).reused
    assert time.monotonic() - began < 10
    if name == "empty":
        assert time.monotonic() - began > 0.5
        assert f"waiting for chain-7 for {KEY}" in caplog.text and "counts as dead after 1 s" in caplog.text
    assert not list((tmp_path / "locks").rglob("*.*")), "locks are left"


def test_a_process_that_waits_says_so_again_with_how_long(tmp_path: Path, caplog: Any, monkeypatch: Any) -> None:
    caplog.set_level(logging.INFO, logger="bench")
    monkeypatch.setattr(lease, "SAY_EVERY", 0.4)
    lock = tmp_path / "x.lock"
    lock.write_bytes(b"")
    with lease.hold(lock, "train/ab", lease_seconds=1.0):
        pass
    said = [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()]
    assert 2 <= len(said) <= 4
    assert "0 s so far" in said[0] and "1 s so far" in said[-1] and "the last one 1 s ago" in said[-1]


def test_an_expired_lock_is_not_taken_from_a_process_that_was_faster(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_bytes(b"dead")
    expired = lease._state(lock)
    assert expired is not None
    lock.rename(tmp_path / "gone")
    with lease.hold(lock, "train/ab") as is_held:
        lease._remove(lock, expired)
        assert is_held() and sorted(path.name for path in tmp_path.iterdir()) == ["gone", "x.lock"]
