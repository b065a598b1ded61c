import hashlib
import re

import numpy as np
import pytest
from configs import NpzConfig

from bench.datasets import data_spec, load_real, npz
from bench.datasets.shared.manifest import Manifest, Subset, find_subset, parse, select, shipped
from bench.datasets.shared.source import Source
from bench.errors import DataError

CLASSES = ["001.Black_footed_Albatross", "002.Blue_Jay", "003.Green_Jay", "004.Sweet_pea"]


@pytest.fixture
def source():
    labels = np.repeat(np.arange(4), [10, 20, 30, 40])
    ids = [f"{number:03d}.jpg" for number in range(100)]
    facts = {"padding_bar_px": (np.arange(100) % 2).astype(np.int64)}
    return Source(ids, lambda rows: (rows, {}), {"class": labels}, {"class": CLASSES}, facts)


def test_a_class_goes_by_its_name_in_any_spelling_and_by_its_number(source):
    for entry in ("002.Blue_Jay", "Blue_Jay", "blue jay", "Blue-Jay", 1):
        assert select(source, Subset(classes=[entry])).tolist() == list(range(10, 30))
    assert len(select(source, Subset(classes=["blue jay", 3]))) == 60


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("blue jai", r"'blue jai'.*did you mean 002\.Blue_Jay"),
        ("zzz", r"'zzz'.*e\.g\. 001\.Black_footed_Albatross"),
        (4, r"number 4: must lie in \[0, 3\]"),
        (-1, r"number -1"),
    ],
)
def test_an_unknown_class_is_named_with_its_neighbours(source, entry, message):
    with pytest.raises(DataError, match=message):
        select(source, Subset(classes=[entry]))


def test_counts(source):
    rows = select(source, Subset(max_per_class=15))
    assert np.bincount(source.labels["class"][rows]).tolist() == [10, 15, 15, 15]
    assert len(select(source, Subset(num_images=37))) == 37
    assert len(select(source, Subset(classes=[0, 1], where={"padding_bar_px": 0}))) == 15
    both = select(source, Subset(max_per_class=15, num_images=20))
    assert set(both) <= set(rows) and len(both) == 20
    assert set(select(source, Subset(num_images=20))) < set(select(source, Subset(num_images=40)))


def by_hash(numbers):
    """Return the rows in the documented order, computed by hand."""
    return sorted(numbers, key=lambda number: hashlib.sha256(f"subset/{number:03d}.jpg".encode()).hexdigest())


def test_the_choice_is_the_first_by_the_documented_hash(source):
    assert select(source, Subset(num_images=9)).tolist() == sorted(by_hash(range(100))[:9])
    classes = (range(10), range(10, 30), range(30, 60), range(60, 100))
    few = [number for members in classes for number in by_hash(members)[:6]]
    assert select(source, Subset(max_per_class=6)).tolist() == sorted(few)
    assert select(source, Subset(max_per_class=6, num_images=11)).tolist() == sorted(by_hash(few)[:11])
    even = [number for members in classes for number in by_hash([n for n in members if n % 2 == 0])[:3]]
    where = {"padding_bar_px": 0}
    assert select(source, Subset(where=where, max_per_class=3)).tolist() == sorted(even), (
        "narrowed before it is limited"
    )
    rule = Subset(classes=[1, 3], where=where, max_per_class=3)
    assert select(source, rule).tolist() == sorted(number for number in even if number // 10 not in (0, 3, 4, 5))
    assert len(select(source, Subset(num_images=100))) == 100 and len(select(source, Subset())) == 100


def test_an_image_must_have_every_value_asked_for(source):
    source.facts["third"] = (np.arange(100) % 3).astype(np.int64)
    rows = select(source, Subset(where={"padding_bar_px": 1, "third": 2}))
    assert rows.tolist() == [number for number in range(100) if number % 2 == 1 and number % 3 == 2]


def test_an_exact_name_is_meant_where_two_are_spelt_alike(source):
    twice = Source(source.source_ids, source.read, source.labels, {"class": ["Blue_Jay", "blue jay", "BLUE", "x"]})
    assert select(twice, Subset(classes=["blue jay"])).tolist() == list(range(10, 30))
    with pytest.raises(DataError, match="did you mean"):
        select(twice, Subset(classes=["Blue-Jay"]))


def test_the_choice_does_not_depend_on_the_order_of_the_files(source):
    turned = Source(source.source_ids[::-1], source.read, {"class": source.labels["class"][::-1]}, {"class": CLASSES})
    rule = Subset(max_per_class=7, num_images=20)
    names = {source.source_ids[row] for row in select(source, rule)}
    assert names == {turned.source_ids[row] for row in select(turned, rule)}


def test_rules_that_no_image_matches_are_named(source):
    with pytest.raises(DataError, match="asks for 200 images, but only 100 match"):
        select(source, Subset(num_images=200))
    with pytest.raises(DataError, match=r"colour=1.*padding_bar_px"):
        select(source, Subset(where={"colour": 1}))
    with pytest.raises(DataError, match="no image matches"):
        select(source, Subset(where={"padding_bar_px": 9}))
    bare = Source(source.source_ids, source.read)
    for rule in (Subset(classes=["a"]), Subset(max_per_class=2)):
        with pytest.raises(DataError, match="no class labels"):
            select(bare, rule)


def test_a_subset_from_a_file(tmp_path, source):
    path = tmp_path / "two.yaml"
    path.write_text("about: two of them\nclasses: [blue jay, 3]\nmax_per_class: 5\n")
    subset = find_subset(str(path), None)
    assert subset == Subset("two of them", ["blue jay", 3], {}, 5, None)
    assert subset.rules() == {"classes": ["blue jay", 3], "where": {}, "max_per_class": 5, "num_images": None}
    path.rename(tmp_path / "two.yml")
    assert find_subset(str(tmp_path / "two.yml"), None) == subset
    assert find_subset(None, shipped()["cub200"]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [("clases: [a]", "clases"), ("max_per_class: many", "max_per_class"), ("classes: [", "is not a subset in YAML")],
)
def test_a_wrong_file_is_refused_with_its_key(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        find_subset(str(path), None)


def test_unknown_names_list_what_there_is():
    with pytest.raises(DataError, match="must be one of twenty_classes, balanced, small"):
        find_subset("twnty", shipped()["cub200"])
    with pytest.raises(DataError, match="no named subsets"):
        find_subset("some", None)
    with pytest.raises(DataError, match="there is no such file"):
        find_subset("some.yaml", None)


@pytest.mark.parametrize("name", ["birds64", "cub200", "flowers102", "flowers64"])
def test_shipped_manifests_say_everything_a_reader_needs(name):
    manifest = shipped()[name]
    assert manifest.name == name and manifest.num_images > 0 and manifest.num_classes > 0
    assert manifest.homepage.startswith("https://") and manifest.licence and manifest.citation
    lengths = {"flowers102": 32}  # md5, as torchvision has them; sha256 elsewhere
    for digest in manifest.checksums.values():
        assert re.fullmatch("[0-9a-f]+", digest) and len(digest) == lengths.get(name, 64)
    for subset in manifest.subsets.values():
        assert subset.about and any(subset.rules().values())
        assert subset.classes is None or len(set(subset.classes)) == len(subset.classes)


def test_flower_classes_are_torchvisions_and_the_two_flower_manifests_agree():
    from torchvision.datasets import Flowers102

    manifests = shipped()
    assert set(manifests["flowers102"].subsets["ten_classes"].classes) < set(Flowers102.classes)
    assert manifests["flowers102"].subsets == manifests["flowers64"].subsets
    assert manifests["flowers102"].checksums == dict(Flowers102._file_dict.values())


def test_a_named_subset_of_an_archive_is_known_by_the_checksum(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, padding_bar_px=np.arange(20) % 2)
    config = NpzConfig(path=str(tmp_path / "x.npz"), subset="clean", resolution=8, num_heldout=2)
    with pytest.raises(DataError, match="no named subsets"):
        load_real(config)
    own = Manifest(
        "x",
        "",
        "",
        None,
        {"x.npz": npz.checksum(config)},
        20,
        0,
        "",
        "",
        {"clean": Subset(where={"padding_bar_px": 0})},
    )
    monkeypatch.setattr("bench.datasets.shipped", lambda: {"x": own})
    real = load_real(config)
    assert len(real.train) == 8
    assert all(int(name) % 2 == 0 for name in real.train.records.source_id)
    spec = data_spec(config)
    assert spec["subset"]["where"] == {"padding_bar_px": 0}
    assert spec != data_spec(NpzConfig(path=config.path, resolution=8, num_heldout=2))


def test_parse_names_the_file():
    with pytest.raises(DataError, match=r"mine\.yaml.*manifest"):
        parse(Manifest, "colour: red", "mine.yaml")
