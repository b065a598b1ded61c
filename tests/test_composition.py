"""Compositions: what makes two training sets one, what is counted, what survives the disk."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.composition import Composition, Part, PoolRef
from bench.errors import DataError
from bench.pool import REAL, Pool, Records

REAL_POOL, RESERVE = PoolRef("real", 40, REAL), PoolRef("kept-back", 30, REAL)
FIRST, SECOND = PoolRef("s0", 50, 0), PoolRef("s1", 50, 1)


def part(pool: PoolRef, *rows: int) -> Part:
    return Part(pool, np.array(rows, np.int64))


def mixed() -> Composition:
    return Composition(
        (
            part(SECOND, 4, 2),
            part(REAL_POOL, 7, 0, 7, 39),
            part(FIRST),
            part(RESERVE, 5, 6, 9),
            part(FIRST, 1),
            part(SECOND, 49),
        )
    )


def pairs(composition: Composition) -> list[tuple[str, list[int]]]:
    return [(part.pool.id, part.rows.tolist()) for part in composition.parts]


def test_parts_are_merged_sorted_and_kept_as_often_as_they_were_drawn():
    assert pairs(mixed()) == [("kept-back", [5, 6, 9]), ("real", [0, 7, 7, 39]), ("s0", [1]), ("s1", [2, 4, 49])]
    assert len(mixed()) == 11
    assert all(part.rows.dtype == np.int64 for part in mixed().parts)


def test_counts_and_the_ratios_of_the_papers():
    assert mixed().counts(REAL_POOL, RESERVE) == {
        "num_real": 7,
        "num_synthetic": 4,
        "num_fresh": 3,
        "num_distinct": 10,  # one real image stands there twice
        "per_generation": {"-1": 7, "0": 1, "1": 3},
        "synthetic_ratio": 4 / 11,
        "synthetic_per_real": 4 / 40,
        "real_retained": 4 / 40,
    }
    without = Composition((part(REAL_POOL, 1, 2), part(FIRST, 3))).counts(REAL_POOL)
    assert (without["num_fresh"], without["real_retained"]) == (0, 2 / 40)


rows = st.lists(st.integers(0, 29), max_size=6)
draws = st.lists(st.tuples(st.sampled_from([REAL_POOL, RESERVE, FIRST, SECOND]), rows), min_size=1, max_size=6).filter(
    lambda parts: any(chosen for _, chosen in parts)
)


@given(parts=draws, random=st.randoms(use_true_random=False))
def test_the_id_is_that_of_the_multiset_of_images(parts, random):
    composition = Composition(tuple(part(pool, *chosen) for pool, chosen in parts))
    images = [(pool, row) for pool, chosen in parts for row in chosen]
    one_by_one = Composition(tuple(part(pool, row) for pool, row in random.sample(images, len(images))))
    assert one_by_one.id == composition.id
    assert composition.num_real == sum(pool.generation == REAL for pool, _ in images)
    assert composition.num_synthetic == len(images) - composition.num_real
    counts = composition.counts(REAL_POOL, RESERVE)
    assert counts["num_distinct"] == len({(pool.id, row) for pool, row in images})
    for changed in (images[1:], [*images, images[0]], [*images, (FIRST, 31)]):
        if changed:
            assert Composition(tuple(part(pool, row) for pool, row in changed)).id != composition.id


def test_the_id_sees_which_pool_a_row_is_of():
    ids = {
        Composition(parts).id
        for parts in (
            (part(FIRST, 1, 2), part(SECOND, 3)),
            (part(FIRST, 1), part(SECOND, 2, 3)),
            (part(FIRST, 3), part(SECOND, 1, 2)),
            (part(FIRST, 1, 2, 3),),
            (part(SECOND, 1, 2, 3),),
        )
    }
    assert len(ids) == 5


def test_rows_of_any_integer_type_are_the_same_rows():
    ids = {Composition((Part(FIRST, np.array([3, 1], kind)),)).id for kind in (np.int64, np.int32, np.uint8)}
    assert ids == {Composition((Part(FIRST, [1, 3]),)).id}


def test_nothing_and_rows_outside_a_pool_are_refused():
    with pytest.raises(DataError, match="without a single item"):
        Composition((part(REAL_POOL), part(FIRST)))
    for row in (-1, 40):
        with pytest.raises(DataError, match=r"must lie in \[0, 40\)"):
            part(REAL_POOL, 3, row)
    assert len(part(REAL_POOL, 0, 39).rows) == 2


def test_it_survives_the_disk(tmp_path):
    mixed().save(tmp_path)
    loaded = Composition.load(tmp_path)
    assert pairs(loaded) == pairs(mixed())
    assert [part.pool for part in loaded.parts] == [RESERVE, REAL_POOL, FIRST, SECOND]
    assert loaded.id == mixed().id
    with np.load(tmp_path / "composition.npz", allow_pickle=False) as stored:
        assert stored["pool"].tolist() == [0] * 3 + [1] * 4 + [2] + [3] * 3
        assert stored["row"].tolist() == [5, 6, 9, 0, 7, 7, 39, 1, 2, 4, 49]


@pytest.mark.parametrize("broken", ["composition.json", "composition.npz"])
def test_a_damaged_one_is_named(broken, tmp_path):
    mixed().save(tmp_path)
    (tmp_path / broken).write_bytes(b"{")
    with pytest.raises(DataError, match="holds no readable composition"):
        Composition.load(tmp_path)
    (tmp_path / broken).unlink()
    with pytest.raises(DataError, match="holds no readable composition"):
        Composition.load(tmp_path)


def test_its_images_are_read_from_the_pools_by_id():
    def pool(seed: int, generation: int) -> Pool:
        images = np.random.default_rng(seed).integers(0, 256, (9, 3, 4, 4), dtype=np.uint8)
        records = Records.synthetic(generation, np.arange(9)) if generation != REAL else Records.real(list("abcdefghi"))
        return Pool(images, records)

    real, samples, other = pool(0, REAL), pool(1, 0), pool(2, 1)
    ref = PoolRef.of(samples, 0)
    assert ref == PoolRef(samples.id, 9, 0) and ref.is_synthetic and not PoolRef.of(real, REAL).is_synthetic
    composition = Composition((Part(ref, np.array([8, 3])), Part(PoolRef.of(real, REAL), np.array([2, 2, 0]))))
    images = composition.items({p.id: p for p in (other, samples, real)})
    expected = np.concatenate([real.items[[0, 2, 2]], samples.items[[3, 8]]])
    np.testing.assert_array_equal(images[np.arange(5)], expected)
