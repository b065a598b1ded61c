import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import bench
from bench import metrics, registry, score
from bench.config import MetricsConfig
from bench.errors import ConfigError, DataError
from bench.image_sets import read_images
from bench.metrics.shared import classifier
from bench.metrics.shared.frechet_distance import frechet_distance
from bench.metrics.shared.kernel_distance import kernel_distance
from bench.metrics.shared.nearest_training import copying_scores, equal_sides
from bench.metrics.shared.precision_recall import manifold_scores
from bench.metrics.shared.variety import entropy_estimate, vendi_score
from bench.pool import Pool, Records
from bench.score_sets import Scores, families, table


def pictures(n: int, seed: int = 0, size: int = 16) -> np.ndarray:
    """Return two kinds of smooth pictures, uint8 (n, 3, size, size): bright on the left or on the right, in many
    colours."""
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
    assert re.search(r"^fid .* \(\d+\.\d+ to \d+\.\d+\)", out, re.M) and "other splits of the same real" in out
    out = re.sub(r" \(\S+ to \S+\)", "", out)
    head, lines = out.splitlines()[0], {line.split()[0]: line.split() for line in out.splitlines()[3:]}
    assert "efficientnet_lite0" in head and "N = 30" in head and "floor at N = 24" in head
    assert {"fid", "kid", "precision", "vendi", "class_divergence", "classifier_accuracy"} <= lines.keys()
    assert "authenticity" not in lines
    assert lines["fid"][1] == "↓" and all(float(x) >= 0 for x in lines["fid"][2:6])  # value, sd, floor, shuffled


def test_without_unseen_images_the_rates_of_copies_are_left_out_and_said_to_be(tmp_path, plain, capsys, caplog):
    sets = {name: pictures(n, seed) for seed, (name, n) in enumerate({"real": 40, "fake": 40, "train": 55}.items())}
    paths = [part for name, images in sets.items() for part in (f"--{name}", saved(tmp_path, name, images))]
    code, out, _ = run(capsys, *paths, *plain, "--scores", "copying", "frechet")
    assert code == 0 and "authenticity" in out and "closer_to_training" not in out
    assert "closer_to_training and near_copy_rate are left out: they need unseen images (--unseen)" in caplog.text


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
    result = read_images(str(tmp_path / "a"))
    np.testing.assert_array_equal(result.images, pictures(4))
    assert result.names == {"class": ["kind"]}
    with pytest.raises(DataError, match=r"16 x 16 \(0\.png\), 24 x 24 \(0\.png\); give resolution="):
        read_images(str(tmp_path))
    assert read_images(str(tmp_path), resolution=16).images.shape == (12, 3, 16, 16)


def test_sets_of_different_resolution_are_refused(tmp_path, capsys):
    np.save(tmp_path / "real.npy", pictures(16))
    (tmp_path / "fake").mkdir()
    for i, picture in enumerate(pictures(16, seed=1, size=24)):
        Image.fromarray(picture.transpose(1, 2, 0)).save(tmp_path / "fake" / f"{i}.png")
    arguments = ["--real", str(tmp_path / "real.npy"), "--fake", str(tmp_path / "fake")]
    code, out, err = run(capsys, *arguments)
    assert code == 1 and out == ""
    assert "real 16 px, fake 24 px; give --resolution=16" in err
    assert run(capsys, *arguments, "--resolution", "16", "--scores", "diversity")[0] == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.npy", None, "does not exist"),
        ("text.txt", b"hello", "neither a folder nor"),
        ("broken.npy", b"\x93NUMPY?", "cannot be read as an array"),
        ("broken.npz", b"PK", "is not a NumPy .npz archive"),
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
    assert "it must lie in [2, 8]" in run(capsys, "--real", good, "--fake", good, "--num-images", "9")[2]
    assert (
        "error: --k=3: must lie in [1, 2], below --num-images"
        in run(capsys, "--real", good, "--fake", good, "--num-images", "3")[2]
    )
    both = run(capsys, "--real", good, "--fake", good, "--k", "9", "--resamples", "1")[2]
    assert "--k=9: must lie in [1, 7]" in both and "--resamples=1: must be 0" in both


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


# ---- which images reach which side: in a feature space where a picture is its own features

PLAIN_SPACE = """
import torch

class Corners(torch.nn.Module):
    dimension, input_size = 12, 16

    def forward(self, images):
        return images[:, :, ::8, ::8].flatten(1).float()

def make_extractor(weights):
    return Corners()
"""


def features_of(images: np.ndarray) -> np.ndarray:
    return images[:, :, ::8, ::8].reshape(len(images), -1).astype(np.float32)


def rows_of(features: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in features}


@pytest.fixture
def plain(tmp_path, monkeypatch) -> list[str]:
    name = f"plain_space_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(PLAIN_SPACE)
    monkeypatch.syspath_prepend(tmp_path)
    return ["--feature-space", f"{name}:make_extractor"]


@pytest.fixture
def calls(monkeypatch) -> list[dict]:
    """Record what is scored, call by call: the two sides and all other arguments."""
    seen: list[dict] = []
    true_score = metrics.score

    def spied(features, config, **others):
        seen.append({"a": features[0], "b": features[1], "config": config, **others})
        return true_score(features, config, **others)

    monkeypatch.setattr(metrics, "score", spied)
    return seen


def saved(folder, name: str, images: np.ndarray, **others: np.ndarray) -> str:
    path = folder / f"{name}.npz"
    np.savez(path, images=images, **others)
    return str(path)


def test_scores_are_those_of_the_sets_as_they_are_named(tmp_path, plain, capsys):
    sets = {
        name: pictures(n, seed)
        for seed, (name, n) in enumerate({"real": 40, "fake": 40, "train": 55, "unseen": 30}.items())
    }
    paths = [part for name, images in sets.items() for part in (f"--{name}", saved(tmp_path, name, images))]
    families = ["--scores", "frechet", "kernel", "manifold", "diversity", "copying", "--k", "2", "--json"]
    result = json.loads(run(capsys, *paths, *plain, *families)[1])
    real, fake, train, unseen = (features_of(images) for images in sets.values())
    copying = copying_scores(fake, real, train, twin=equal_sides(train, unseen))
    assert copying.closer_to_training is not None and copying.num_twin == 30
    expected = {
        "fid": frechet_distance(fake, real),
        "kid": kernel_distance(fake, real, 100, 20).mean,
        **vars(manifold_scores(fake, real, 2)),
        "vendi": vendi_score(fake),
        "entropy": entropy_estimate(fake, 2),
        "nn_distance_training": copying.nn_distance_training,
        "nn_distance_heldout": copying.nn_distance_heldout,
        "authenticity": copying.authenticity,
        "closer_to_training": copying.closer_to_training,
        "near_copy_rate": copying.near_copy_rate,
    }
    by_metric = {row["metric"]: row["value"] for row in result["rows"] if row["subject"] == "fake"}
    assert {name: by_metric[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert by_metric["precision"] != by_metric["recall"]
    assert (result["num_real"], result["num_fake"], result["seed"]) == (40, 40, 0)
    assert {name: result[name] for name in sets} == dict(zip(sets, paths[1::2], strict=True))
    assert len(result["feature_space"]["source_sha256"]) == 64


def call_of(calls: list[dict], subject: str) -> dict:
    """Return the one call that scores this subject."""
    (match,) = (call for call in calls if call["subject"] == subject)
    return match


def test_the_floor_is_real_and_disjoint_and_the_control_a_deal_of_both(tmp_path, plain, calls, capsys):
    sets = {"real": pictures(70), "fake": pictures(30, 1), "train": pictures(20, 2)}
    paths = [part for name, images in sets.items() for part in (f"--{name}", saved(tmp_path, name, images))]
    assert run(capsys, *paths, *plain, "--resamples", "3")[0] == 0
    real, fake, train = (rows_of(features_of(images)) for images in sets.values())
    assert len(calls) == 3
    main, floor, control = (call_of(calls, name) for name in ("fake", "real", "shuffled"))
    assert rows_of(main["a"]) == fake and rows_of(main["b"]) <= real and rows_of(main["training"]) == train
    assert len(main["a"]) == len(main["b"]) == len(rows_of(main["b"])) == 30
    assert main["config"].num_resamples == 3 and main["config"].num_images == 30
    assert len(floor["a"]) == len(floor["b"]) == 30
    assert rows_of(floor["a"]) | rows_of(floor["b"]) <= real and not rows_of(floor["a"]) & rows_of(floor["b"])
    assert rows_of(floor["b"]) == rows_of(main["b"])  # the reference of the fake images
    assert rows_of(control["a"]) | rows_of(control["b"]) == rows_of(main["a"]) | rows_of(main["b"])
    assert rows_of(control["a"]) & fake and rows_of(control["b"]) & fake
    assert "training" not in floor and "attributes" not in floor  # neither copying nor tails
    compared = {family.name for family in metrics.families(MetricsConfig()) if control["only"](family)}
    assert compared == {"frechet", "kernel", "manifold"}


def test_the_floor_is_of_halves_or_absent_where_real_images_are_few(tmp_path, plain, calls, capsys):
    paths = ["--fake", saved(tmp_path, "fake", pictures(30, 1)), *plain, "--scores", "manifold"]
    code, out, _ = run(capsys, "--real", saved(tmp_path, "real", pictures(31)), *paths)
    assert code == 0 and sorted(call["subject"] for call in calls) == ["fake", "real", "shuffled"]
    floor = call_of(calls, "real")
    assert len(floor["a"]) == len(floor["b"]) == 15 and not rows_of(floor["a"]) & rows_of(floor["b"])
    assert "floor at N = 15 only: 31 real images, split in two" in out
    calls.clear()
    out = run(capsys, "--real", saved(tmp_path, "few", pictures(7)), *paths)[1]
    assert sorted(call["subject"] for call in calls) == ["fake", "shuffled"] and "no floor" in out
    calls.clear()
    out = run(capsys, "--real", saved(tmp_path, "enough", pictures(8)), *paths)[1]
    assert sorted(call["subject"] for call in calls) == ["fake", "real", "shuffled"] and "floor at N = 4 only" in out


def test_images_are_drawn_with_the_seed_and_from_all_of_each_set(tmp_path, plain, calls, capsys):
    sets = {"real": pictures(60), "fake": pictures(50, 1)}
    paths = [part for name, images in sets.items() for part in (f"--{name}", saved(tmp_path, name, images))]
    drawn = {"a": set(), "b": set()}
    by_seed = []
    for seed in range(12):
        calls.clear()
        run(capsys, *paths, *plain, "--num-images", "12", "--scores", "manifold", "--seed", str(seed))
        by_seed.append(
            (frozenset(rows_of(call_of(calls, "fake")["a"])), frozenset(rows_of(call_of(calls, "fake")["b"])))
        )
        for side, seen in drawn.items():
            assert len(call_of(calls, "fake")[side]) == len(rows_of(call_of(calls, "fake")[side])) == 12
            seen |= rows_of(call_of(calls, "fake")[side])
    assert len(set(by_seed)) == 12
    fake, real = drawn["a"], drawn["b"]
    assert fake <= rows_of(features_of(sets["fake"])) and len(fake) > 40
    assert real <= rows_of(features_of(sets["real"])) and len(real) > 45


def test_classifiers_learn_from_one_half_of_all_real_images_and_are_held_to_the_other(
    tmp_path, plain, capsys, monkeypatch
):
    """Check with bright and dark pictures, which are easy to classify unless labels and pictures are in different
    orders."""
    rng = np.random.default_rng(0)
    bright = rng.permutation(np.repeat([0, 1], [20, 60]))
    real = (rng.integers(0, 60, (80, 3, 16, 16)) + 150 * bright[:, None, None, None]).astype(np.uint8)
    fake = rng.integers(150, 210, (20, 3, 16, 16)).astype(np.uint8)
    seen = []
    true_fit = classifier.fit_attributes
    monkeypatch.setattr(classifier, "fit_attributes", lambda *given: seen.append(given) or true_fit(*given))
    path = saved(tmp_path, "real", real, labels=bright.astype(np.int32), class_names=np.array(["dark", "bright"]))
    arguments = ["--real", path, "--fake", saved(tmp_path, "fake", fake), *plain, "--json", "--num-images", "10"]
    result = json.loads(run(capsys, *arguments)[1])
    rows = {row["metric"]: row for row in result["rows"] if row["subject"] == "fake"}
    assert rows["classifier_accuracy"]["value"] == 1 and rows["head_survival"]["value"] == 1
    assert (
        "dead class could not be distinguished from a live one: dark"
        in rows["class_divergence"]["refused"]["class_survival"]
    )
    counts = rows["class_divergence"]["counts"]
    assert (counts["dark"][0], counts["bright"][0]) == (0, 10) and counts["bright"][1] > counts["dark"][1] > 0
    learnt, _, held, _, *_ = seen[0]
    assert rows_of(held[:10]) == rows_of(features_of(real)[np.random.default_rng(0).permutation(80)[:10]])
    assert rows_of(learnt) | rows_of(held) == rows_of(features_of(real)) and len(learnt) == len(held) == 40
    seen.clear()
    assert run(capsys, *arguments, "--scores", "manifold")[0] == 0 and not seen


@pytest.mark.parametrize("layout", ["first", "last"])
def test_arrays_are_read_in_both_layouts_with_their_labels(tmp_path, layout):
    images = pictures(6)
    stored = images if layout == "first" else images.transpose(0, 2, 3, 1)
    path = tmp_path / "set.npz"
    np.savez(path, images=stored, labels=np.array([0, 2, 1, 0, 2, -1], np.int16))
    read = read_images(str(path))
    np.testing.assert_array_equal(read.images, images)
    np.testing.assert_array_equal(read.labels["class"], [0, 2, 1, 0, 2, -1])
    assert read.names == {"class": ["0", "1", "2"]}
    np.savez(path, other=stored, labels=np.zeros((6, 2), np.int64))  # not the labels of one attribute
    read = read_images(str(path))
    np.testing.assert_array_equal(read.images, images)
    assert read.labels == read.names == {}
    np.save(tmp_path / "set.npy", stored)
    np.testing.assert_array_equal(read_images(str(tmp_path / "set.npy")).images, images)
    tiny = pictures(4, size=3)  # a side of three pixels must not be taken for channels last
    np.save(tmp_path / "tiny.npy", tiny)
    np.testing.assert_array_equal(read_images(str(tmp_path / "tiny.npy")).images, tiny)


def test_a_pool_brings_its_labels_and_a_folder_its_classes(real, tmp_path):
    read, images = read_images(str(real)), pictures(48)
    np.testing.assert_array_equal(read.images, images)
    bright_right = images[:, :, :, 0].mean((1, 2)) < images[:, :, :, -1].mean((1, 2))
    np.testing.assert_array_equal(read.labels["side"], bright_right)
    assert read.names == {"side": ["left", "right"]}
    for kind, picture in zip("bab", images, strict=False):
        folder = tmp_path / "folder" / kind
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / f"{len(list(folder.iterdir()))}.png")
    read = read_images(str(tmp_path / "folder"))
    named = [read.names["class"][i] for i in read.labels["class"]]
    assert sorted(named) == ["a", "b", "b"]
    np.testing.assert_array_equal(read.images[named.index("a")], images[1])


def test_pictures_that_are_no_squares_need_a_resolution(tmp_path):
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(tmp_path / "wide.png")
    with pytest.raises(DataError, match=r"24 x 16 \(wide\.png\); give resolution="):
        read_images(str(tmp_path))
    (tmp_path / "torn.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"torn\.png is not a readable picture"):
        read_images(str(tmp_path))


def test_the_training_set_must_have_the_same_resolution(tmp_path, capsys):
    paths = ["--real", saved(tmp_path, "r", pictures(8)), "--fake", saved(tmp_path, "f", pictures(8, 1))]
    code, _, err = run(capsys, *paths, "--train", saved(tmp_path, "t", pictures(8, 2, size=24)))
    assert code == 1 and "train 24 px; give --resolution=16" in err


def row(subject: str, metric: str, value: float, n: int = 30, direction: str = "down", **others) -> dict:
    return {"subject": subject, "metric": metric, "value": value, "num_subject": n, "direction": direction,
            "parameters": {}, **others}  # fmt: skip


def test_the_table_puts_every_number_where_it_belongs():
    """Check rows in any order; attributes and settings distinguish rows of one score."""
    result = {
        "feature_space": {"name": "space", "weights_sha256": "0123456789abcdef"},
        "num_real": 99,
        "rows": [
            row("shuffled", "fid", 0.05),
            row("real", "fid", 12.344),
            row("fake", "fid", 123.456, image_sd=9.876),
            row("fake", "kid", -0.01234, subset_sd=0.5, parameters={"num_subsets": 7, "subset_size": 15}),
            row("fake", "kept", 0.1, direction="up", parameters={"attribute": "pose"}),
            row("fake", "kept", 10.0, direction="up", parameters={"attribute": "colour"}),
            row("real", "kept", 100.0, direction="up", parameters={"attribute": "colour"}),
        ],
    }
    head, _, titles, *lines, notes = table(result).splitlines()
    assert head == "space (weights 0123456789ab), N = 30"
    assert titles.split() == ["score", "fake", "±", "floor", "shuffled", "parameters"]
    assert [line.split() for line in lines] == [
        ["fid", "↓", "123.5", "9.876", "12.34", "0.0500"],
        ["kid", "↓", "-0.0123", "0.500", "num_subsets", "=", "7,", "subset_size", "=", "15"],
        ["kept", "↑", "0.100", "attribute", "=", "pose"],
        ["kept", "↑", "10.00", "100.0", "attribute", "=", "colour"],
    ]
    for column, number, line in (("±", "0.500", 1), ("floor", "100.0", 3), ("shuffled", "0.0500", 0)):
        assert titles.index(column) + len(column) == lines[line].index(number) + len(number), column
    assert "standard deviation" in notes
    plain = {**result, "rows": [row("fake", "fid", 1.0)]}
    assert table(plain).splitlines()[0].endswith("no floor: too few real images to split")
    assert "±:" not in table(plain)


def test_options_reach_the_configuration_of_the_scores(tmp_path, plain, calls, capsys):
    path = saved(tmp_path, "set", pictures(20))
    weights = tmp_path / "w.bin"
    weights.write_bytes(b"weights")
    arguments = ["--real", path, "--fake", path, *plain, "--weights", str(weights), "--k", "5", "--scores", "kernel"]
    result = json.loads(run(capsys, *arguments, "--json", "--num-images", "9", "--resamples", "2")[1])
    expected = MetricsConfig(plain[1], 9, 5, ["kernel"], num_resamples=2, weights=str(weights))
    assert all(call["config"] == expected for call in calls)
    assert {row["metric"] for row in result["rows"]} == {"kid"}
    assert len(result["feature_space"]["weights_sha256"]) == 64
    assert "train" not in result and call_of(calls, "fake")["training"] is None


# ---- which scores, how few images, and whose words a mistake is reported in


def test_single_scores_are_chosen_by_name(tmp_path, plain, capsys):
    paths = ["--real", saved(tmp_path, "r", pictures(60)), "--fake", saved(tmp_path, "f", pictures(40, 1)), *plain]
    whole = json.loads(run(capsys, *paths, "--json")[1])["rows"]
    for given, metrics_kept in (
        (["fid"], {"fid"}),
        (["fid,precision", "kid"], {"fid", "precision", "kid"}),
        (["frechet", "coverage"], {"fid", "fid_infinity", "coverage"}),
    ):
        rows = json.loads(run(capsys, *paths, "--json", "--scores", *given)[1])["rows"]
        expected = [row for row in whole if row["metric"] in metrics_kept]
        assert sorted(rows, key=str) == sorted(expected, key=str)
        assert {row["metric"] for row in rows} == metrics_kept


def test_every_family_states_the_scores_that_it_yields(real, tmp_path, plain, capsys):
    path = saved(tmp_path, "fake", pictures(48, 1))
    arguments = ["--real", str(real), "--fake", path, "--train", str(real), "--unseen", path, *plain, "--json"]
    rows = json.loads(run(capsys, *arguments)[1])["rows"]
    stated = families()
    found = {name: set() for name in stated}
    for name, own in stated.items():
        only = json.loads(run(capsys, *arguments, "--scores", name)[1])["rows"]
        found[name] = {row["metric"] for row in only}
        assert found[name] and found[name] <= set(own)
    assert {row["metric"] for row in rows} == set().union(*found.values())
    modules = (registry.load(registry.SCORES, name, "scores") for name in registry.names(registry.SCORES))
    assert registry.metric_citations().keys() <= {metric for module in modules for metric in module.METRICS}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--scores fidd", "error: --scores=fidd: did you mean fid"),
        ("--scores copying", "error: --scores=copying: none can be computed from these sets"),
        ("--k 0", "error: --k=0: must be at least 1"),
        ("--resamples 1", "error: --resamples=1: must be 0"),
        ("--resplits 1", "error: --resplits=1: must be 0"),
        ("--num-images 41", "error: --num-images=41: there are 60 real and 40 fake images"),
        ("--feature-space vgg", "error: --feature-space=vgg: must be one of dinov2"),
        ("--device tpu", "error: --device=tpu: must be auto"),
        ("--seed -1", "error: --seed=-1: must be at least 0"),
        ("--resolution 0", "error: --resolution=0: must be at least 1"),
    ],
)
def test_mistakes_are_reported_in_the_flags_of_the_command_and_in_the_parameters_of_python(
    tmp_path, capsys, given, message
):
    sets = pictures(60), pictures(40, 1)
    paths = [saved(tmp_path, name, images) for name, images in zip("rf", sets, strict=True)]
    assert score.main(["--real", paths[0], "--fake", paths[1], "--device", "cpu", *given.split()]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert not re.search(r"metrics\.|runtime\.|num_", err)
    flag, value = given.split()
    name = flag.removeprefix("--").replace("-", "_")
    typed = [value] if name == "scores" else int(value) if value.lstrip("-").isdigit() else value
    with pytest.raises(ConfigError) as raised:
        bench.score(paths[0], paths[1], **{"device": "cpu", name: typed})
    assert raised.value.key == name
    assert "--" not in str(raised.value) and "metrics." not in str(raised.value)


def test_a_score_that_cannot_be_computed_is_named_and_the_others_are_printed(tmp_path, plain, capsys, caplog):
    paths = ["--real", saved(tmp_path, "r", pictures(30)), "--fake", saved(tmp_path, "f", pictures(30, 1)), *plain]
    code, out, _ = run(capsys, *paths, "--scores", "kid", "authenticity")
    assert code == 0 and "kid" in out and "authenticity is left out" in caplog.text


OWN_FAMILY = """
import numpy as np

from bench.metrics.shared.inputs import Value

NEEDS = ("items",)
VERSION = 1

def brightness(inputs, config):
    subject, reference = (np.asarray(images, np.float64).mean() for images in inputs.items)
    yield Value("brightness", subject - reference, "none")
"""


def test_a_score_of_ones_own_is_computed_of_the_images(tmp_path, plain):
    (tmp_path / f"own_{tmp_path.name}.py").write_text(OWN_FAMILY)
    sets = pictures(40), pictures(40, 1)
    names = ["fid", f"own_{tmp_path.name}:brightness"]
    found = bench.score(*sets, scores=names, feature_space=plain[1], device="cpu")
    assert list(found) == ["fid", "brightness"]
    assert found["brightness"] == pytest.approx(sets[1].mean() - sets[0].mean())


def test_few_images_are_warned_of(tmp_path, plain, capsys, caplog):
    paths = ["--real", saved(tmp_path, "r", pictures(200)), "--fake", saved(tmp_path, "f", pictures(100, 1)), *plain]
    assert run(capsys, *paths, "--scores", "precision", "--num-images", "5")[0] == 0
    assert "N = 5 images on each side" in caplog.text and "± 0.44" in caplog.text
    caplog.clear()
    assert run(capsys, *paths, "--scores", "precision")[0] == 0
    assert "on each side" not in caplog.text


# ---- from Python


def test_arrays_tensors_and_folders_have_the_scores_of_the_command(tmp_path, plain, capsys):
    real, fake = pictures(60), pictures(40, 1)
    for name, images in (("real", real), ("fake", fake)):
        (tmp_path / name).mkdir()
        for i, picture in enumerate(images):
            Image.fromarray(picture.transpose(1, 2, 0)).save(tmp_path / name / f"{i:02}.png")
    of_command = json.loads(
        run(capsys, "--real", f"{tmp_path}/real", "--fake", f"{tmp_path}/fake", *plain, "--json")[1]
    )
    for kind, change in (
        ("ndarray", lambda images: images),
        ("ndarray", lambda images: images.transpose(0, 2, 3, 1)),
        ("Tensor", torch.from_numpy),
        (None, lambda images: tmp_path / ("real" if images is real else "fake")),
    ):
        found = bench.score(change(real), change(fake), feature_space=plain[1], device="cpu")
        assert found.rows == of_command["rows"]
        assert kind is None or found.result["real"].startswith(f"{kind} (60, ")


def test_scores_are_a_mapping_that_prints_as_the_table(real, tmp_path, capsys):
    path = saved(tmp_path, "fake", pictures(30, seed=1))
    out = run(capsys, "--real", str(real), "--fake", path)[1]
    found = bench.score(real, path, device="cpu")
    assert f"{found}\n" == f"{found!r}\n" == out
    rows = {(row["subject"], row["metric"]): row["value"] for row in found.rows}
    assert found["fid"] == dict(found)["fid"] == rows["fake", "fid"] != found.floor["fid"]
    assert (found.floor["fid"], found.shuffled["fid"]) == (rows["real", "fid"], rows["shuffled", "fid"])
    assert list(found) and len(found) == len(list(found)) == len(dict(found))
    with pytest.raises(KeyError, match=r"'FID': there are .*fid"):
        found["FID"]


def test_scores_of_several_attributes_have_names_of_their_own(plain):
    rows = [row("fake", "kept", 0.25, parameters={"attribute": "pose"}), row("fake", "fid", 3.0)]
    rows.append(row("fake", "kept", 0.5, parameters={"attribute": "colour"}))
    found = Scores({"rows": rows})
    assert dict(found) == {"kept[pose]": 0.25, "fid": 3.0, "kept[colour]": 0.5}
    assert found.floor == {}


@pytest.mark.parametrize("wrong", [pictures(8) / 255, torch.zeros(8, 3, 16, 16), pictures(8)[0], [1, 2], None])
def test_what_is_no_set_of_images_is_refused_by_python_too(wrong):
    with pytest.raises(DataError, match=r"expected|not a set of images"):
        bench.score(pictures(8), wrong, device="cpu")


@pytest.mark.parametrize(
    "imports",
    [
        "import bench",
        "import bench.score",
        "import bench; import bench.score",
        "from bench import score; import bench",
        "import bench; bench.score; from bench.score import main",
        "import bench; from bench import score; import bench.score_sets; import bench.score",
        "import importlib, bench; importlib.import_module('bench.score')",
    ],
)
def test_score_is_one_object_that_can_be_called_in_whatever_order_it_is_imported(imports):
    code = f"""
{imports}
import inspect, sys
from bench import score
assert score is bench.score is sys.modules["bench.score"]
assert callable(bench.score) and callable(bench.score.main)
assert list(inspect.signature(bench.score).parameters)[:3] == ["real", "fake", "train"]
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
