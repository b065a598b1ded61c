import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.datasets.shared.split import count_shared, hash_order, split
from bench.errors import DataError

names = st.lists(st.text(min_size=1, max_size=12), min_size=6, max_size=60, unique=True)


def named(ids, rows):
    return [ids[row] for row in rows]


@given(ids=names, seed=st.integers(0, 5), data=st.data())
def test_the_parts_are_disjoint_and_together_everything(ids, seed, data):
    num_heldout = data.draw(st.integers(2, len(ids) - 2))
    num_train = data.draw(st.one_of(st.none(), st.integers(2, len(ids) - num_heldout)))
    parts = split(ids, num_heldout, num_train, seed)
    rows = np.concatenate([parts.heldout, parts.train, parts.reserve])
    assert sorted(rows.tolist()) == list(range(len(ids)))
    assert len(parts.heldout) == num_heldout
    assert len(parts.train) == (len(ids) - num_heldout if num_train is None else num_train)


@given(ids=names, random=st.randoms(use_true_random=False))
def test_the_order_of_the_files_does_not_matter(ids, random):
    shuffled = random.sample(ids, len(ids))
    before, after = split(ids, 3, 3, 0), split(shuffled, 3, 3, 0)
    for part in ("heldout", "train", "reserve"):
        assert named(ids, getattr(before, part)) == named(shuffled, getattr(after, part))


@given(ids=names, more=names)
def test_added_images_never_change_the_order_of_those_there_were(ids, more):
    everything = ids + [name for name in more if name not in ids]
    queue = named(everything, hash_order(everything, 0))
    assert [name for name in queue if name in ids] == named(ids, hash_order(ids, 0))


@given(ids=names, num_train=st.integers(2, 3))
def test_a_larger_real_pool_leaves_the_held_out_images_alone(ids, num_train):
    small, large = split(ids, 3, 2, 0), split(ids, 3, num_train, 0)
    assert np.array_equal(small.heldout, large.heldout)
    assert np.array_equal(small.train, large.train[:2])


def test_the_hash_is_the_documented_one():
    ids = [f"image_{number:05d}.jpg" for number in range(50)]
    by_hand = sorted(ids, key=lambda name: hashlib.sha256(f"7/{name}".encode()).hexdigest())
    assert named(ids, hash_order(ids, 7)) == by_hand


def test_another_seed_is_another_split():
    ids = [str(number) for number in range(200)]
    first, second = split(ids, 50, None, 0), split(ids, 50, None, 1)
    assert 0 < len(set(first.heldout) & set(second.heldout)) < 30


@pytest.mark.parametrize(
    ("num_heldout", "num_train", "sizes"), [(3, 5, (3, 5, 2)), (3, None, (3, 7, 0)), (3, 7, (3, 7, 0))]
)
def test_the_queue_is_held_out_first_then_trained_on_then_kept_back(num_heldout, num_train, sizes):
    ids = [f"{number}.jpg" for number in range(10)]
    queue = hash_order(ids, 4).tolist()
    parts = split(ids, num_heldout, num_train, 4)
    assert [*parts.heldout, *parts.train, *parts.reserve] == queue
    assert (len(parts.heldout), len(parts.train), len(parts.reserve)) == sizes
    assert parts.heldout.dtype == np.int64


def test_too_few_images_names_the_numbers():
    ids = [str(number) for number in range(10)]
    with pytest.raises(
        DataError, match=r"10 items are too few for data.num_heldout=4 and data.num_train=7: 11 are needed"
    ):
        split(ids, 4, 7, 0)
    with pytest.raises(DataError, match=r"10 items.*num_heldout=9.*num_train=null.* 11 are needed"):
        split(ids, 9, None, 0)
    assert len(split(ids, 4, 6, 0).reserve) == 0
    assert len(split(ids, 8, None, 0).train) == 2


def test_a_name_that_occurs_twice_is_refused():
    with pytest.raises(DataError, match=r"'b'"):
        split(["a", "b", "b", "c", "d"], 2, 2, 0)


def test_twins_are_counted_once_for_each_image_of_the_first_set():
    images = np.arange(6 * 3 * 4 * 4, dtype=np.uint8).reshape(6, 3, 4, 4)
    assert count_shared(images[:3], images[3:]) == 0
    assert count_shared(images[[0, 0, 1, 2]], images[[0, 2, 2, 5]]) == 3
