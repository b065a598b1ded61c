import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bench import score
from bench.errors import DataError
from bench.pool import Pool, Records


def pictures(n: int, seed: int = 0, size: int = 16) -> np.ndarray:
    """Two kinds of smooth pictures, uint8 (n, 3, size, size): bright left or bright right, in many colours."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, size)
    flip = rng.integers(0, 2, n)
    base = np.where(flip[:, None], ramp, ramp[::-1])[:, None, None, :]
    colour = rng.uniform(60, 255, (n, 3, 1, 1))
    return (base * colour + rng.normal(0, 3, (n, 3, size, size))).clip(0, 255).astype(np.uint8)


@pytest.fixture
def real(tmp_path):
    images = pictures(48)
    labels = (images[:, :, :, 0].mean((1, 2)) < images[:, :, :, -1].mean((1, 2))).astype(np.int64)
    records = Records.real([str(i) for i in range(48)], {"side": labels})
    Pool(images, records, {"side": ["left", "right"]}).save(tmp_path / "pool")
    return tmp_path / "pool"


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = score.main([*arguments, "--device", "cpu"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_pool_against_array_as_a_table(real, tmp_path, capsys):
    np.save(tmp_path / "fake.npy", pictures(30, seed=1).transpose(0, 2, 3, 1))
    code, out, _ = run(capsys, "--real", str(real), "--fake", str(tmp_path / "fake.npy"), "--resamples", "4")
    assert code == 0
    head, lines = out.splitlines()[0], {line.split()[0]: line.split() for line in out.splitlines()[3:]}
    assert "efficientnet_lite0" in head and "N = 30" in head and "floor at N = 24" in head
    assert {"fid", "kid", "precision", "vendi", "class_survival", "classifier_accuracy"} <= lines.keys()
    assert "authenticity" not in lines
    assert lines["fid"][1] == "↓" and all(float(x) >= 0 for x in lines["fid"][2:6])  # value, sd, floor, shuffled


def test_json_holds_the_rows_and_where_they_come_from(real, tmp_path, capsys):
    np.savez(tmp_path / "fake.npz", images=pictures(30, seed=1))
    arguments = ["--real", str(real), "--fake", str(tmp_path / "fake.npz"), "--json", "--train", str(real)]
    code, out, _ = run(capsys, *arguments, "--num-images", "20")
    result = json.loads(out)
    assert code == 0 and (result["num_real"], result["num_fake"]) == (48, 30)
    assert result["feature_space"]["weights_sha256"].startswith("57934424")
    rows = {(row["subject"], row["metric"]): row for row in result["rows"]}
    assert rows["fake", "fid"]["num_subject"] == rows["fake", "fid"]["num_reference"] == 20
    assert rows["fake", "authenticity"]["num_training"] == 48
    assert rows["fake", "fid"]["reference"] == "real" and ("shuffled", "fid") in rows and ("real", "recall") in rows
    again = json.loads(run(capsys, *arguments, "--num-images", "20")[1])
    assert again == result


def test_worse_pictures_score_worse_than_the_floor(tmp_path, capsys):
    np.save(tmp_path / "real.npy", pictures(80))
    np.save(tmp_path / "noise.npy", np.random.default_rng(1).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8))
    out = run(capsys, "--real", str(tmp_path / "real.npy"), "--fake", str(tmp_path / "noise.npy"), "--json")[1]
    values = {(row["subject"], row["metric"]): row["value"] for row in json.loads(out)["rows"]}
    assert values["fake", "fid"] > 3 * values["real", "fid"]
    assert values["fake", "precision"] < 0.3 < values["real", "precision"]


def test_folders_are_scored_as_they_are(tmp_path):
    for name, size in (("a", 16), ("b", 16), ("c", 24)):
        (tmp_path / name / "kind").mkdir(parents=True)
        for i, picture in enumerate(pictures(4, size=size)):
            Image.fromarray(picture.transpose(1, 2, 0)).save(tmp_path / name / "kind" / f"{i}.png")
    result = score.read_images(str(tmp_path / "a"))
    np.testing.assert_array_equal(result.images, pictures(4))
    assert result.names == {"class": ["kind"]}
    with pytest.raises(DataError, match=r"16 x 16 \(0\.png\), 24 x 24 \(0\.png\); give --resolution"):
        score.read_images(str(tmp_path))
    assert score.read_images(str(tmp_path), resolution=16).images.shape == (12, 3, 16, 16)


def test_sets_of_different_resolution_are_refused(tmp_path, capsys):
    np.save(tmp_path / "real.npy", pictures(16))
    (tmp_path / "fake").mkdir()
    for i, picture in enumerate(pictures(16, seed=1, size=24)):
        Image.fromarray(picture.transpose(1, 2, 0)).save(tmp_path / "fake" / f"{i}.png")
    arguments = ["--real", str(tmp_path / "real.npy"), "--fake", str(tmp_path / "fake")]
    code, out, err = run(capsys, *arguments)
    assert code == 1 and out == ""
    assert "--real 16 px, --fake 24 px; give --resolution 16" in err
    assert run(capsys, *arguments, "--resolution", "16", "--scores", "diversity")[0] == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.npy", None, "does not exist"),
        ("text.txt", b"hello", "neither a folder nor"),
        ("broken.npy", b"\x93NUMPY?", "cannot be read as an array"),
        ("broken.npz", b"PK", "cannot be read as an array"),
    ],
)
def test_what_is_no_image_set_is_refused(tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "good.npy", pictures(8))
    code, out, err = run(capsys, "--real", str(tmp_path / "good.npy"), "--fake", str(tmp_path / name))
    assert code == 1 and out == "" and message in err and name in err


def test_wrong_arrays_and_numbers_are_refused(tmp_path, capsys):
    np.save(tmp_path / "good.npy", pictures(8))
    np.save(tmp_path / "float.npy", pictures(8) / 255)
    good, floats = str(tmp_path / "good.npy"), str(tmp_path / "float.npy")
    assert "float64" in run(capsys, "--real", good, "--fake", floats)[2]
    assert "allowed is 2 to 8" in run(capsys, "--real", good, "--fake", good, "--num-images", "9")[2]
    assert "metrics.k=3" in run(capsys, "--real", good, "--fake", good, "--num-images", "3")[2]


def test_an_array_that_needs_unpickling_is_refused(tmp_path, capsys):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    path = str(tmp_path / "objects.npy")
    code, _, err = run(capsys, "--real", path, "--fake", path)
    assert code == 1 and "cannot be read as an array" in err


def test_help_does_not_wait_for_torch():
    command = [sys.executable, "-X", "importtime", "-m", "bench.score", "--help"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0 and "--feature-space" in result.stdout
    assert "torch" not in {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
