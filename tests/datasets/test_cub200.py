import hashlib
import io
import tarfile
from dataclasses import replace
from http.client import IncompleteRead

import echo
import numpy as np
import pytest
from configs import Cub200Config, MetricsConfig, checked
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench import ledger
from bench.config import ConfigError
from bench.datasets import cub200, data_spec, load_real
from bench.datasets.cub200 import square_around
from bench.datasets.shared.manifest import shipped
from bench.errors import DataError
from bench.files import sha256_of
from bench.loop import run_chain

CLASSES = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
BIRD, SKY = (200, 40, 30), (40, 120, 220)


def add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def make_archive(path, num=10, drop=(), extra=()):
    """Write an archive in the layout of the original. Photograph i is 80 x 60 px and shows sky with a bird of 20 x 12
    px at (4 i, 10), its box in the tables."""
    tables = {"images": [], "bounding_boxes": [], "image_class_labels": [], "classes": []}
    tables["classes"] = [f"{number} {name}" for number, name in enumerate(CLASSES, 1)]
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "attributes.txt", b"1 has_bill_shape::curved\n")
        for number in range(1, num + 1):
            name = f"{CLASSES[number % 2]}/Bird_{number:04d}_{number * 17}.jpg"
            picture = Image.new("RGB", (80, 60), SKY)
            picture.paste(BIRD, (4 * number, 10, 4 * number + 20, 22))
            file = io.BytesIO()
            picture.save(file, "jpeg", quality=95, subsampling=0)
            add(tar, f"CUB_200_2011/images/{name}", file.getvalue())
            tables["images"].append(f"{number} {name}")
            tables["bounding_boxes"].append(f"{number} {4.0 * number} 10.0 20.0 12.0")
            tables["image_class_labels"].append(f"{number} {number % 2 + 1}")
        for name, lines in tables.items():
            if name not in drop:
                add(tar, f"CUB_200_2011/{name}.txt", ("\n".join(lines) + "\n").encode())
        for name in extra:
            add(tar, name, b"escaped")


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Make an archive and a manifest that points to it, with the right checksum or the given one."""

    def do(sha256=None, **layout):
        path = tmp_path / "server" / "CUB_200_2011.tgz"
        path.parent.mkdir(exist_ok=True)
        make_archive(path, **layout)
        known = {cub200.FILE: sha256 or hashlib.sha256(path.read_bytes()).hexdigest()}
        own = replace(shipped()["cub200"], url=path.as_uri(), checksums=known)
        monkeypatch.setattr("bench.datasets.cub200.shipped", lambda: {"cub200": own})
        return path

    return do


def forget_the_origin(tmp_path):
    """Remove what ties the unpacked folder to its archive, and return the folder."""
    (tmp_path / "cache" / cub200.FILE).unlink()
    (tmp_path / "cache" / cub200.FOLDER / ".sha256.json").unlink()
    return tmp_path / "cache" / cub200.FOLDER


def config(tmp_path, **values):
    return Cub200Config(root=str(tmp_path / "cache"), **({"resolution": 16, "num_heldout": 4} | values))


def test_from_the_archive_to_pools(publish, tmp_path):
    publish()
    real = load_real(config(tmp_path))
    assert (len(real.train), len(real.heldout), real.reserve) == (6, 4, None)
    for pool in (real.train, real.heldout):
        assert pool.label_names == {"class": list(CLASSES)}
        for image, name, label in zip(pool.items, pool.records.source_id, pool.records.labels["class"], strict=True):
            assert name.startswith(CLASSES[label])
            share = (image[0] > image[2]).mean()  # the box is 20 x 12 in a square of 25
            assert 0.3 < share < 0.5, f"{name}: the bird fills {share:.2f} of the crop"
            assert np.abs(image[:, 8, 8].astype(int) - BIRD).max() < 30
    assert not list((tmp_path / "cache").glob(".CUB*-*")), "nothing half-done is left"


def test_the_second_time_needs_neither_archive_nor_network(publish, tmp_path):
    path = publish()
    first = load_real(config(tmp_path))
    path.unlink()
    (tmp_path / "cache" / cub200.FILE).unlink()
    assert load_real(config(tmp_path, download=False)).train.id == first.train.id


def test_an_archive_put_there_by_hand_is_used_without_network(publish, tmp_path):
    path = publish()
    (tmp_path / "cache").mkdir()
    path.rename(tmp_path / "cache" / cub200.FILE)
    assert len(load_real(config(tmp_path, download=False)).train) == 6


def test_a_wrong_checksum_after_the_download(publish, tmp_path):
    publish(sha256="0" * 64)
    with pytest.raises(DataError, match=f"expected {'0' * 64}: the download is not used"):
        load_real(config(tmp_path))
    left = [path.name for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock")]
    assert left == [], "the wrong file is gone, and nothing of it was unpacked"


def test_a_wrong_archive_put_there_by_hand(publish, tmp_path):
    publish()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / cub200.FILE).write_bytes(b"something else")
    with pytest.raises(DataError, match=r"CUB_200_2011\.tgz has sha256 .* expected .*: delete it"):
        load_real(config(tmp_path))
    assert not (tmp_path / "cache" / cub200.FOLDER).exists()


@pytest.mark.parametrize("member", ["../escaped.txt", "CUB_200_2011/../../escaped.txt", "/tmp/escaped-cub200.txt"])
def test_members_that_would_land_outside_are_refused(publish, tmp_path, member):
    publish(extra=[member])
    if member.startswith("/"):  # an absolute name is interpreted relative to the folder
        load_real(config(tmp_path))
    else:
        with pytest.raises(DataError, match="cannot unpack"):
            load_real(config(tmp_path))
        assert not (tmp_path / "cache" / cub200.FOLDER).exists()
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_link_to_the_outside_is_refused(publish, tmp_path):
    path = publish()
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("CUB_200_2011/images")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../etc"
        tar.addfile(link)
    with pytest.raises(DataError, match="cannot unpack"):
        cub200.archive.unpack(path, cub200.FOLDER, tmp_path / "there", sha256_of(path))
    assert not (tmp_path / "there").exists()


def test_a_broken_and_a_foreign_archive(tmp_path):
    broken, foreign = tmp_path / "broken.tgz", tmp_path / "foreign.tgz"
    broken.write_bytes(b"not a tar")
    with pytest.raises(DataError, match=r"cannot unpack .*broken\.tgz"):
        cub200.archive.unpack(broken, "x", tmp_path / "there", sha256_of(broken))
    with tarfile.open(foreign, "w:gz") as tar:
        add(tar, "other/file.txt", b"")
    with pytest.raises(DataError, match=r"foreign\.tgz has no folder x/"):
        cub200.archive.unpack(foreign, "x", tmp_path / "there", sha256_of(foreign))
    assert not (tmp_path / "there").exists()


def test_without_network_the_error_says_what_to_do(publish, tmp_path):
    path = publish()
    path.unlink()
    with pytest.raises(DataError, match=r"Without network: fetch it elsewhere and put it at .*CUB_200_2011\.tgz"):
        load_real(config(tmp_path))
    with pytest.raises(DataError, match=r"data\.download=true, or put CUB_200_2011\.tgz into"):
        load_real(config(tmp_path, download=False))


@pytest.mark.parametrize("error", [IncompleteRead(b"half"), TimeoutError("too slow"), ConnectionResetError("gone")])
def test_a_download_that_breaks_off_leaves_nothing(publish, tmp_path, monkeypatch, error):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise error
            return super().read(100)

    path = publish()
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kw: Broken(path.read_bytes()))
    with pytest.raises(DataError, match=r"cannot download .*CUB_200_2011\.tgz"):
        load_real(config(tmp_path))
    assert [p.name for p in (tmp_path / "cache").iterdir() if not p.name.endswith(".lock")] == []


@pytest.mark.parametrize("table", ["images", "bounding_boxes", "image_class_labels", "classes"])
def test_a_missing_table_is_named(publish, tmp_path, table):
    publish(drop=[table])
    with pytest.raises(DataError, match=rf"{table}\.txt is not a readable table"):
        load_real(config(tmp_path))


def test_tables_that_do_not_fit_each_other(publish, tmp_path):
    publish()
    load_real(config(tmp_path))
    forget_the_origin(tmp_path)
    boxes = tmp_path / "cache" / cub200.FOLDER / "bounding_boxes.txt"
    good = boxes.read_text()
    boxes.write_text(good.splitlines()[0])
    with pytest.raises(DataError, match="list 10, 1 and 10 images"):
        load_real(config(tmp_path))
    boxes.write_text(good.replace("20.0", "wide"))
    with pytest.raises(DataError, match="wide"):
        load_real(config(tmp_path))


def test_rows_belong_together_by_their_numbers_whatever_the_order(publish, tmp_path):
    publish()
    first = load_real(config(tmp_path))
    forget_the_origin(tmp_path)
    for name in ("bounding_boxes", "image_class_labels", "classes"):
        path = tmp_path / "cache" / cub200.FOLDER / f"{name}.txt"
        path.write_text("\n".join(path.read_text().splitlines()[::-1]) + "\n")
    again = load_real(config(tmp_path))
    assert again.train.label_names == {"class": list(CLASSES)[::-1]}
    assert np.array_equal(again.train.records.labels["class"], 1 - first.train.records.labels["class"])
    assert np.array_equal(again.train.items, first.train.items)


def noise(folder):
    """Replace every photograph by noise under its own name."""
    rng = np.random.default_rng(0)
    for path in folder.rglob("*.jpg"):
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(path)


@pytest.mark.parametrize("known_by", ["listing", "archive"])
def test_noise_in_the_folder_is_not_the_data_set(publish, tmp_path, known_by):
    publish()
    load_real(config(tmp_path))
    folder = tmp_path / "cache" / cub200.FOLDER
    (tmp_path / "cache" / cub200.FILE if known_by == "listing" else folder / ".sha256.json").unlink()
    assert data_spec(config(tmp_path))["content"] == cub200.shipped()["cub200"].checksums[cub200.FILE]
    noise(folder)
    for read in (data_spec, load_real):
        with pytest.raises(DataError, match=r"10 of 14 files in .* not those of CUB_200_2011\.tgz, e\.g\. images/"):
            read(config(tmp_path))


def test_a_folder_of_unknown_origin_is_identified_by_its_content(publish, tmp_path, caplog):
    publish()
    known = data_spec(config(tmp_path))["content"]
    load_real(config(tmp_path))
    folder = forget_the_origin(tmp_path)
    first = data_spec(config(tmp_path))["content"]
    assert first.startswith("files sha256:") and first != known
    assert f"identified by their content ({first})" in caplog.text
    noise(folder)
    assert first != data_spec(config(tmp_path))["content"] != known
    with_rows = load_real(config(tmp_path))
    assert len(with_rows.train) == 6


def test_which_content_it_was_is_in_the_ledger(publish, tmp_path, monkeypatch):
    publish()
    load_real(config(tmp_path))
    forget_the_origin(tmp_path)
    echo.Echo(monkeypatch)
    data, metrics = config(tmp_path, resolution=echo.SIDE), MetricsConfig(**echo_metrics)
    chain = echo.small(tmp_path, data=data, metrics=metrics, num_generations=1)
    (row,) = ledger.read(run_chain(chain, echo.Lines()) / ledger.FILENAME)
    assert row.environment["data_content"] == data_spec(data)["content"]
    assert row.environment["data_content"].startswith("files sha256:")


echo_metrics = {"feature_space": "echo:pixels", "num_images": 4, "k": 2, "scores": ["frechet"]}


@pytest.mark.parametrize("name", ["../../secret.jpg", "001.A/../../../secret.jpg", "/etc/secret.jpg"])
def test_tables_cannot_name_pictures_outside_the_folder(publish, tmp_path, name):
    publish()
    load_real(config(tmp_path))
    table = forget_the_origin(tmp_path) / "images.txt"
    table.write_text("\n".join([f"1 {name}", *table.read_text().splitlines()[1:]]) + "\n")
    with pytest.raises(DataError, match=rf"images\.txt names '{name}', which is not below"):
        load_real(config(tmp_path))


def test_what_a_killed_unpack_left_is_removed_by_the_next(publish, tmp_path):
    publish()
    left = tmp_path / "cache" / f".{cub200.FOLDER}-unpacking" / cub200.FOLDER / "images"
    left.mkdir(parents=True)
    (left / "half.jpg").write_bytes(b"half")
    load_real(config(tmp_path))
    assert not list((tmp_path / "cache").glob(".CUB*"))
    assert not list((tmp_path / "cache").rglob("half.jpg"))


def test_a_cache_that_cannot_be_written_to_is_said(publish, tmp_path):
    publish()
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="cache cannot be written to"):
        load_real(config(tmp_path))


def test_each_crop_is_the_square_around_its_own_box(publish, tmp_path):
    publish()
    source = cub200.open_source(config(tmp_path, padding=0.0, resolution=20))
    rows = np.asarray([8, 2, 5])
    for image, row in zip(source.read(rows)[0], rows, strict=True):
        number = row + 1  # the bird of 20 x 12 at (4 n, 10), in a square of 20 from (4 n, 6) on
        assert source.source_ids[row].endswith(f"Bird_{number:04d}_{number * 17}.jpg")
        expected = np.full((20, 20, 3), SKY)
        expected[4:16] = BIRD
        assert np.abs(image.transpose(1, 2, 0).astype(int) - expected).mean() < 8


def test_the_square_is_the_papers():
    """Check that the square is centred on the box and 1.25 times its longer side if it fits the photograph."""
    assert square_around((100, 80, 80, 40), 0.25, 500, 400) == (90, 50, 190, 150)
    assert square_around((100, 80, 80, 40), 0.0, 500, 400) == (100, 60, 180, 140)
    assert square_around((0, 80, 80, 40), 0.25, 500, 400) == (0, 50, 100, 150), "moved inside"
    assert square_around((0, 0, 500, 330), 0.25, 500, 330) == (85, 0, 415, 330), "then made smaller"


@given(
    box=st.tuples(st.floats(0, 400), st.floats(0, 300), st.floats(1, 500), st.floats(1, 400)),
    padding=st.floats(0, 2),
    width=st.integers(20, 600),
    height=st.integers(20, 600),
)
def test_the_square_is_always_a_square_inside_the_photograph(box, padding, width, height):
    left, top, right, bottom = square_around(box, padding, width, height)
    assert right - left == bottom - top >= 1
    assert left >= 0 and right <= width and top >= 0 and bottom <= height


def test_the_spec_follows_the_padding_and_not_the_place(tmp_path):
    spec = data_spec(config(tmp_path))
    assert spec["content"] == shipped()["cub200"].checksums[cub200.FILE]
    assert spec == data_spec(config(tmp_path / "elsewhere", download=False))
    assert spec != data_spec(config(tmp_path, padding=0.1))


def test_padding_out_of_range_names_its_key():
    with pytest.raises(ConfigError, match=r"data\.padding=-0\.1"):
        checked(Cub200Config(padding=-0.1), "data")
