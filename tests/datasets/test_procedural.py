import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config import ProceduralConfig
from bench.datasets import load_real, procedural
from bench.errors import ConfigError

KINDS = ("flowers", "birds")


@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(KINDS), index=st.integers(0, 99), seed=st.integers(0, 2))
def test_an_image_is_the_same_alone_and_in_a_batch(kind, index, seed):
    source = procedural.open_source(ProceduralConfig(kind=kind, num_train=80, num_heldout=20, split_seed=seed))
    batch, notes = source.read(np.asarray([3, index, 7]))
    assert np.array_equal(batch[1], procedural.draw(kind, seed, index, 16))
    assert {name: column[index] for name, column in source.labels.items()} == procedural.choose(kind, seed, index)
    assert notes == {}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_pinned(kind):
    """Means of the first picture of each species: a change that moves pixels has to raise the VERSION, then these."""
    assert procedural.VERSION == 1
    means = {}
    for index in range(200):
        species = procedural.choose(kind, 0, index)["species"]
        if species not in means:
            means[species] = round(float(procedural.draw(kind, 0, index, 16).mean()), 2)
    assert [means[species] for species in range(8)] == PINNED[kind]


PINNED = {
    "flowers": [143.04, 67.53, 100.26, 91.53, 117.86, 84.3, 113.62, 112.94],
    "birds": [174.89, 177.96, 160.92, 181.82, 181.05, 193.98, 178.98, 192.45],
}


@pytest.mark.parametrize("kind", KINDS)
def test_species_are_long_tailed(kind):
    shares = procedural.species_shares(kind)
    assert np.allclose(shares * np.arange(1, 9), shares[0]) and np.isclose(shares.sum(), 1)
    rows = [procedural.choose(kind, 0, index) for index in range(4096)]
    counts = np.bincount([row["species"] for row in rows], minlength=8)
    error = np.sqrt(4096 * shares * (1 - shares))
    assert np.all(np.abs(counts - 4096 * shares) < 4 * error), counts
    assert counts.min() > 100, "the rarest species must still be there to be lost"
    for attribute, names in procedural.label_names(kind).items():
        seen = {row[attribute] for row in rows}
        assert seen == set(range(len(names))), f"{attribute}: some value never occurs"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shown_does_not_depend_on_the_resolution(kind):
    for index in range(8):
        small, large = (procedural.draw(kind, 0, index, size).astype(float) for size in (16, 64))
        averaged = large.reshape(3, 16, 4, 16, 4).mean(axis=(2, 4))
        assert np.abs(small - averaged).mean() < 4


@pytest.mark.parametrize("kind", KINDS)
def test_species_look_different_from_each_other(kind):
    """A nearest class mean, learned on one part, tells the species of the other apart: what is labelled is shown."""
    rows = np.arange(600)
    source = procedural.open_source(ProceduralConfig(kind=kind, num_train=400, num_heldout=200))
    images = source.read(rows)[0].reshape(600, -1).astype(float)
    # colour, pose and species together make a look; the look is what the class mean can hold
    look = np.asarray(
        [f"{s}/{c}/{p}" for s, c, p in zip(*(source.labels[k] for k in ("species", "colour", "pose")), strict=True)]
    )
    species = source.labels["species"]
    centres = {name: images[:400][look[:400] == name].mean(0) for name in np.unique(look[:400])}
    table = np.stack(list(centres.values()))
    owner = np.asarray([species[:400][look[:400] == name][0] for name in centres])
    distance = ((images[400:, None] - table[None]) ** 2).sum(-1)
    assert (owner[distance.argmin(1)] == species[400:]).mean() > 0.7  # always guessing the commonest: 0.37


def test_parts_are_ranges_so_that_more_training_images_leave_the_held_out_ones_alone():
    small = load_real(ProceduralConfig(num_train=8, num_heldout=4))
    large = load_real(ProceduralConfig(num_train=12, num_heldout=4, num_reserve=5))
    assert np.array_equal(small.heldout.images, large.heldout.images)
    assert np.array_equal(small.train.images, large.train.images[:8])
    assert small.reserve is None and large.reserve is not None and len(large.reserve) == 5
    ids = np.concatenate([part.records.source_id for part in (large.train, large.heldout, large.reserve)])
    assert len(set(ids)) == 21
    assert large.train.records.source_id[0] == "flowers-00000004"


def test_another_split_seed_draws_other_pictures():
    first, second = (load_real(ProceduralConfig(num_train=4, num_heldout=2, split_seed=s)) for s in (0, 1))
    assert not np.array_equal(first.train.images, second.train.images)


def test_labels_are_named():
    pool = load_real(ProceduralConfig(kind="birds", num_train=16, num_heldout=2)).train
    assert set(pool.records.labels) == {"species", "colour", "pose"}
    assert pool.label_names["species"][0] == "robin" and len(pool.label_names["species"]) == 8
    for name, column in pool.records.labels.items():
        assert column.min() >= 0 and column.max() < len(pool.label_names[name])


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"kind": "fish"}, "data.kind"),
        ({"num_train": None}, "data.num_train"),
        ({"num_reserve": -1}, "data.num_reserve"),
    ],
)
def test_values_out_of_range_name_their_key(values, key):
    with pytest.raises(ConfigError, match=key):
        ProceduralConfig(**values)
