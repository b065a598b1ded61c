import hashlib
import io
import socket
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from configs import Flowers102Config
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import Flowers102

from bench import files
from bench.datasets import data_spec, load_real
from bench.errors import DataError

LABELS = np.asarray([77, 1, 102, 77, 5, 5, 1, 77, 5, 102, 1, 77])  # class numbers from 1, as in imagelabels.mat


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve the three files in the layout of the original, with twelve small photographs, at an address that
    torchvision downloads from."""
    folder = tmp_path / "server"
    folder.mkdir()
    with tarfile.open(folder / "102flowers.tgz", "w:gz") as tar:
        for number in range(1, 13):
            file = io.BytesIO()
            Image.new("RGB", (60, 40), (number * 20, 100, 50)).save(file, "jpeg", quality=95)
            member = tarfile.TarInfo(f"jpg/image_{number:05d}.jpg")
            member.size = file.tell()
            file.seek(0)
            tar.addfile(member, file)
    savemat(folder / "imagelabels.mat", {"labels": LABELS[None]})
    parts = {"trnid": [1, 2, 3], "valid": [4, 5, 6], "tstid": [7, 8, 9, 10, 11, 12]}
    savemat(folder / "setid.mat", {name: np.asarray(ids)[None] for name, ids in parts.items()})
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(QuietHandler, directory=str(folder))
    web = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    monkeypatch.setattr(Flowers102, "_download_url_prefix", f"http://127.0.0.1:{web.server_port}/")
    names = {"image": "102flowers.tgz", "label": "imagelabels.mat", "setid": "setid.mat"}
    sums = {key: (name, hashlib.md5((folder / name).read_bytes()).hexdigest()) for key, name in names.items()}
    monkeypatch.setattr(Flowers102, "_file_dict", sums)
    yield folder
    web.shutdown()
    web.server_close()


def config(tmp_path, **values):
    return Flowers102Config(root=str(tmp_path / "cache"), **({"resolution": 16, "num_heldout": 4} | values))


def test_the_three_splits_are_joined_and_split_anew(server, tmp_path):
    real = load_real(config(tmp_path))
    assert (len(real.train), len(real.heldout), real.reserve) == (8, 4, None)
    seen = set()
    for pool in (real.train, real.heldout):
        assert pool.label_names["class"] == Flowers102.classes
        for image, name, label in zip(pool.items, pool.records.source_id, pool.records.labels["class"], strict=True):
            number = int(name.removeprefix("image_").removesuffix(".jpg"))
            seen.add(number)
            assert label == LABELS[number - 1] - 1
            assert abs(image[0].mean() - number * 20) < 3
    assert seen == set(range(1, 13))


def test_the_second_time_needs_no_network(server, tmp_path):
    first = load_real(config(tmp_path))
    for file in server.iterdir():
        file.unlink()
    assert load_real(config(tmp_path)).train.id == first.train.id
    assert load_real(config(tmp_path, download=False)).train.id == first.train.id


def test_a_subset_by_class_name(server, tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text("classes: [passion flower, 001.pink_primrose]\n")
    real = load_real(config(tmp_path, subset=str(path), num_heldout=2))
    assert len(real.train) + len(real.heldout) == int(np.isin(LABELS, [77, 1]).sum())


def test_files_put_there_by_hand_are_unpacked(server, tmp_path, monkeypatch):
    folder = tmp_path / "cache" / "flowers-102"
    folder.mkdir(parents=True)
    for file in server.iterdir():
        file.rename(folder / file.name)
    monkeypatch.setattr(Flowers102, "_download_url_prefix", "file:///nowhere/")
    assert len(load_real(config(tmp_path)).train) == 8


def test_without_network_the_error_says_what_to_do(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Flowers102, "_download_url_prefix", "file:///nowhere/")
    with pytest.raises(DataError, match=r"fetch 102flowers\.tgz, imagelabels\.mat, setid\.mat .*put them into"):
        load_real(config(tmp_path))
    with pytest.raises(DataError, match=r"Set data\.download=true"):
        load_real(config(tmp_path / "other", download=False))


@pytest.mark.parametrize("name", ["102flowers.tgz", "imagelabels.mat", "setid.mat"])
def test_a_wrong_checksum_is_refused(server, tmp_path, name):
    with (server / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="flowers102 is not in"):
        load_real(config(tmp_path))
    with pytest.raises(DataError, match="flowers102 is not in"):
        load_real(config(tmp_path, download=False))


def test_a_missing_photograph_is_named(server, tmp_path):
    load_real(config(tmp_path))
    (tmp_path / "cache" / "flowers-102" / "jpg" / "image_00007.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 12 files .*image_00007\.jpg: delete"):
        load_real(config(tmp_path))


def test_a_photograph_that_is_another_is_named_unless_nothing_tells(server, tmp_path):
    load_real(config(tmp_path))
    folder = tmp_path / "cache" / "flowers-102"
    known = data_spec(config(tmp_path))["content"]
    Image.new("RGB", (60, 40)).save(folder / "jpg" / "image_00003.jpg")
    for read in (data_spec, load_real):
        with pytest.raises(DataError, match=r"1 of 12 files .*102flowers\.tgz, e\.g\. image_00003\.jpg"):
            read(config(tmp_path))
    (folder / "102flowers.tgz").unlink()
    (folder / "jpg" / ".sha256.json").unlink()
    content = data_spec(config(tmp_path))["content"]
    assert content.startswith("102flowers.tgz:files sha256:") and content.split()[2:] == known.split()[1:]
    assert len(load_real(config(tmp_path)).train) == 8


def test_half_an_unpacked_folder_is_not_taken_for_the_whole(server, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def extract(self, path, **kw):
        (path / "jpg").mkdir(parents=True)
        (path / "jpg" / "image_00001.jpg").write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tarfile.TarFile, "extractall", extract)
        load_real(config(tmp_path))
    assert not (tmp_path / "cache" / "flowers-102" / "jpg").exists()
    assert len(load_real(config(tmp_path)).train) == 8


def test_a_server_that_falls_silent_ends_the_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        monkeypatch.setattr(Flowers102, "_download_url_prefix", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(DataError, match=r"flowers102 is not in .*timed out"):
            load_real(config(tmp_path))
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_the_spec_names_the_checksums_and_not_the_place(tmp_path):
    spec = data_spec(config(tmp_path))
    assert "102flowers.tgz:52808999861908f626f3c1f4e79d11fa" in spec["content"]
    assert spec == data_spec(config(tmp_path / "elsewhere", download=False))
    subset = data_spec(config(tmp_path, subset="balanced"))
    assert subset["subset"]["max_per_class"] == 40 and subset != spec
