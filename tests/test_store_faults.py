"""The store on a disk that is full, and on one that cannot be written. Needs the right to mount a small tmpfs."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench.errors import StoreError
from bench.store import Store, spec_hash

MEGABYTES = 4


def _mount(*args: str) -> bool:
    return subprocess.run(["mount", *args], capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    if not _mount("-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(disk)):
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def small(out: Path, work: Path) -> dict[str, Any]:
    (out / "x.bin").write_bytes(b"x" * 1000)
    return {"ok": True}


def write_plain(path: Path, size: int) -> None:
    path.write_bytes(b"x" * size)


def write_numpy(path: Path, size: int) -> None:
    np.save(path, np.ones(size, np.uint8), allow_pickle=False)


def write_safetensors(path: Path, size: int) -> None:
    save_file({"x": torch.ones(size, dtype=torch.uint8)}, path)


@pytest.mark.parametrize("write", [write_plain, write_numpy, write_safetensors], ids=lambda w: w.__name__)
@pytest.mark.parametrize("into", ["out", "work"])
def test_full_disk_is_reported_and_nothing_is_published(small_disk: Path, write: Any, into: str) -> None:
    store = Store(small_disk / "store")
    before = store.make("real", {"n": 1}, small)

    def large(out: Path, work: Path) -> dict[str, Any]:
        path = (out if into == "out" else work) / "large.npy"
        write(path, 2 * MEGABYTES << 20)
        return {"ok": True}

    with pytest.raises(StoreError, match=r"disk of .*store is full.*train/.*prune.*store_dir") as caught:
        store.make("train", {"n": 1}, large)
    assert str(store.root) in str(caught.value)
    assert store.find("train", {"n": 1}) is None
    assert not list((store.root / "tmp").glob("*/*")), "the half-written result still takes up the disk"
    assert store.find("real", {"n": 1}) is not None and before.path.exists()

    assert _mount("-o", f"remount,size={8 * MEGABYTES}m", str(small_disk))
    assert store.make("train", {"n": 1}, large).facts == {"ok": True}


def test_disk_that_is_full_to_the_last_byte(small_disk: Path) -> None:
    """Then there is no space even for the lock file or the manifest."""
    store = Store(small_disk / "store")
    store.make("real", {"n": 1}, small)
    with pytest.raises(OSError), (small_disk / "other").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(StoreError, match="is full"):
        store.make("train", {"n": 1}, small)
    assert store.make("real", {"n": 1}, small).reused
    (small_disk / "other").unlink()
    assert not store.make("train", {"n": 1}, small).reused


def test_read_only_store_returns_its_results(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    store.make("real", {"n": 1}, small)
    assert _mount("-o", "remount,ro", str(small_disk))
    result = store.make("real", {"n": 1}, small)
    assert result.reused and (result.path / "x.bin").stat().st_size == 1000
    with pytest.raises(StoreError, match=r"store cannot be written .*Read-only.* has no train/"):
        store.make("train", {"n": 1}, small)
    with pytest.raises(StoreError, match=r"cannot be written .*has no train/"):
        Store(small_disk / "new").make("train", {"n": 1}, small)


def test_damaged_result_in_a_read_only_store_is_not_used(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    path = store.make("real", {"n": 1}, small).path
    (path / "x.bin").write_bytes(b"y" * 1000)
    assert _mount("-o", "remount,ro", str(small_disk))
    assert store.find("real", {"n": 1}) is None
    with pytest.raises(StoreError, match="cannot be written"):
        store.make("real", {"n": 1}, small)


def test_producers_own_trouble_is_not_blamed_on_the_store(tmp_path: Path) -> None:
    def denied(out: Path, work: Path) -> dict[str, Any]:
        raise PermissionError(13, "Permission denied", "/data/photos")

    with pytest.raises(PermissionError, match="photos"):
        Store(tmp_path).make("real", {"n": 1}, denied)


def _file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("no folder")


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [_file, _link_to_itself])
def test_a_store_that_is_no_folder_is_named(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "store")
    with pytest.raises(StoreError, match=r"store is no store, or .* set store_dir to another folder"):
        Store(tmp_path / "store").make("real", {"n": 1}, small)


@pytest.mark.parametrize("place", ["locks", "locks/real", "work", "work/real", "tmp", "tmp/real", "real", "result"])
def test_a_file_where_the_store_needs_a_folder_is_named_and_left_alone(tmp_path: Path, place: str) -> None:
    store = Store(tmp_path)
    file = store.path(f"real/{spec_hash('real', {'n': 1})}") if place == "result" else tmp_path / place
    _file(file)
    with pytest.raises(StoreError, match=rf"something else lies in it .*{file}"):
        store.make("real", {"n": 1}, small)
    assert file.read_text() == "no folder"
    file.unlink()
    assert not store.make("real", {"n": 1}, small).reused


@pytest.mark.timeout(20)
def test_a_folder_in_the_place_of_a_lock_is_named_and_not_waited_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = store.lock(f"real/{spec_hash('real', {'n': 1})}")
    lock.mkdir(parents=True)
    with pytest.raises(StoreError, match=rf"something else lies in it .*Is a directory: '{lock}'"):
        store.make("real", {"n": 1}, small)
