"""CIFAR-10 from a small archive in the layout of the binary version."""

import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from configs import Cifar10Config, checked
from shrunk import TINY, composed

from bench import ledger
from bench.datasets import cifar10, data_spec, load_real
from bench.datasets.shared.manifest import shipped
from bench.errors import ConfigError, DataError
from bench.loop import run_chain
from bench.machine.console import Console
from bench.prefetch import main

RNG = np.random.default_rng(0)
PLANES = {name: RNG.integers(0, 256, (30, 3, 32, 32)).astype(np.uint8) for name in (*cifar10.TRAIN, cifar10.TEST)}
LABELS = {name: RNG.permutation(np.repeat(np.arange(10), 3)).astype(np.uint8) for name in PLANES}


def records(name: str) -> bytes:
    return np.concatenate([LABELS[name][:, None], PLANES[name].reshape(30, -1)], axis=1).tobytes()


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Write the archive, with members changed (None: left out) or added, and a manifest of it; return its path."""

    def do(sha256=None, **changes: bytes | None):
        path = tmp_path / "server" / cifar10.FILE
        path.parent.mkdir(exist_ok=True)
        members = {f"{cifar10.FOLDER}/{name}.bin": records(name) for name in PLANES}
        members |= {f"{cifar10.FOLDER}/batches.meta.txt": "\n".join(cifar10.CLASSES).encode()}
        members |= {(name if "/" in name else f"{cifar10.FOLDER}/{name}.bin"): c for name, c in changes.items()}
        with tarfile.open(path, "w:gz") as tar:
            for name, content in members.items():
                if content is not None:
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        sums = {cifar10.FILE: sha256 or hashlib.sha256(path.read_bytes()).hexdigest()}
        own = replace(shipped()["cifar10"], url=path.as_uri(), checksums=sums)
        monkeypatch.setattr(cifar10, "shipped", lambda: {"cifar10": own})
        return path

    return do


def config(tmp_path, **values) -> Cifar10Config:
    return checked(Cifar10Config(**({"root": str(tmp_path / "cache"), "num_heldout": 3} | values)))


def check_against_the_records(pool, part: str) -> None:
    assert pool.label_names == {"class": list(cifar10.CLASSES)}
    for image, name, label in zip(pool.items, pool.records.source_id, pool.records.labels["class"], strict=True):
        batch, row = name.rsplit("-", 1)
        assert batch.startswith(part)
        np.testing.assert_array_equal(image, PLANES[batch][int(row)])
        assert label == LABELS[batch][int(row)]


def test_all_classes_with_the_published_parts_apart(publish, tmp_path):
    publish()
    real = load_real(config(tmp_path, num_train=100))
    assert real.reserve is not None
    assert (len(real.train), len(real.heldout), len(real.reserve)) == (100, 3, 50)
    check_against_the_records(real.train, "data_batch")
    check_against_the_records(real.reserve, "data_batch")
    check_against_the_records(real.heldout, "test_batch")


def test_some_classes_and_another_size(publish, tmp_path):
    publish()
    birds = load_real(config(tmp_path, classes=["bird"]))
    assert (len(birds.train), len(birds.heldout), birds.reserve) == (15, 3, None)
    check_against_the_records(birds.train, "data_batch")
    check_against_the_records(birds.heldout, "test_batch")
    assert set(birds.train.records.labels["class"]) == {2}
    two = load_real(config(tmp_path, classes=["ship", "bird"], resolution=16))
    assert two.train.items.shape == (30, 3, 16, 16) and set(two.train.records.labels["class"]) == {2, 8}
    assert data_spec(config(tmp_path)) != data_spec(config(tmp_path, classes=["bird"]))
    with pytest.raises(DataError, match=r"data\.num_heldout=4: the test part of these data has 3 items"):
        load_real(config(tmp_path, classes=["bird"], num_heldout=4))


@pytest.mark.parametrize("classes", [["brd"], ["bird", "bird"], []])
def test_classes_that_do_not_exist_are_refused_with_those_that_do(tmp_path, classes):
    with pytest.raises(ConfigError, match=r"classes=.*must be different ones of airplane, automobile, bird"):
        config(tmp_path, classes=classes)


def test_the_second_time_needs_neither_archive_nor_network(publish, tmp_path):
    path = publish()
    first = load_real(config(tmp_path))
    path.unlink()
    (tmp_path / "cache" / cifar10.FILE).unlink()
    assert load_real(config(tmp_path, download=False)).train.id == first.train.id


def test_a_corrupted_archive_is_refused(publish, tmp_path):
    publish(sha256="0" * 64)
    with pytest.raises(DataError, match=f"expected {'0' * 64}: the download is not used"):
        load_real(config(tmp_path))
    assert not (tmp_path / "cache" / cifar10.FOLDER).exists()


def test_a_truncated_archive_and_a_changed_folder_are_refused(publish, tmp_path):
    path = publish()
    load_real(config(tmp_path))
    batch = tmp_path / "cache" / cifar10.FOLDER / "data_batch_3.bin"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"1 of 7 files in .*e\.g\. data_batch_3\.bin: delete that folder"):
        load_real(config(tmp_path))
    whole = path.read_bytes()
    cut = tmp_path / "elsewhere" / cifar10.FILE
    cut.parent.mkdir()
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"has sha256 .* expected .*: delete it"):
        load_real(config(tmp_path, root=str(cut.parent)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data_batch_2": records("data_batch_2")[:-1]},
            r"data_batch_2\.bin has 92189 bytes, expected records of 3073",
        ),
        ({"data_batch_2": b""}, r"data_batch_2\.bin has 0 bytes"),
        ({"test_batch": None}, r"test_batch\.bin cannot be read"),
        ({"data_batch_1": b"\x0a" + records("data_batch_1")[1:]}, r"a label is 10, expected 0 to 9"),
        ({"../escaped.txt": b"x"}, "cannot unpack"),
        ({f"{cifar10.FOLDER}/../../escaped.txt": b"x"}, "cannot unpack"),
    ],
)
def test_archives_that_are_not_cifar10_are_refused_even_with_the_right_checksum(publish, tmp_path, changes, message):
    publish(**changes)
    with pytest.raises(DataError, match=message):
        load_real(config(tmp_path))
    assert not list(tmp_path.rglob("escaped.txt"))


def test_prefetch_fetches_it_and_a_chain_of_one_class_runs_on_it(publish, tmp_path, capsys):
    publish()
    own = [
        "data=cifar10",
        "data.classes=[bird]",
        f"data.root={tmp_path}/cache",
        "data.num_heldout=3",
        "data.num_train=12",
    ]
    own += ["metrics=pixels", "metrics.num_images=3", "metrics.k=2", "metrics.options.kernel.subset_size=2"]
    assert main(["experiment=tiny", *own]) == 0
    name, content, num = capsys.readouterr().out.splitlines()[-1].split("  ")
    assert (name, len(content), num) == ("data=cifar10", 64, "18 items")
    small = [o for o in TINY if not o.startswith(("data", "metrics"))]
    overrides = [*small, *own, "data.resolution=16", "num_generations=2", "metrics.scores=[frechet,tails]"]
    rows = ledger.read(
        run_chain(composed(*overrides, f"output_dir={tmp_path}/o"), Console(quiet=True)) / ledger.FILENAME
    )
    assert [row.generation for row in rows] == [0, 1]
