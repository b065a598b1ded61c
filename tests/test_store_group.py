"""The store of several processes: all produce, the first one's files are published, and all get the same result.

The processes are threads here: what they say to each other goes through `bench.machine.distributed` alone.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError, DataError, StoreError
from bench.machine import distributed
from bench.store import Result, Store
from bench.store.group import GroupStore, open_store

SIZE = 3


class Group:
    """`SIZE` threads; a broadcast waits for all of them, or fails if one is missing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._me, self._meeting, self._value = threading.local(), threading.Barrier(SIZE, timeout=10), None
        monkeypatch.setattr(distributed, "rank", lambda: self._me.rank)
        monkeypatch.setattr(distributed, "world_size", lambda: SIZE)
        monkeypatch.setattr(distributed, "broadcast", self._broadcast)

    def _broadcast(self, value: Any = None) -> Any:
        if self._me.rank == 0:
            self._value = value
        self._meeting.wait()
        shared = self._value
        self._meeting.wait()
        return shared

    def each(self, body: Callable[[int], Any]) -> list[Any]:
        """Return what `body(rank)` returns or raises in each thread."""
        ends: list[Any] = [None] * SIZE

        def run(rank: int) -> None:
            self._me.rank = rank
            try:
                ends[rank] = body(rank)
            except Exception as error:
                ends[rank] = error

        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(SIZE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return ends


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    monkeypatch.setattr("bench.store.group.REQUIRED", {})
    return Group(monkeypatch)


def test_a_process_that_is_alone_has_the_plain_store(tmp_path: Path) -> None:
    assert type(open_store(tmp_path)) is Store


def test_all_produce_and_the_firsts_files_are_published(group: Group, tmp_path: Path) -> None:
    seen: dict[int, tuple[Path, Path]] = {}

    def body(rank: int) -> Result:
        def produce(out: Path, work: Path) -> dict[str, Any]:
            seen[rank] = out, work
            assert not list(out.iterdir())
            (out / f"of{rank}.bin").write_text(str(rank))
            return {"by": rank}

        store = open_store(tmp_path)
        assert type(store) is GroupStore
        return store.make("train", {"n": 1}, produce)

    first, *others = group.each(body)
    assert first.facts == {"by": 0} and not first.reused and others == [first] * (SIZE - 1)
    assert [path.name for path in first.path.glob("*.bin")] == ["of0.bin"]
    assert len({out for out, _ in seen.values()}) == SIZE and len({work for _, work in seen.values()}) == 1
    assert not any((tmp_path / "tmp" / "train").iterdir())

    seen.clear()
    again = group.each(body)
    assert not seen and [result.reused for result in again] == [True] * SIZE
    assert [result.path for result in again] == [first.path] * SIZE


def test_an_error_of_the_first_reaches_all(group: Group, tmp_path: Path) -> None:
    def body(rank: int) -> Result:
        def produce(out: Path, work: Path) -> dict[str, Any]:
            raise DataError("no such picture")

        return GroupStore(tmp_path).make("train", {"n": 1}, produce)

    first, *others = group.each(body)
    assert type(first) is DataError
    for other in others:
        assert type(other) is StoreError and "could not produce train: DataError: no such picture" in str(other)
    assert not any((tmp_path / "tmp" / "train").iterdir())
    assert group.each(lambda rank: GroupStore(tmp_path).make("train", {"n": 1}, lambda out, work: {"n": rank}))[
        SIZE - 1
    ].facts == {"n": 0}


def test_an_error_of_the_first_alone_reaches_those_that_are_deeper_in_the_result(group: Group, tmp_path: Path) -> None:
    def body(rank: int) -> list[str]:
        store, ends = GroupStore(tmp_path), []

        def score(out: Path, work: Path) -> dict[str, Any]:
            if rank == 0:
                raise DataError("all points are equal")
            return store.make("features", {"n": 2}, lambda out, work: {}).facts

        for stage, produce in (("score", score), ("train", lambda out, work: {"fine": True})):
            try:
                ends.append(str(store.make(stage, {"n": 1}, produce).facts))
            except StoreError as error:
                ends.append(str(error))
            except DataError as error:
                ends.append(f"first: {error}")
        return ends

    first, *others = group.each(body)
    assert first == ["first: all points are equal", "{'fine': True}"]
    assert others == [["the first process could not produce score: DataError: all points are equal", first[1]]] * 2


def test_processes_that_went_different_ways_do_not_go_on(group: Group, tmp_path: Path) -> None:
    group._meeting = threading.Barrier(SIZE, timeout=1)
    others = group.each(lambda rank: open_store(tmp_path).make("train", {"n": rank}, lambda out, work: {}))[1:]
    assert "diverged: the first reports" in str(others[0]) and not isinstance(others[0], BenchError)


def test_the_others_produce_again_where_the_first_lost_its_lease(group: Group, tmp_path: Path) -> None:
    calls: list[int] = []

    def body(rank: int) -> Result:
        def produce(out: Path, work: Path) -> dict[str, Any]:
            calls.append(rank)
            if calls.count(0) == 1 and rank == 0:
                next(tmp_path.glob("locks/train/*.lock")).unlink()
            return {}

        return open_store(tmp_path).make("train", {"n": 1}, produce)

    assert [result.facts for result in group.each(body)] == [{}] * SIZE
    assert sorted(calls) == [0, 0, 1, 1, 2, 2]


def test_a_mistake_of_a_producer_is_not_swallowed(group: Group, tmp_path: Path) -> None:
    """An error of another process than the first must not look like success; the launcher then ends the others."""

    def body(rank: int) -> Result:
        def produce(out: Path, work: Path) -> dict[str, Any]:
            if rank == 1:
                raise ZeroDivisionError
            return {}

        return GroupStore(tmp_path).make("train", {"n": 1}, produce)

    group._meeting = threading.Barrier(SIZE, timeout=1)
    assert type(group.each(body)[1]) is ZeroDivisionError
    assert not any((tmp_path / "tmp" / "train").iterdir())
