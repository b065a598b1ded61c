import hashlib
import io
import itertools
import logging
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from configs import FolderConfig, NpzConfig
from PIL import Image

from bench.datasets import data_spec, load_real, npz
from bench.datasets.shared import npz_archive
from bench.datasets.shared.resize import resize
from bench.errors import DataError
from bench.image_sets import read_images
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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int16])
def test_labels_may_be_integers_of_any_kind(archive, dtype):
    source = npz.open_source(NpzConfig(path=archive(labels=(np.arange(40) % 4).astype(dtype)), resolution=12))
    assert source.labels["class"].dtype == np.int64 and source.labels["class"].tolist() == [0, 1, 2, 3] * 10
    with pytest.raises(DataError, match=r"labels run from 1 to 18446744073709551615, expected"):
        labels = np.asarray([2**64 - 1, *range(1, 40)], dtype=np.uint64)
        npz.open_source(NpzConfig(path=archive("worse.npz", labels=labels), resolution=12))


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


# ---- sizes are known before anything is loaded


def headed(shape, dtype="<i8", content=b""):
    """The bytes of an array that claims a shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue() + content


def with_members(path, **members):
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] + np.zeros((10, 8, 8, 3), np.uint8)
    np.savez(path, images=images)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            with archive.open(name.replace("__", "."), "w", force_zip64=True) as member:
                for part in [content] if isinstance(content, bytes) else content:
                    member.write(part)
    return NpzConfig(path=str(path), resolution=8, num_heldout=2)


def zeros(num_bytes, block=1 << 24):
    return (bytes(min(block, num_bytes - at)) for at in range(0, num_bytes, block))


@pytest.fixture
def little_memory():
    """Let the process have 400 MB more than it has: what is loaded unasked ends the test, not the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 400_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_label_does_not_decide_how_many_classes_there_are(archive, little_memory):
    labels = np.arange(40) % 4
    labels[3] = 2**40
    with pytest.raises(DataError, match=r"labels run from 0 to 1099511627776, expected -1 \(none\) to 65535"):
        load_real(NpzConfig(path=archive(labels=labels), resolution=12, num_heldout=4))
    with pytest.raises(DataError, match="1099511627776"):
        read_images(archive("again.npz", labels=labels))


def test_what_nobody_asks_for_is_not_loaded(tmp_path, little_memory):
    bomb = itertools.chain([headed((1 << 26,))], zeros(1 << 29))  # half a GiB, deflated to half a MiB
    config = with_members(tmp_path / "a.npz", other__npy=bomb, readme__txt=b"not an array")
    assert len(load_real(config).train) == 8
    assert len(read_images(config.path).images) == 10


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"labels__npy": headed((10**12,))}, r"labels\.npy of shape .* has 0 bytes of values, expected 8000000000000"),
        ({"labels__npy": headed((10,), content=bytes(79))}, "has 79 bytes of values, expected 80"),
        ({"labels__npy": b"no array"}, r"labels\.npy is no array"),
        ({"labels__npy": b""}, r"labels\.npy is no array"),
    ],
)
def test_an_array_that_is_not_what_its_header_says_is_refused(tmp_path, little_memory, members, message):
    config = with_members(tmp_path / "a.npz", **members)
    for read in (load_real, lambda config: read_images(config.path)):
        with pytest.raises(DataError, match=message):
            read(config)


def test_images_that_do_not_fit_into_memory_are_refused(archive, monkeypatch):
    path = archive()
    monkeypatch.setattr("bench.machine.memory.available_memory", lambda: 40 * 100 + 1)
    with pytest.raises(DataError, match=r"forty\.npz: .* GB of memory, but 4\.001e-06 GB are available"):
        load_real(NpzConfig(path=path, resolution=12, num_heldout=4))


def test_an_encrypted_archive_is_refused(archive):
    path = Path(archive())
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + offset] |= 1
    path.write_bytes(content)
    for read in (load_real, lambda config: read_images(config.path)):
        with pytest.raises(DataError, match="is encrypted"):
            read(NpzConfig(path=str(path), resolution=12, num_heldout=4))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_of_any_block_are_the_right_ones(tmp_path, monkeypatch, save):
    monkeypatch.setattr(npz_archive, "BLOCK", 3 * 8 * 8 * 3)
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    save(tmp_path / "ten.npz", images=images)
    source = npz.open_source(NpzConfig(path=str(tmp_path / "ten.npz"), resolution=8))
    rows = np.array([9, 0, 4, 3, 4])
    assert np.array_equal(source.read(rows)[0], images[rows].transpose(0, 3, 1, 2))


def test_reading_holds_the_images_once(tmp_path):
    """Check the memory of a process that loads 77 MB of pictures, beyond that of one that loads a few."""
    peaks = []
    for num in (50, 25_000):
        np.savez(tmp_path / "a.npz", images=np.zeros((num, 32, 32, 3), np.uint8))
        code = (
            "import resource, bench.datasets as d; from bench.datasets.npz import Config;"
            f"d.load_real(Config(path={str(tmp_path / 'a.npz')!r}, resolution=32, num_heldout=10));"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) * 1024)
    assert peaks[1] - peaks[0] < 1.6 * 25_000 * 32 * 32 * 3
