"""Files after a power cut: nothing is relied on before it has reached the disk."""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_ledger import make_row

from bench import files, ledger
from bench.generators.shared import checkpoint
from bench.store import Store

Place = tuple[int, int]


class Platter:
    """The disk after a power cut: the bytes of each file and the names in each directory as last flushed, before and
    after the `awaited` path came into being."""

    def __init__(self, awaited: Path) -> None:
        self.awaited = awaited
        self.before: dict[Place, Any] = {}
        self.after: dict[Place, Any] = {}

    def flush(self, handle: int) -> None:
        flushed = self.after if self.awaited.exists() else self.before
        flushed[_place(os.fstat(handle))] = _content(Path(f"/proc/self/fd/{handle}").readlink())

    def was_whole_when_it_came_to_be(self) -> bool:
        """Return whether the bytes of every file at the awaited path, and the names in every directory, were flushed
        before the path came into being."""
        inside = [self.awaited, *self.awaited.rglob("*")] if self.awaited.is_dir() else [self.awaited]
        return all(self.before.get(_place(path.stat())) == _content(path) for path in inside)

    def would_be_found(self) -> bool:
        """Return whether the name of the awaited path was flushed after it came into being."""
        return self.awaited.name in self.after.get(_place(self.awaited.parent.stat()), [])


def _place(stat: os.stat_result) -> Place:
    return stat.st_dev, stat.st_ino


def _content(path: Path) -> Any:
    return sorted(inside.name for inside in path.iterdir()) if path.is_dir() else path.read_bytes()


@pytest.fixture
def platter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platter]:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to see which file is flushed")
    watched = Platter(tmp_path / "none")
    monkeypatch.setattr(os, "fsync", watched.flush)
    monkeypatch.setattr(os, "fdatasync", watched.flush)
    yield watched


def produce(out: Path, work: Path) -> dict[str, Any]:
    (out / "model" / "deep").mkdir(parents=True)
    (out / "model" / "deep" / "weights.bin").write_bytes(b"w" * 5000)
    (out / "model" / "config.json").write_text("{}")
    (out / "note.txt").write_text("hello")
    return {"seconds": 1.0}


def test_a_result_is_on_the_disk_before_it_can_be_found(tmp_path: Path, platter: Platter) -> None:
    store = Store(tmp_path / "store")
    elsewhere = Store(tmp_path / "elsewhere").make("train", {"n": 1}, produce)
    platter.awaited = store.path(elsewhere.key)
    store.make("train", {"n": 1}, produce)
    assert platter.was_whole_when_it_came_to_be()
    assert platter.would_be_found()


def test_a_checkpoint_is_on_the_disk_before_it_can_be_found(tmp_path: Path, platter: Platter) -> None:
    platter.awaited = tmp_path / "step-00000007.safetensors"
    assert checkpoint.save(tmp_path, 7, {"a": torch.ones(999)}, {"identity": "x"}) == platter.awaited
    assert platter.was_whole_when_it_came_to_be()
    assert platter.would_be_found()


def test_older_checkpoints_go_when_the_newer_is_on_the_disk(
    tmp_path: Path, platter: Platter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"a": torch.ones(9)}, {"identity": "x"})
    platter.awaited = tmp_path / "step-00000003.safetensors"
    unlink, removed = Path.unlink, []

    def watched(path: Path, *arguments: Any) -> None:
        removed.append((path.name, platter.would_be_found()))
        unlink(path, *arguments)

    monkeypatch.setattr(Path, "unlink", watched)
    checkpoint.save(tmp_path, 3, {"a": torch.ones(9)}, {"identity": "x"})
    assert removed == [("step-00000001.safetensors", True)]


def test_a_row_is_on_the_disk_when_append_returns(tmp_path: Path, platter: Platter) -> None:
    path = platter.awaited = tmp_path / "chain" / ledger.FILENAME
    for generation in range(2):
        ledger.append(path, make_row(generation))
        assert platter.after[_place(path.stat())] == path.read_bytes(), generation
    assert len(ledger.read(path)) == 2


def test_files_and_directories_are_flushed_and_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tmp_path, tmp_path / "file"):
        files.fsync(path)
    assert flushed == [tmp_path.stat().st_ino, (tmp_path / "file").stat().st_ino]

    def fails(handle: int) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        files.fsync(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_digest_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large").write_bytes(b"abc" * 10**6)
    assert files.sha256_of(tmp_path / "empty") == hashlib.sha256().hexdigest()
    assert files.sha256_of(tmp_path / "large") == hashlib.sha256(b"abc" * 10**6).hexdigest()
    with pytest.raises(FileNotFoundError):
        files.sha256_of(tmp_path / "none")


@pytest.mark.parametrize("existed", [False, True])
def test_a_file_written_aside_is_on_the_disk_before_it_can_be_found(
    existed: bool, tmp_path: Path, platter: Platter
) -> None:
    path = tmp_path / "state.json"
    if existed:
        path.write_text("old")
    else:
        platter.awaited = path
    with files.write_aside(path) as partial:
        partial.write_text("new")
        assert partial.parent == path.parent
        assert path.exists() is existed and (not existed or path.read_text() == "old")
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
    if not existed:
        assert platter.was_whole_when_it_came_to_be()
        assert platter.would_be_found()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_alone(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("old")
    with pytest.raises(error), files.write_aside(path) as partial:
        partial.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_a_file_that_cannot_be_flushed_does_not_replace_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(handle: int) -> None:
        raise OSError("the disk is gone")

    path = tmp_path / "state.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="the disk is gone"), files.write_aside(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_a_download_that_ends_early_or_is_another_file_leaves_nothing(tmp_path, monkeypatch):
    class Short(io.BytesIO):
        length = 10

    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **given: Short(b"seven b"))
    with pytest.raises(OSError, match="it ended after 7 of 10 bytes"):
        files.download("http://x/", tmp_path / "file")
    Short.length = 7
    for checksum, name in (("0" * 64, "sha256"), ("0" * 32, "md5")):
        with pytest.raises(OSError, match=f"it has {name} .*, expected {checksum}"):
            files.download("http://x/", tmp_path / "file", checksum)
    assert not list(tmp_path.iterdir())
    files.download("http://x/", tmp_path / "file", hashlib.md5(b"seven b").hexdigest())
    assert (tmp_path / "file").read_bytes() == b"seven b"
