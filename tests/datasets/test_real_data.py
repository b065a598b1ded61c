"""Real images of any source: the part that each image falls into, what stays with it, and what the spec contains."""

import json
import logging
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from configs import NpzConfig, ProceduralConfig

from bench.datasets import data_spec, load_real, npz, procedural
from bench.datasets.shared import resize
from bench.datasets.shared.split import hash_order
from bench.pool import Pool


@pytest.fixture
def thirty(tmp_path) -> NpzConfig:
    """Write thirty pictures, each of one grey, with names and labels; the subset has those with a label below 2."""
    images = np.zeros((30, 8, 8, 3), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None]
    names = np.array([f"{99 - i}.jpg" for i in range(30)])
    np.savez(tmp_path / "thirty.npz", images=images, labels=np.arange(30) % 3, filenames=names)
    (tmp_path / "some.yaml").write_text("classes: [0, 1]\n")
    return NpzConfig(path=str(tmp_path / "thirty.npz"), resolution=8, num_train=7, num_heldout=5, split_seed=3)


def greys(pool: Pool) -> list[int]:
    return pool.items[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("subset", [False, True])
def test_images_stand_in_the_order_of_their_hashes_with_their_names_and_labels(thirty, subset, tmp_path):
    config = replace(thirty, subset=str(tmp_path / "some.yaml") if subset else None)
    real = load_real(config)
    assert real.reserve is not None
    kept = [i for i in range(30) if not subset or i % 3 < 2]
    queue = [kept[row] for row in hash_order([f"{99 - i}.jpg" for i in kept], 3)]
    assert (greys(real.heldout), greys(real.train), greys(real.reserve)) == (queue[:5], queue[5:12], queue[12:])
    for pool in (real.heldout, real.train, real.reserve):
        assert pool.records.source_id.tolist() == [f"{99 - grey}.jpg" for grey in greys(pool)]
        assert pool.records.labels["class"].tolist() == [grey % 3 for grey in greys(pool)]
        assert pool.label_names == {"class": ["0", "1", "2"]}
        assert not pool.records.is_synthetic.any()


def test_nothing_left_is_no_reserve(thirty):
    assert load_real(replace(thirty, num_train=None)).reserve is None
    assert len(load_real(replace(thirty, num_train=None)).train) == 25
    assert len(load_real(replace(thirty, num_train=24)).reserve) == 1


def test_twins_are_those_held_out_images_that_are_trained_on(tmp_path, caplog):
    """Check the count for four held-out images, one of which occurs twice among the training images, and equal images
    within a part."""
    ids = np.array([f"{i}.jpg" for i in range(14)])
    queue = hash_order(ids.tolist(), 0)
    images = np.zeros((14, 8, 8, 3), np.uint8) + np.arange(14, dtype=np.uint8)[:, None, None, None]
    heldout, train, reserve = queue[:4], queue[4:10], queue[10:]
    images[train[0]] = images[train[1]] = images[heldout[2]]
    images[heldout[1]] = images[heldout[0]]
    images[reserve[0]] = images[heldout[3]]
    np.savez(tmp_path / "twins.npz", images=images, filenames=ids)
    with caplog.at_level(logging.WARNING):
        real = load_real(NpzConfig(path=str(tmp_path / "twins.npz"), resolution=8, num_heldout=4, num_train=6))
    assert real.heldout.notes == {"num_identical_to_training": 1} and real.train.notes == {}
    assert "1 of 4 held-out items have an identical twin among the training items" in caplog.text


CHANGED = {"resolution": 16, "num_train": 8, "num_heldout": 6, "split_seed": 4}


def test_the_spec_sees_all_that_changes_the_images_and_not_where_they_lie(thirty, tmp_path, monkeypatch):
    seen = [data_spec(thirty)]
    seen += [data_spec(replace(thirty, **{name: value})) for name, value in CHANGED.items()]
    seen.append(data_spec(replace(thirty, subset=str(tmp_path / "some.yaml"))))
    (tmp_path / "some.yaml").write_text("classes: [0, 2]\n")
    seen.append(data_spec(replace(thirty, subset=str(tmp_path / "some.yaml"))))
    for module in (npz, resize):
        with monkeypatch.context() as patch:
            patch.setattr(module, "VERSION", 99)
            seen.append(data_spec(thirty))
    moved = tmp_path / "moved.npz"
    moved.write_bytes(Path(thirty.path).read_bytes())
    assert data_spec(replace(thirty, path=str(moved))) == seen[0]
    (tmp_path / "copy.yaml").write_text("about: in other words\nclasses: [0, 2]\n")
    assert data_spec(replace(thirty, subset=str(tmp_path / "copy.yaml"))) == seen[6]
    with moved.open("ab") as file:
        file.write(b" ")
    seen.append(data_spec(replace(thirty, path=str(moved))))
    assert len({json.dumps(spec, sort_keys=True) for spec in seen}) == 10


def test_the_spec_of_drawings_sees_every_option(monkeypatch):
    base = ProceduralConfig(resolution=8)
    other = {**CHANGED, "kind": "birds", "num_reserve": 5, "num_calibration": 7}
    specs = [data_spec(base)] + [data_spec(replace(base, **{name: value})) for name, value in other.items()]
    monkeypatch.setattr(procedural, "VERSION", 99)
    specs.append(data_spec(base))
    assert {field.name for field in fields(base)} == {"name", *other}
    assert len({json.dumps(spec, sort_keys=True) for spec in specs}) == 9
    assert {spec["data"] for spec in specs} == {"procedural"}
