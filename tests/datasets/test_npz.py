import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
from configs import FolderConfig, NpzConfig
from PIL import Image

from bench.datasets import data_spec, load_real, npz
from bench.datasets.shared.resize import resize
from bench.errors import DataError
from bench.pool import REAL

SHARED = Path("/work/shared/data")


@pytest.fixture
def archive(tmp_path):
    """Save forty 12 px pictures of four classes, each of its own colour, with the given arrays."""

    def save(name="forty.npz", **arrays):
        images = np.zeros((40, 12, 12, 3), np.uint8)
        images[:] = (np.arange(40) * 6).astype(np.uint8)[:, None, None, None]
        path = tmp_path / name
        np.savez(path, **({"images": images, "labels": np.arange(40) % 4} | arrays))
        return str(path)

    return save


def test_images_labels_and_names_stay_together(archive):
    names = np.asarray([f"picture_{99 - number}.jpg" for number in range(40)])
    classes = np.asarray(["ash", "beech", "cedar", "dogwood"])
    path = archive(filenames=names, class_names=classes)
    real = load_real(NpzConfig(path=path, resolution=12, num_train=20, num_heldout=10))
    assert (len(real.train), len(real.heldout), len(real.reserve)) == (20, 10, 10)
    for pool in (real.train, real.heldout, real.reserve):
        assert pool.items.dtype == np.uint8 and pool.items.shape[1:] == (3, 12, 12)
        assert pool.label_names == {"class": ["ash", "beech", "cedar", "dogwood"]}
        assert np.all(pool.records.generation == REAL)
        for image, name, label in zip(pool.items, pool.records.source_id, pool.records.labels["class"], strict=True):
            row = list(names).index(name)
            assert np.all(image == row * 6) and label == row % 4


def test_without_file_names_the_ids_are_indices_and_without_labels_there_are_none(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "bare.npz", images=images)
    real = load_real(NpzConfig(path=str(tmp_path / "bare.npz"), resolution=8, num_heldout=2))
    assert real.train.records.labels == {} and real.train.label_names == {}
    for image, name in zip(real.train.items, real.train.records.source_id, strict=True):
        assert np.array_equal(image.transpose(1, 2, 0), images[int(name)])
    assert real.reserve is None


def test_labels_without_names_are_named_by_their_numbers(archive):
    assert load_real(NpzConfig(path=archive(), resolution=12, num_heldout=2)).train.label_names["class"] == list("0123")


def test_a_smaller_resolution_goes_through_the_resize_and_a_larger_one_is_noted(archive, caplog):
    path = archive()
    for resolution in (8, 12):  # 12 is the resolution of the pictures
        real = load_real(NpzConfig(path=path, resolution=resolution, num_heldout=4))
        assert real.train.items.shape[-1] == resolution and real.train.notes == {}
    with caplog.at_level(logging.WARNING):
        real = load_real(NpzConfig(path=path, resolution=16, num_heldout=4))
    assert real.train.notes == {"num_enlarged": 36}
    assert "num_enlarged" in caplog.text


def test_each_picture_is_resized_by_the_resize_of_all(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10, 20, 20, 3), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", images=images)
    source = npz.open_source(NpzConfig(path=str(tmp_path / "noise.npz"), resolution=8))
    assert source.source_ids == [f"{number:06d}" for number in range(10)], "ids that sort as the numbers do"
    made, notes = source.read(np.asarray([7, 2]))
    assert notes == {"num_enlarged": 0}
    for image, row in zip(made, (7, 2), strict=True):
        assert np.array_equal(image.transpose(1, 2, 0), resize(images[row], 8))


def test_further_columns_of_integers_can_be_selected_on(archive):
    columns = {
        "bar": np.arange(40, dtype=np.uint8) % 3,
        "weight": np.linspace(0, 1, 40),
        "few": np.arange(39),
        "square": np.zeros((40, 40), int),
    }
    names = np.asarray([f"{99 - number}.jpg" for number in range(40)])
    source = npz.open_source(NpzConfig(path=archive(filenames=names, **columns), resolution=12))
    assert list(source.facts) == ["bar"], "labels, names and images are no facts"
    assert source.facts["bar"].tolist() == (np.arange(40) % 3).tolist() and source.facts["bar"].dtype == np.int64
    assert len(source) == 40


def test_an_image_may_have_no_class(archive):
    labels = np.arange(40) % 4 - 1
    path = archive(labels=labels.astype(np.int8), class_names=np.asarray(["ash", "beech", "cedar", "dogwood"]))
    source = npz.open_source(NpzConfig(path=path, resolution=12))
    assert source.labels["class"].tolist() == labels.tolist() and source.labels["class"].dtype == np.int64
    assert source.label_names["class"] == ["ash", "beech", "cedar", "dogwood"], "the last one is on no picture"
    with pytest.raises(DataError, match="labels run from -2 to 2"):
        npz.open_source(NpzConfig(path=archive("worse.npz", labels=np.where(labels < 0, -2, labels)), resolution=12))


def test_identical_items_on_both_sides_are_counted_and_logged(tmp_path, caplog):
    images = np.zeros((20, 8, 8, 3), np.uint8)
    images[10:] = np.arange(10, 20)[:, None, None, None]
    np.savez(tmp_path / "twins.npz", images=images)
    with caplog.at_level(logging.WARNING):
        real = load_real(NpzConfig(path=str(tmp_path / "twins.npz"), resolution=8, num_heldout=8))
    black = int(np.sum(real.heldout.items.max(axis=(1, 2, 3)) == 0))
    assert black > 0, "the fixture must put a black picture on each side"
    assert real.heldout.notes["num_identical_to_training"] == black
    assert f"{black} of 8 held-out items have an identical twin" in caplog.text
    assert len(real.train) + len(real.heldout) == 20, "nothing is dropped"


def broken(tmp_path, kind):
    path = tmp_path / "broken.npz"
    good = np.zeros((10, 8, 8, 3), np.uint8)
    if kind == "text":
        path.write_text("not an archive")
    elif kind == "truncated":
        np.savez(path, images=good)
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "pickle":
        np.savez(path, images=good, labels=np.asarray([{}] * 10, dtype=object))
    elif kind == "corrupted":
        np.savez_compressed(path, images=np.random.default_rng(0).integers(0, 9, good.shape, dtype=np.uint8))
        content = bytearray(path.read_bytes())
        content[200:400] = bytes(200)
        path.write_bytes(content)
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, good)
    else:
        np.savez(path, **kind)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "broken.npz is not a NumPy"),
        ("truncated", "broken.npz is not a"),
        ("corrupted", "broken.npz is not a readable"),
        ("pickle", "without pickles"),
        ("npy", "broken.npz is not a NumPy"),
        ({"pictures": np.zeros(3)}, "no array 'images'; it has pictures"),
        ({"images": np.zeros((10, 8, 8, 3), np.float32)}, r"float32 \(10, 8, 8, 3\), expected uint8"),
        ({"images": np.zeros((10, 3, 8, 8), np.uint8)}, r"\(10, 3, 8, 8\), expected uint8 \(N, H, H, 3\)"),
        ({"images": np.zeros((10, 8, 9, 3), np.uint8)}, r"\(10, 8, 9, 3\)"),
        ({"images": np.zeros((10, 8, 8, 3), np.uint8), "labels": np.zeros(9, int)}, r"labels has shape \(9,\)"),
        ({"images": np.zeros((10, 8, 8, 3), np.uint8), "labels": np.zeros(10)}, "labels have dtype float64"),
        (
            {
                "images": np.zeros((4, 8, 8, 3), np.uint8),
                "labels": np.arange(4),
                "class_names": np.asarray(["a", "b", "c"]),
            },
            "labels run from 0 to 3, expected -1 .none. to 2",
        ),
        ({"images": np.zeros((10, 8, 8, 3), np.uint8), "filenames": np.asarray(["a"] * 10)}, "'a'.*unique"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_wrong_archive_says_what_is_wrong(tmp_path, kind, message):
    with pytest.raises(DataError, match=message):
        load_real(NpzConfig(path=broken(tmp_path, kind), resolution=8, num_heldout=2))


def test_a_tilde_is_the_home_folder(archive, tmp_path, monkeypatch):
    archive()
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "two.yaml").write_text("classes: [0, 1]")
    real = load_real(NpzConfig(path="~/forty.npz", subset="~/two.yaml", resolution=12, num_heldout=4))
    assert len(real.train) + len(real.heldout) == 20
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / "pictures" / f"{number}.png")
    assert len(load_real(FolderConfig(path="~/pictures", resolution=16, num_heldout=2)).train) == 2


def test_a_missing_file_is_named(tmp_path):
    config = NpzConfig(path=str(tmp_path / "nowhere.npz"))
    for ask in (load_real, data_spec):
        with pytest.raises(DataError, match=r"nowhere\.npz"):
            ask(config)


def test_too_few_images_names_the_numbers(archive):
    with pytest.raises(DataError, match="40 items are too few"):
        load_real(NpzConfig(path=archive(), resolution=12, num_train=35, num_heldout=10))


def test_the_spec_follows_the_content_and_not_the_place(archive, tmp_path):
    path = archive()
    spec = data_spec(NpzConfig(path=path))
    assert spec["content"] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    moved = tmp_path / "moved.npz"
    moved.write_bytes(Path(path).read_bytes())
    assert data_spec(NpzConfig(path=str(moved))) == spec
    assert data_spec(NpzConfig(path=path, split_seed=1)) != spec
    assert data_spec(NpzConfig(path=path, resolution=32)) != spec
    other = archive("other.npz", labels=np.zeros(40, int))
    assert data_spec(NpzConfig(path=other))["content"] != spec["content"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the prepared photographs are not on this machine")
@pytest.mark.parametrize(
    ("name", "subset", "num"),
    [
        ("flowers64", None, 8185),
        ("flowers64", "balanced", 4080),
        ("flowers64", "small", 2048),
        ("birds64", "clean", 4164),
        ("birds64", "twenty_classes", 576),
    ],
)
def test_the_prepared_photographs(name, subset, num):
    real = load_real(NpzConfig(path=str(SHARED / f"{name}.npz"), subset=subset, resolution=64, num_heldout=256))
    assert len(real.train) + len(real.heldout) == num
    assert real.heldout.notes["num_identical_to_training"] == 0
