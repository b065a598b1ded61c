import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from configs import FolderConfig, checked
from PIL import Image

from bench.datasets import data_spec, folder, load_real
from bench.datasets.shared.pictures import read_pictures
from bench.datasets.shared.resize import resize
from bench.errors import ConfigError, DataError
from bench.image_sets import read_images


@pytest.fixture
def garden(tmp_path):
    """Write twelve pictures of two classes in several formats, each of one grey and wider than high."""
    for number in range(12):
        bed = tmp_path / "garden" / ("rose" if number % 3 else "lily")
        bed.mkdir(parents=True, exist_ok=True)
        suffix = ("png", "bmp", "webp", "PNG")[number % 4]
        Image.new("RGB", (40, 24), (number * 20,) * 3).save(bed / f"{number:02d}.{suffix}", lossless=True)
    (tmp_path / "garden" / "notes.txt").write_text("not a picture")
    return tmp_path / "garden"


def config(path, **values):
    return FolderConfig(path=str(path), **({"resolution": 16, "num_heldout": 4} | values))


def test_pictures_names_and_classes(garden):
    real = load_real(config(garden))
    assert len(real.train) == 8 and len(real.heldout) == 4
    assert real.train.label_names == {"class": ["lily", "rose"]}
    assert real.train.notes == {}
    for pool in (real.train, real.heldout):
        for image, name, label in zip(pool.items, pool.records.source_id, pool.records.labels["class"], strict=True):
            bed, file = name.split("/")
            assert pool.label_names["class"][label] == bed
            assert np.all(image == int(file[:2]) * 20)


def test_a_class_is_the_innermost_folder_and_hidden_files_are_none_of_them(tmp_path):
    for name, grey in (("b/zoo/2.png", 20), ("b/1.png", 10), ("a/zoo/x/3.png", 30), ("4.png", 40), ("B.png", 50)):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), grey).save(tmp_path / "pictures" / name)
    Image.new("L", (16, 16)).save(tmp_path / "pictures" / "a" / ".hidden.png")
    source = folder.open_source(config(tmp_path / "pictures"))
    classes = [source.label_names["class"][label] for label in source.labels["class"]]
    expected = {"4.png": "pictures", "B.png": "pictures", "a/zoo/x/3.png": "x", "b/1.png": "b", "b/zoo/2.png": "zoo"}
    assert list(zip(source.source_ids, classes, strict=True)) == list(expected.items())
    assert source.label_names["class"] == ["b", "pictures", "x", "zoo"]
    assert source.read(np.asarray([4, 0]))[0][:, 0, 0, 0].tolist() == [20, 40]


def test_the_middle_of_a_wide_picture_is_kept(tmp_path):
    stripes = np.zeros((16, 48, 3), np.uint8)
    stripes[:, 16:32] = 200
    for number in range(4):
        Image.fromarray(stripes + np.uint8(number)).save(tmp_path / f"{number}.png")
    real = load_real(config(tmp_path, num_heldout=2))
    assert real.train.items.min() >= 200
    assert real.train.label_names == {"class": [tmp_path.name]}


def test_other_modes_are_converted_and_counted(garden, caplog):
    Image.new("L", (20, 20), 90).save(garden / "rose" / "grey.png")
    Image.new("RGBA", (20, 20), (10, 20, 30, 0)).save(garden / "rose" / "glass.png")
    Image.new("CMYK", (20, 20), (0, 0, 0, 0)).save(garden / "rose" / "print.jpg")
    Image.new("RGBA", (20, 20), (10, 20, 30, 128)).save(garden / "rose" / "pane.png")
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.save(garden / "rose" / "palette.png")
    with caplog.at_level(logging.WARNING):
        real = load_real(config(garden))
    assert real.train.notes.get("num_converted", 0) + real.heldout.notes.get("num_converted", 0) == 5
    assert "num_converted" in caplog.text
    images = np.concatenate([real.train.items, real.heldout.items])
    names = np.concatenate([real.train.records.source_id, real.heldout.records.source_id]).tolist()
    assert np.all(images[names.index("rose/grey.png")] == 90)
    assert np.all(images[names.index("rose/glass.png")] == 255), "what is transparent is laid on white"
    half = images[names.index("rose/pane.png")][:, 8, 8].astype(int)
    assert np.abs(half - (255 + np.asarray([10, 20, 30])) / 2).max() <= 1, "what is half so, half"
    assert np.all(images[names.index("rose/print.jpg")] > 250), "no ink is white paper"
    assert np.all(images[names.index("rose/palette.png")] == np.asarray([9, 8, 7])[:, None, None])


def test_a_picture_is_turned_upright_first(tmp_path):
    half = np.zeros((20, 20, 3), np.uint8)
    half[:10] = 255  # bright at the top, before the EXIF orientation is applied
    orientation = Image.Exif()
    orientation[0x0112] = 6  # rotate clockwise by 90 degrees to see it upright
    for number in range(4):
        Image.fromarray(half).save(tmp_path / f"{number}.png", exif=orientation)
    image = load_real(config(tmp_path, num_heldout=2, resolution=20)).train.items[0]
    assert image[0, :, 12:].min() == 255 and image[0, :, :8].max() == 0


def test_enlarging_is_noted(garden):
    assert load_real(config(garden, resolution=32)).train.notes == {"num_enlarged": 8}
    assert load_real(config(garden, resolution=24)).train.notes == {}, "the square of 40 x 24 is just large enough"
    Image.new("RGB", (80, 80)).save(garden / "rose" / "large.png")
    real = load_real(config(garden, resolution=32))
    assert real.train.notes["num_enlarged"] + real.heldout.notes["num_enlarged"] == 12


def test_a_picture_is_cropped_then_resized_by_the_resize_of_all(tmp_path):
    photograph = np.random.default_rng(0).integers(0, 256, (31, 60, 3), dtype=np.uint8)
    for number in range(4):
        Image.fromarray(photograph).save(tmp_path / f"{number}.png")
    image = load_real(config(tmp_path, num_heldout=2)).train.items[0]
    assert np.array_equal(image.transpose(1, 2, 0), resize(photograph[:, 14:45], 16))


@pytest.mark.parametrize("content", [b"", b"no picture at all", "truncated"])
def test_an_unreadable_picture_is_named(garden, content):
    target = garden / "rose" / "spoilt.png"
    if content == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(target)
        content = target.read_bytes()[:900]
    target.write_bytes(content)
    with pytest.raises(DataError, match=r"spoilt\.png is not a readable picture"):
        load_real(config(garden))


def spoil(garden, *names):
    for name in names:
        (garden / name).parent.mkdir(exist_ok=True)
        (garden / name).write_bytes(b"no picture at all")


def test_all_unreadable_pictures_are_listed_at_once_with_the_way_round_them(garden):
    spoil(garden, "rose/a.png", "lily/b.jpg", "rose/c.webp")
    with pytest.raises(DataError) as error:
        load_real(config(garden))
    first, *lines, last = str(error.value).splitlines()
    assert first.startswith("3 of 15 files below ") and last == "data.unreadable=skip leaves them out"
    assert [line.split(":")[0].strip() for line in lines] == ["lily/b.jpg", "rose/a.png", "rose/c.webp"]
    spoil(garden, *(f"rose/{number}.png" for number in range(100, 120)))
    with pytest.raises(DataError, match=r"23 of 35 files(.|\n)*and 13 more"):
        load_real(config(garden))


def test_unreadable_pictures_are_left_out_and_counted_where_that_is_asked_for(garden, caplog):
    whole = load_real(config(garden))
    spoil(garden, "rose/a.png", "tulip/b.jpg")
    with caplog.at_level(logging.WARNING):
        real = load_real(config(garden, unreadable="skip"))
    assert "2 of 14 files" in caplog.text and "rose/a.png" in caplog.text
    assert real.train.notes == {"num_unreadable": 2} and real.train.label_names == {"class": ["lily", "rose"]}
    assert (real.train.id, real.heldout.id) == (whole.train.id, whole.heldout.id), "the others are as without them"
    assert data_spec(config(garden, unreadable="skip")) != data_spec(config(garden))
    with pytest.raises(ConfigError, match=r"unreadable='hide': must be one of error, skip"):
        checked(config(garden, unreadable="hide"))


def test_pictures_of_other_formats_are_counted(garden, caplog):
    for name in ("a.gif", "b.GIF", "c.tiff"):
        Image.new("RGB", (20, 20)).save(garden / "rose" / name)
    with caplog.at_level(logging.WARNING):
        real = load_real(config(garden))
    assert "2 .gif, 1 .tiff files" in caplog.text
    assert real.train.notes == {"num_other_formats": 3} and len(real.train) + len(real.heldout) == 12


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 24\n%%EndComments\n(x) print\n%%EOF\n"


def test_a_format_for_which_another_program_would_start_is_no_picture(garden, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", lambda *args, **given: pytest.fail("a program was started"))
    monkeypatch.setattr("subprocess.check_call", lambda *args, **given: pytest.fail("a program was started"))
    (garden / "rose" / "x.jpg").write_bytes(POSTSCRIPT)
    with pytest.raises(DataError, match=r"x\.jpg is not a readable picture"):
        load_real(config(garden))
    with pytest.raises(DataError, match=r"x\.jpg is not a readable picture"):
        read_images(str(garden))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), r"rose/x\.jpg \(a folder\)"),
        (lambda path: os.mkfifo(path), r"rose/x\.jpg \(a FIFO\)"),
        (lambda path: path.symlink_to("/dev/zero"), r"rose/x\.jpg \(a device or socket\)"),
        (lambda path: path.symlink_to("nowhere"), r"rose/x\.jpg \(a link to nothing\)"),
        (
            lambda path: Path(os.fsdecode(bytes(path)[:-5] + b"\xff.jpg")).write_bytes(b"x"),
            r"udcff\.jpg' \(not in UTF-8\)",
        ),
    ],
)
@pytest.mark.timeout(20)
def test_what_is_named_like_a_picture_and_is_no_file_is_listed(garden, make, words):
    make(garden / "rose" / "x.jpg")
    for read in (load_real, data_spec):
        with pytest.raises(DataError, match=rf"1 names below it are no picture files, e\.g\. .*{words}") as error:
            read(config(garden))
        str(error.value).encode()


@pytest.mark.timeout(20)
def test_a_picture_that_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(DataError, match=r"x\.jpg is not a readable picture: a FIFO"):
        read_pictures([tmp_path / "x.jpg"], 8)


def test_sixteen_bit_pictures_are_refused_and_named(garden):
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(garden / "rose" / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png.*8-bit"):
        load_real(config(garden))


def test_an_empty_and_a_missing_folder(tmp_path, garden):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "._1.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty.*no picture below it.*\.webp"):
        load_real(config(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"nowhere.*no such folder"):
        load_real(config(tmp_path / "nowhere"))


def test_too_few_pictures(garden):
    with pytest.raises(DataError, match=r"12 items are too few for data\.num_heldout=11"):
        load_real(config(garden, num_heldout=11))


def test_the_spec_follows_names_and_content_and_not_the_place(garden, tmp_path):
    spec = data_spec(config(garden))
    shutil.copytree(garden, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "notes.txt").write_text("other notes")
    (tmp_path / "elsewhere" / "rose" / ".hidden.png").write_bytes(b"")
    assert data_spec(config(tmp_path / "elsewhere")) == spec
    (garden / "rose" / "01.bmp").rename(garden / "rose" / "01b.bmp")  # keeps its place in the order
    assert data_spec(config(garden)) != spec
    (garden / "rose" / "01b.bmp").rename(garden / "rose" / "x.bmp")
    (garden / "rose" / "05.bmp").rename(garden / "rose" / "01.bmp")
    (garden / "rose" / "x.bmp").rename(garden / "rose" / "05.bmp")
    assert data_spec(config(garden)) != spec, "the same names and the same pictures, but not together"
    Image.new("RGB", (40, 24), (1, 2, 3)).save(tmp_path / "elsewhere" / "rose" / "01.bmp")
    assert data_spec(config(tmp_path / "elsewhere")) != spec
