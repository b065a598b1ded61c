"""The store publishes whole results, reuses them, detects damage, and lets only one process produce each."""

import errno
import json
import logging
import multiprocessing
import os
import platform
import shutil
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import SoftFileLease

from bench.errors import StoreError
from bench.machine.interrupt import Interrupted
from bench.store import Store, spec_hash
from bench.store import store as store_module

SPEC = {"pool": "abc", "training": {"num_steps": 3, "learning_rate": 0.1}}

KEY = f"train/{spec_hash('train', SPEC)}"


class Producer:
    """Writes two files, one of them in a folder, and counts its calls."""

    def __init__(self, text: str = "hello") -> None:
        self.calls, self.text = 0, text

    def __call__(self, out: Path, work: Path) -> dict[str, Any]:
        self.calls += 1
        (out / "model").mkdir()
        (out / "model" / "weights.bin").write_bytes(self.text.encode() * 100)
        (out / "note.txt").write_text(self.text)
        return {"text": self.text, "shape": (1, 2)}


@pytest.fixture(autouse=True)
def _nothing_verified_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_verified", {})


def forget() -> None:
    """Forget all verified results, like a new process."""
    store_module._verified.clear()


def test_second_make_reuses_the_first(tmp_path: Path) -> None:
    store, produce = Store(tmp_path), Producer()
    first = store.make("train", SPEC, produce)
    second = store.make("train", SPEC, produce)
    assert produce.calls == 1
    assert (first.reused, second.reused) == (False, True)
    assert first.facts == second.facts == {"text": "hello", "shape": [1, 2]}
    assert first.key == second.key == KEY
    digest = KEY.split("/")[1]
    assert first.path == store.path(first.key) == tmp_path / "train" / digest[:2] / digest  # as ledgers name it
    assert (first.path / "model" / "weights.bin").read_bytes() == b"hello" * 100
    assert store.find("train", SPEC) == second
    assert store.find("train", {**SPEC, "pool": "abd"}) is None


def test_nothing_is_left_next_to_a_published_result(tmp_path: Path) -> None:
    Store(tmp_path).make("train", SPEC, Producer())
    left = [p for name in ("tmp", "work", "locks", "damaged") for p in (tmp_path / name).rglob("*") if not p.is_dir()]
    assert left == []
    assert not any((tmp_path / "work" / "train").iterdir())
    assert not any((tmp_path / "tmp" / "train").iterdir())


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ({"x": 1, "y": 2}, {"y": 2, "x": 1}, True),
        ({"x": [1, 2]}, {"x": (1, 2)}, True),
        ({"x": 1}, {"x": 2}, False),
        ({"x": 1}, {"x": 1.0}, False),
        ({"x": None}, {}, False),
        ({"x": {"y": 1}}, {"x.y": 1}, False),
    ],
)
def test_hash_knows_equal_specs(a: dict[str, Any], b: dict[str, Any], same: bool) -> None:
    assert (spec_hash("train", a) == spec_hash("train", b)) is same
    assert spec_hash("train", a) != spec_hash("sample", a)


def test_hash_is_the_same_on_every_machine() -> None:
    assert spec_hash("train", {"b": 0.1, "a": "flöwers"}) == "74599c9af52628815d3b556bb355c51b"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(1), Path("x"), {1, 2}])
def test_spec_that_is_not_plain_json_is_named(value: Any) -> None:
    with pytest.raises(StoreError, match=r"train.*training\.lr="):
        spec_hash("train", {"training": {"lr": value}})


@pytest.mark.parametrize("stage", ["work", "locks", "tmp", "damaged", "../x", "Train", ""])
def test_stage_names_that_would_collide_are_refused(stage: str) -> None:
    with pytest.raises(StoreError, match="stage="):
        spec_hash(stage, {})


def test_facts_must_be_plain_json_and_nothing_is_published(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="loss=nan"):
        store.make("train", SPEC, lambda out, work: {"loss": float("nan")})
    assert store.find("train", SPEC) is None


def test_failed_producer_publishes_nothing_and_keeps_its_work(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fails(out: Path, work: Path) -> dict[str, Any]:
        (out / "half.bin").write_bytes(b"x")
        (work / "checkpoint").write_text("step 7")
        raise RuntimeError("no luck")

    def goes_on(out: Path, work: Path) -> dict[str, Any]:
        return {"from": (work / "checkpoint").read_text(), "in": sorted(p.name for p in out.iterdir())}

    with pytest.raises(RuntimeError, match="no luck"):
        store.make("train", SPEC, fails)
    assert store.find("train", SPEC) is None
    assert store.make("train", SPEC, goes_on).facts == {"from": "step 7", "in": []}
    assert not store.work(KEY)


@pytest.mark.parametrize("kind", [RuntimeError, StoreError, KeyboardInterrupt, Interrupted])
def test_producer_that_raises_gives_back_the_lease_and_its_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    leases: list[SoftFileLease] = []  # kept: one that is only forgotten gives its lock back when it is collected

    def keep(*arguments: Any, **settings: Any) -> SoftFileLease:
        leases.append(SoftFileLease(*arguments, **settings))
        return leases[-1]

    monkeypatch.setattr(store_module.lease, "SoftFileLease", keep)
    store = Store(tmp_path)
    threads = threading.active_count()

    def fails(out: Path, work: Path) -> dict[str, Any]:
        (out / "half.bin").write_bytes(b"x")
        assert store.lock(KEY).exists() and threading.active_count() > threads
        raise kind("no luck")

    with pytest.raises(kind, match="no luck"):
        store.make("train", SPEC, fails)
    assert len(leases) == 1
    assert not store.lock(KEY).exists(), "the lease is still held"
    assert threading.active_count() == threads, "and kept fresh"
    assert not any((tmp_path / "tmp" / "train").iterdir())
    assert not Store(tmp_path).make("train", SPEC, Producer()).reused


def test_a_manifest_records_spec_facts_and_used_results(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def uses(*stages: str) -> Any:
        def produce(out: Path, work: Path) -> dict[str, Any]:
            for stage in stages:
                made = store.make(stage, {}, {"floor": uses("features"), "features": Producer()}[stage])
                assert made.path.exists()
            return {"stages": list(stages)}

        return produce

    def manifest(stage: str, spec: dict[str, Any]) -> dict[str, Any]:
        path = store.path(f"{stage}/{spec_hash(stage, spec)}")
        assert json.loads((path / "spec.json").read_text()) == {"stage": stage, "spec": spec}
        manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text())
        return manifest

    floor, features = (f"{stage}/{spec_hash(stage, {})}" for stage in ("floor", "features"))
    store.make("score", {"n": 1}, uses("floor"))
    store.make("score", {"n": 2}, uses("floor", "features", "floor"))  # stored already; a use all the same
    store.make("score", {"n": 3}, uses())
    assert manifest("features", {})["uses"] == []
    assert manifest("floor", {})["uses"] == [features]
    assert [manifest("score", {"n": n})["uses"] for n in (1, 2, 3)] == [[floor], [features, floor], []]

    about = manifest("features", {})
    assert (about["key"], about["host"], about["facts"]) == (
        features,
        platform.node(),
        {"text": "hello", "shape": [1, 2]},
    )
    created = datetime.fromisoformat(about["created"])
    assert created.utcoffset() == timedelta(0) and abs(datetime.now(UTC) - created) < timedelta(minutes=5)
    assert sorted(about["files"]) == ["model/weights.bin", "note.txt", "spec.json"]
    assert about["files"]["model/weights.bin"]["size"] == 500


def test_results_of_one_stage_are_made_side_by_side(tmp_path: Path) -> None:
    """A process removes only its own scratch files."""
    store = Store(tmp_path)

    def outer(out: Path, work: Path) -> dict[str, Any]:
        (out / "first.txt").write_text("first")
        (work / "checkpoint").write_text("step 7")
        store.make("train", {**SPEC, "pool": "other"}, Producer())
        return {"kept": (work / "checkpoint").read_text()}

    result = store.make("train", SPEC, outer)
    assert (result.path / "first.txt").read_text() == "first" and result.facts == {"kept": "step 7"}


def test_an_error_in_publishing_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = OSError(errno.EIO, "I/O error", "x")

    def fails(path: Path, target: Path) -> Path:
        raise trouble

    with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
        patch.setattr(Path, "rename", fails)
        Store(tmp_path).make("train", SPEC, Producer())
    assert caught.value is trouble
    assert Store(tmp_path).find("train", SPEC) is None


def test_results_used_by_a_failed_producer_are_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fails(out: Path, work: Path) -> dict[str, Any]:
        store.make("features", {}, Producer())
        raise RuntimeError

    def outer(out: Path, work: Path) -> dict[str, Any]:
        with pytest.raises(RuntimeError):
            store.make("train", {}, fails)
        return {}

    path = store.make("score", {}, outer).path
    assert json.loads((path / "manifest.json").read_text())["uses"] == []


@pytest.mark.parametrize("name", ["spec.json", "manifest.json"])
def test_the_stores_own_files_are_not_a_producers(tmp_path: Path, name: str) -> None:
    def clash(out: Path, work: Path) -> dict[str, Any]:
        (out / name).write_text("{}")
        return {}

    with pytest.raises(AssertionError, match=name):
        Store(tmp_path).make("train", SPEC, clash)
    assert Store(tmp_path).find("train", SPEC) is None


def test_scratch_directories_are_separate_and_named_after_their_result(tmp_path: Path) -> None:
    store, seen = Store(tmp_path), []

    def produce(out: Path, work: Path) -> dict[str, Any]:
        seen.append((work, json.loads(work.with_suffix(".json").read_text()), sorted(out.iterdir())))
        assert work in store.work(KEY) or len(seen) == 2
        return {}

    for spec in (SPEC, {**SPEC, "pool": "other"}):
        store.make("train", spec, produce)
    assert [(about["stage"], about["spec"]["pool"], out) for _, about, out in seen] == [
        ("train", "abc", []),
        ("train", "other", []),
    ]
    assert seen[0][0].name.split(".")[0] != seen[1][0].name.split(".")[0]


FULL = [
    OSError(errno.ENOSPC, "No space left on device", "x"),
    OSError(errno.EDQUOT, "Disk quota exceeded", "x"),
    RuntimeError("Error while serializing: IoError(Os { code: 28, message: No space left on device })"),
    OSError("8388608 requested and 4096 written"),
]


@pytest.mark.parametrize("trouble", FULL, ids=str)
def test_a_full_disk_is_recognised_in_the_errors_of_all_libraries(tmp_path: Path, trouble: Exception) -> None:
    def fails(out: Path, work: Path) -> dict[str, Any]:
        raise trouble

    with pytest.raises(StoreError, match=r"is full: train/.*prune") as caught:
        Store(tmp_path).make("train", SPEC, fails)
    assert caught.value.__cause__ is trouble


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_store_that_cannot_be_written_is_distinguished_from_other_files(tmp_path: Path, number: int) -> None:
    store = Store(tmp_path / "store")

    def denied(path: Path | None) -> Any:
        def produce(out: Path, work: Path) -> dict[str, Any]:
            raise OSError(number, "denied", None if path is None else str(path))

        return produce

    with pytest.raises(StoreError, match=r"cannot be written.*has no train/"):
        store.make("train", SPEC, denied(store.root / "train" / "x"))
    for elsewhere in (tmp_path / "storehouse" / "x", None):
        with pytest.raises(OSError, match="denied"):
            store.make("train", SPEC, denied(elsewhere))


@pytest.mark.parametrize("trouble", [OSError(errno.EIO, "I/O error", "x"), ValueError("3 requested and 2 written")])
def test_other_trouble_goes_through_as_it_is(tmp_path: Path, trouble: Exception) -> None:
    def fails(out: Path, work: Path) -> dict[str, Any]:
        raise trouble

    with pytest.raises(type(trouble)) as caught:
        Store(tmp_path).make("train", SPEC, fails)
    assert caught.value is trouble


# ------------------------------------------------------------------------------------------------------ damage


def truncate(path: Path) -> None:
    with (path / "model" / "weights.bin").open("r+b") as file:
        file.truncate(17)


def truncate_and_keep_its_time(path: Path) -> None:
    """Truncate a file but keep its time, like an interrupted copy that preserves times."""
    stat = (path / "model" / "weights.bin").stat()
    truncate(path)
    os.utime(path / "model" / "weights.bin", ns=(stat.st_atime_ns, stat.st_mtime_ns))


def swap_two_of_one_size(path: Path) -> None:
    for name in ("spec.json", "note.txt"):
        (path / name).rename(path / f"{name}.old")
    (path / "spec.json.old").rename(path / "note.txt")
    (path / "note.txt.old").rename(path / "spec.json")


def flip_one_bit(path: Path) -> None:
    body = bytearray((path / "model" / "weights.bin").read_bytes())
    body[33] ^= 1
    (path / "model" / "weights.bin").write_bytes(body)


def flip_one_bit_and_keep_its_time(path: Path) -> None:
    """Change bytes but neither size nor time, like a failing disk. The next process that reads the file detects it."""
    stat = (path / "model" / "weights.bin").stat()
    flip_one_bit(path)
    os.utime(path / "model" / "weights.bin", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    forget()


def remove_a_file(path: Path) -> None:
    (path / "note.txt").unlink()


def add_a_file(path: Path) -> None:
    (path / "model" / "more.bin").write_text("stray")


def _alter_the_manifest(path: Path, key: str, value: Any) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest[key] != value
    (path / "manifest.json").write_text(json.dumps({**manifest, key: value}))


def alter_the_facts(path: Path) -> None:
    _alter_the_manifest(path, "facts", {"text": "better", "shape": [1, 2]})


def alter_the_uses(path: Path) -> None:
    _alter_the_manifest(path, "uses", ["features/0"])


def manifest_that_is_a_list(path: Path) -> None:
    (path / "manifest.json").write_text("[]")


def cut_the_manifest(path: Path) -> None:
    body = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(body[: len(body) // 2])


def alter_the_spec(path: Path) -> None:
    (path / "spec.json").write_text("{}")


def put_another_result_in_its_place(path: Path) -> None:
    other = Store(path.parents[2]).make("train", {**SPEC, "pool": "other"}, Producer("other"))
    shutil.rmtree(path)
    shutil.copytree(other.path, path)


HARMS = [truncate, flip_one_bit, flip_one_bit_and_keep_its_time, remove_a_file, add_a_file, alter_the_facts]
HARMS += [cut_the_manifest, alter_the_spec, alter_the_uses, manifest_that_is_a_list, truncate_and_keep_its_time]
HARMS += [swap_two_of_one_size, put_another_result_in_its_place]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("seen_before", [True, False])
def test_damaged_result_is_noticed_and_made_again(tmp_path: Path, harm: Any, seen_before: bool, caplog: Any) -> None:
    store, produce = Store(tmp_path), Producer()
    path = store.make("train", SPEC, produce).path
    good = {p: p.read_bytes() for p in path.rglob("*.bin")}
    if not seen_before:
        forget()
    harm(path)
    assert store.find("train", SPEC) is None
    again = store.make("train", SPEC, produce)
    assert (produce.calls, again.reused) == (2, False)
    assert {p: p.read_bytes() for p in path.rglob("*.bin")} == good
    assert len(list((tmp_path / "damaged" / "train").iterdir())) == 1
    assert "is damaged" in caplog.text and "made again" in caplog.text


def test_files_are_read_in_full_once_per_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.make("train", SPEC, Producer())
    forget()
    read: list[Path] = []
    verify = store_module.result_files.verify
    monkeypatch.setattr(
        store_module.result_files, "verify", lambda path, *rest: (read.append(path), verify(path, *rest))
    )
    for _ in range(3):
        assert Store(tmp_path).find("train", SPEC) is not None
    assert len(read) == 1


# ------------------------------------------------------------------------------------------- several processes


def _slow_make(root: Path, started: Any, seconds: float, name: str) -> None:
    def produce(out: Path, work: Path) -> dict[str, Any]:
        with (root / "calls").open("a") as file:
            file.write(f"{name}\n")
        started.set()
        time.sleep(seconds)
        (out / "x.bin").write_bytes(name.encode())
        return {"by": name}

    result = Store(root).make("train", SPEC, produce)
    assert (result.path / "x.bin").exists()


def test_if_two_processes_need_a_result_one_computes_and_the_other_waits(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO, logger="bench")
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    other = context.Process(target=_slow_make, args=(tmp_path, started, 1.5, "other"))
    other.start()
    assert started.wait(30)
    result = Store(tmp_path).make("train", SPEC, Producer())
    other.join(30)
    assert other.exitcode == 0
    assert (result.facts, result.reused) == ({"by": "other"}, True)
    assert (tmp_path / "calls").read_text() == "other\n"
    waiting = [r.getMessage() for r in caplog.records if "waiting" in r.getMessage()]
    assert len(waiting) == 1 and f"process {other.pid} on " in waiting[0]


def test_killed_holder_on_this_machine_is_noticed_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    other = context.Process(target=_slow_make, args=(tmp_path, started, 600.0, "killed"))
    other.start()
    assert started.wait(30)
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join(30)
    assert list((tmp_path / "locks").rglob("*.lock")), "the dead holder left its lock"
    assert list((tmp_path / "tmp" / "train").iterdir()), "and its half-written result"
    began = time.monotonic()
    result = Store(tmp_path).make("train", SPEC, Producer())
    assert time.monotonic() - began < 5 < store_module.lease.LEASE_SECONDS
    assert result.facts["text"] == "hello"
    assert not any((tmp_path / "tmp" / "train").iterdir())


def test_a_maker_that_takes_longer_than_its_lease_keeps_it(tmp_path: Path) -> None:
    store, started = Store(tmp_path, lease_seconds=1.0), threading.Event()
    by: list[str] = []

    def slow(out: Path, work: Path) -> dict[str, Any]:
        started.set()
        time.sleep(2.2)
        by.append("slow")
        return Producer("slow")(out, work)

    thread = threading.Thread(target=store.make, args=("train", SPEC, slow))
    thread.start()
    assert started.wait(30)
    result = Store(tmp_path, lease_seconds=1.0).make("train", SPEC, Producer("robber"))
    assert by == ["slow"] and (result.facts["text"], result.reused) == ("slow", True)
    thread.join()


def _lock_of_another_machine(store: Store) -> Path:
    """Create the lock file of process 4242 on node17: a real lock file with another owner in it."""
    lock = store.lock(KEY)
    lock.parent.mkdir(parents=True)
    lease = SoftFileLease(lock, lease_duration=store.lease_seconds, heartbeat_interval=store.lease_seconds / 8)
    with lease:
        lines = lock.read_text().splitlines()
    there = {"pid": "pid=4242", "host": "host=node17", "hostname": "hostname=node17"}
    told = [there.get(line.split("=")[0], line) for line in lines if not line.startswith("start=")]
    assert told != lines
    lock.write_text("\n".join(told) + "\n")
    return lock


@pytest.mark.parametrize("ahead_hours", [-48, 0, 48])
def test_holder_that_died_on_another_machine_is_outwaited(tmp_path: Path, ahead_hours: int, caplog: Any) -> None:
    """The clock of that machine may be wrong: only changes of the file count, not its time compared with ours."""
    caplog.set_level(logging.INFO, logger="bench")
    store = Store(tmp_path, lease_seconds=1.0)
    lock = _lock_of_another_machine(store)
    then = time.time() + ahead_hours * 3600
    os.utime(lock, (then, then))
    began = time.monotonic()
    assert store.make("train", SPEC, Producer()).facts["text"] == "hello"
    assert 0.9 < time.monotonic() - began < 10
    assert "process 4242 on node17" in caplog.text


def test_live_holder_whose_clock_goes_backwards_keeps_its_lease(tmp_path: Path) -> None:
    store = Store(tmp_path, lease_seconds=1.0)
    lock = _lock_of_another_machine(store)
    context = multiprocessing.get_context("spawn")
    beats = context.Process(target=_beat_backwards, args=(lock, 2.0))
    beats.start()
    while lock.stat().st_mtime > time.time() - 1000:  # until the first beat
        time.sleep(0.01)
    began = time.monotonic()
    store.make("train", SPEC, Producer())
    beats.join()
    assert time.monotonic() - began > 1.5, "a live holder was robbed"


def _beat_backwards(lock: Path, seconds: float) -> None:
    end, then = time.monotonic() + seconds, time.time() - 5000.0
    while time.monotonic() < end:
        os.utime(lock, (then, then))
        then -= 60
        time.sleep(0.1)
    lock.unlink()


def test_robbed_holder_uses_what_was_published_meanwhile(tmp_path: Path, caplog: Any) -> None:
    """A process that was suspended past its lease uses the result of its successor, even if it was the first to end."""
    store = Store(tmp_path)

    def suspended(out: Path, work: Path) -> dict[str, Any]:
        store.lock(KEY).unlink()
        Store(tmp_path).make("train", SPEC, Producer("successor"))
        return Producer("too late")(out, work)

    result = store.make("train", SPEC, suspended)
    assert (result.facts["text"], result.reused) == ("successor", True)
    assert "another process took over" in caplog.text


def test_the_first_of_two_simultaneous_publishers_wins(tmp_path: Path, caplog: Any) -> None:
    store, elsewhere = Store(tmp_path / "a"), Store(tmp_path / "b")

    def slow(out: Path, work: Path) -> dict[str, Any]:
        facts = Producer("second")(out, work)
        shutil.copytree(elsewhere.make("train", SPEC, Producer("first")).path, store.path(KEY))
        return facts

    assert store.make("train", SPEC, slow).facts["text"] == "first"
    assert store.make("train", SPEC, slow).facts["text"] == "first"
    assert "published by another process" in caplog.text
    assert not any((tmp_path / "a" / "tmp" / "train").iterdir())
