"""MNIST from small files in the layout of the original."""

import gzip
from functools import partial

import numpy as np
import pytest
import small_mnist
from configs import MnistConfig
from small_mnist import DIGITS, PICTURES, idx

from bench.datasets import data_spec, load_real
from bench.errors import DataError


@pytest.fixture
def publish(tmp_path, monkeypatch):
    return partial(small_mnist.publish, tmp_path, monkeypatch)


def config(tmp_path, **values) -> MnistConfig:
    return MnistConfig(root=str(tmp_path / "cache"), **({"num_heldout": 8} | values))


def test_pictures_are_padded_and_grey_and_the_published_parts_stay_apart(publish, tmp_path):
    publish()
    real = load_real(config(tmp_path, num_train=30))
    assert real.reserve is not None
    assert (len(real.train), len(real.heldout), len(real.reserve)) == (30, 8, 10)
    for pool, part, stem in (
        (real.train, "train", "train"),
        (real.reserve, "train", "train"),
        (real.heldout, "test", "t10k"),
    ):
        assert pool.label_names == {"digit": list("0123456789")}
        assert len(set(pool.records.source_id)) == len(pool)
        for image, name, digit in zip(pool.items, pool.records.source_id, pool.records.labels["digit"], strict=True):
            of, index = name.split("-")
            assert of == part and digit == DIGITS[stem][int(index)]
            for channel in image:
                np.testing.assert_array_equal(channel[2:30, 2:30], PICTURES[stem][int(index)])
                assert channel.sum() == channel[2:30, 2:30].sum(), "the margin is black"


def test_other_sizes_go_through_the_one_resize(publish, tmp_path):
    publish()
    real = load_real(config(tmp_path, resolution=16))
    assert real.train.items.shape == (40, 3, 16, 16) and real.heldout.items.shape == (8, 3, 16, 16)
    assert load_real(config(tmp_path, resolution=64)).heldout.notes["num_enlarged"] == 8


def test_the_second_time_needs_no_network_and_another_split_seed_draws_others(publish, tmp_path):
    server = publish()
    first = load_real(config(tmp_path))
    for path in server.iterdir():
        path.unlink()
    assert load_real(config(tmp_path, download=False)).train.id == first.train.id
    other = load_real(config(tmp_path, split_seed=1))
    assert set(other.heldout.records.source_id) != set(first.heldout.records.source_id)


def test_too_many_of_a_part_are_refused_with_how_many_there_are(publish, tmp_path):
    publish()
    with pytest.raises(DataError, match=r"data\.num_heldout=13: the test part of these data has 12 items"):
        load_real(config(tmp_path, num_heldout=13))
    with pytest.raises(DataError, match=r"data\.num_train=41: the training part of these data has 40 items"):
        load_real(config(tmp_path, num_train=41))


@pytest.mark.parametrize("download", [True, False])
def test_a_corrupted_file_is_refused(publish, tmp_path, download):
    server = publish()
    if download:
        with (server / "train-images-idx3-ubyte.gz").open("ab") as file:
            file.write(b"x")
    else:
        load_real(config(tmp_path))
        with (tmp_path / "cache/MNIST/raw/t10k-labels-idx1-ubyte.gz").open("ab") as file:
            file.write(b"x")
    with pytest.raises(DataError, match=r"has sha256 .*, expected .* not used"):
        load_real(config(tmp_path, download=download))
    if download:
        assert not (tmp_path / "cache/MNIST/raw/train-images-idx3-ubyte.gz").exists()


def test_without_network_the_error_says_what_to_do(publish, tmp_path):
    server = publish()
    with pytest.raises(DataError, match=r"data\.download=true, or put t10k-images-idx3-ubyte\.gz, .* there"):
        load_real(config(tmp_path, download=False))
    (server / "t10k-labels-idx1-ubyte.gz").unlink()
    said = r"Without network: fetch it elsewhere .*t10k-labels-idx1-ubyte.*Missing files of mnist: t10k-images.*train-"
    with pytest.raises(DataError, match=said):
        load_real(config(tmp_path))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train_images_idx3", gzip.compress(idx(PICTURES["train"]))[:-900], "cannot be unpacked"),
        ("train_images_idx3", gzip.compress(idx(PICTURES["train"])[:-1]), r"has 31359 values, but its header says"),
        ("train_images_idx3", gzip.compress(idx(PICTURES["train"][:-1])), r"pictures \(39, 28, 28\), expected \(40,"),
        ("t10k_images_idx3", gzip.compress(idx(PICTURES["t10k"][:, 1:])), r"expected \(12, 28, 28\)"),
        ("t10k_images_idx3", b"no archive", "cannot be unpacked"),
        ("train_labels_idx1", gzip.compress(idx(PICTURES["train"])), "not an IDX file of bytes in 1 dimensions"),
        ("train_labels_idx1", gzip.compress(b""), "not an IDX file"),
        ("t10k_labels_idx1", gzip.compress(idx(DIGITS["t10k"] + 10)), "digits are 0 to 9"),
    ],
    ids=range(8),
)
def test_files_that_are_not_mnist_are_refused_even_with_the_right_checksum(publish, tmp_path, file, content, message):
    publish(**{file: content})
    with pytest.raises(DataError, match=message):
        load_real(config(tmp_path))


def test_the_spec_names_the_checksums_and_not_the_place(publish, tmp_path):
    spec = data_spec(config(tmp_path))
    assert "train-images-idx3-ubyte.gz:440fcabf73cc546f" in spec["content"]
    assert (
        spec == data_spec(config(tmp_path / "elsewhere", download=False)) != data_spec(config(tmp_path, resolution=16))
    )
    publish()
    assert data_spec(config(tmp_path)) != spec
