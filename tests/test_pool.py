"""Pools: what is refused, what survives the disk, what an id sees; and seeds."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DataError
from bench.kinds import check_images
from bench.pool import REAL, Gathered, Pool, Records
from bench.seeds import derive_seed


def pool(n: int = 5, side: int = 8, seed: int = 0) -> Pool:
    images = np.random.default_rng(seed).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    return Pool(
        images, Records.real([f"image_{i}.jpg" for i in range(n)], {"class": np.arange(n)}), {"class": ["a"] * n}
    )


def test_a_pool_survives_the_disk_and_is_mapped(tmp_path):
    before = pool()
    before.save(tmp_path)
    after = Pool.load(tmp_path)
    assert isinstance(after.items, np.memmap)
    assert after.id == before.id
    np.testing.assert_array_equal(after.items, before.items)
    for name, column in before.records.columns().items():
        np.testing.assert_array_equal(column, after.records.columns()[name])
    assert after.label_names == before.label_names


def test_the_id_sees_pixels_records_and_order():
    base, ids = pool(), set()
    brighter = base.items.copy()
    brighter[3, 1, 2, 2] ^= 1
    renamed = Records.real(["x", *base.records.source_id[1:]], base.records.labels)
    for other in (
        base,
        Pool(brighter, base.records),
        Pool(base.items, renamed),
        Pool(base.items, Records.synthetic(0, np.arange(5))),
        base.take(slice(None, None, -1)),
        base.take(slice(0, 4)),
    ):
        ids.add(other.id)
    assert len(ids) == 6


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((2, 3, 8, 8), np.float32), "float32"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"\(2, 8, 8, 3\)"),
        (np.zeros((2, 3, 8, 9), np.uint8), r"\(2, 3, 8, 9\)"),
        (np.zeros((3, 3, 8, 8), np.uint8), "3 items but 2 records"),
    ],
)
def test_what_is_not_a_pool_is_refused_with_what_it_is(images, said):
    with pytest.raises(DataError, match=said):
        Pool(images, Records.real(["a", "b"]))


def test_records_of_unequal_length_are_refused():
    with pytest.raises(DataError, match="label:class"):
        Records.real(["a", "b"], {"class": np.arange(3)})


def test_real_and_synthetic_are_told_apart():
    assert not Records.real(["a"]).is_synthetic.any()
    assert Records.real(["a"]).generation[0] == REAL
    assert Records.synthetic(0, np.array([7])).is_synthetic.all()


def test_a_broken_pool_is_named(tmp_path):
    pool().save(tmp_path)
    (tmp_path / "records.npz").write_bytes(b"")
    with pytest.raises(DataError, match="is not a readable pool"):
        Pool.load(tmp_path)
    with pytest.raises(DataError, match="is not a readable pool"):
        Pool.load(tmp_path / "nowhere")


def test_nothing_on_disk_is_a_pickle(tmp_path):
    pool().save(tmp_path)
    np.load(tmp_path / "items.npy", allow_pickle=False)
    with np.load(tmp_path / "records.npz", allow_pickle=False) as columns:
        assert set(columns) == {"generation", "seed", "source_id", "label:class"}
    assert json.loads((tmp_path / "pool.json").read_text())["num_items"] == 5


def test_a_pool_keeps_its_notes_and_its_id_through_the_disk(tmp_path):
    plain = pool()
    before = Pool(plain.items, plain.records, plain.label_names, {"num_enlarged": 2})
    before.save(tmp_path)
    after = Pool.load(tmp_path)
    assert after.notes == {"num_enlarged": 2}
    assert Pool(np.array(after.items), after.records).id == before.id  # computed anew
    assert after.records.columns().keys() == before.records.columns().keys()
    assert after.items.shape == (5, 3, 8, 8) and after.kind.name == "images"
    assert json.loads((tmp_path / "pool.json").read_text())["id"] == before.id


def test_records_say_what_they_are():
    real, made = Records.real(["a", "b"], {"class": [3, -1]}), Records.synthetic(2, np.array([7, 9]))
    assert {name: column.tolist() for name, column in real.columns().items()} == {
        "generation": [-1, -1],
        "seed": [-1, -1],
        "source_id": ["a", "b"],
        "label:class": [3, -1],
    }
    assert {name: column.tolist() for name, column in made.columns().items()} == {
        "generation": [2, 2],
        "seed": [7, 9],
        "source_id": ["", ""],
    }
    assert [column.dtype for column in made.columns().values()][:2] == [np.int32, np.int64]
    assert Records.synthetic(0, np.array([2**62])).seed[0] == 2**62


def test_a_part_of_a_pool_has_the_images_records_and_labels_of_its_rows():
    whole = pool()
    part = whole.take(np.array([4, 0, 4]))
    np.testing.assert_array_equal(part.items, whole.items[[4, 0, 4]])
    assert part.records.source_id.tolist() == ["image_4.jpg", "image_0.jpg", "image_4.jpg"]
    assert part.records.labels["class"].tolist() == [4, 0, 4]
    assert part.records.seed.tolist() == [-1] * 3 and part.records.generation.tolist() == [REAL] * 3
    assert part.label_names == whole.label_names


def test_the_id_sees_labels_seeds_births_and_images_far_down():
    base = Records.synthetic(0, np.arange(1030))
    images = np.zeros((1030, 3, 1, 1), np.uint8)
    last = images.copy()
    last[1029] = 1
    swapped = images.copy()
    swapped[3] = 1
    named = {"class": np.zeros(1030, np.int64)}
    pools = [
        Pool(images, base),
        Pool(last, base),
        Pool(swapped, base),
        Pool(images, Records.synthetic(1, np.arange(1030))),
        Pool(images, Records.synthetic(0, np.arange(1, 1031))),
        Pool(images, Records(base.generation, base.seed, base.source_id, named)),
        Pool(images, Records(base.generation, base.seed, base.source_id, {"class": np.ones(1030, np.int64)})),
        Pool(images, Records(base.generation, base.seed, base.source_id, {"colour": named["class"]})),
    ]
    assert len({p.id for p in pools}) == len(pools)
    shapes = [
        Pool(np.zeros((n, 3, side, side), np.uint8), Records.real([str(i) for i in range(n)]))
        for n, side in ((4, 1), (1, 2))
    ]
    assert shapes[0].id != shapes[1].id


def test_names_are_told_apart_wherever_they_end():
    images = np.zeros((2, 3, 2, 2), np.uint8)
    assert Pool(images, Records.real(["a", "bc"])).id != Pool(images, Records.real(["ab", "c"])).id
    assert Pool(images, Records.real(["a", "b"])).id == Pool(images, Records.real(np.array(["a", "b"], "<U9"))).id


@given(
    a=st.tuples(st.integers(0, 99), st.integers(0, 9), st.sampled_from(["train", "sample"]), st.integers(0, 99999)),
    b=st.tuples(st.integers(0, 99), st.integers(0, 9), st.sampled_from(["train", "sample"]), st.integers(0, 99999)),
)
def test_seeds_are_equal_exactly_for_equal_draws(a, b):
    assert 0 <= derive_seed(*a) < 2**63
    assert (derive_seed(*a) == derive_seed(*b)) == (a == b)


def test_the_seed_scheme_is_frozen():
    """Changing it changes every number of every protocol."""
    assert derive_seed(0, 0, "train") == derive_seed(0, 0, "train", 0) == 3621952930635735161
    assert derive_seed(1, 2, "sample", 3) == 4213876244655510854


def test_no_two_arguments_of_a_seed_can_stand_for_each_other():
    numbers = range(5)
    seeds = {derive_seed(a, b, stage, i) for a in numbers for b in numbers for stage in ("x", "y") for i in numbers}
    assert len(seeds) == 250
    assert derive_seed(1, 11, "x") != derive_seed(11, 1, "x") != derive_seed(1, 1, "x", 1)
    assert any(seed >= 2**62 for seed in seeds) and any(seed < 2**62 for seed in seeds)  # all 63 bits are used


def test_gathered_is_the_concatenation():
    random = np.random.default_rng(0)
    sets = [random.integers(0, 256, (n, 3, 4, 4)).astype(np.uint8) for n in (9, 1, 30)]
    rows = [np.array([8, 0, 0, 3]), np.array([0]), np.sort(random.integers(0, 30, 50))]
    whole = np.concatenate([images[chosen] for images, chosen in zip(sets, rows, strict=True)])
    gathered = Gathered(list(zip(sets, rows, strict=True)))
    check_images(gathered)
    assert (len(gathered), gathered.shape, gathered.dtype) == (55, whole.shape, np.uint8)
    for wanted in (np.arange(55), random.permutation(55), np.array([4, 4, 0, 54]), np.array([], np.int64)):
        np.testing.assert_array_equal(gathered[wanted], whole[wanted])
    with pytest.raises(IndexError):
        gathered[np.array([55])]


def test_images_of_two_sizes_are_not_gathered():
    sets = [np.zeros((2, 3, side, side), np.uint8) for side in (4, 8)]
    with pytest.raises(DataError, match=r"\(3, 4, 4\).*\(3, 8, 8\)"):
        Gathered([(images, np.arange(2)) for images in sets])
