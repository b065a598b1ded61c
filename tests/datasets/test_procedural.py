import numpy as np
import pytest
from configs import ProceduralConfig, checked
from hypothesis import given, settings
from hypothesis import strategies as st

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
def test_calibration_drawings_show_every_pair_and_are_no_data(kind):
    config = ProceduralConfig(kind=kind, num_train=40, num_heldout=20, num_calibration=1024)
    drawn, names = procedural.calibration(config), procedural.label_names(kind)
    shape = len(names["species"]), len(names["colour"])
    counts = np.zeros(shape, int)
    np.add.at(counts, (drawn.labels["species"], drawn.labels["colour"]), 1)
    assert counts.sum() == 1024 and counts.min() >= 3 and counts.max() < 3 * 1024 / counts.size
    images, notes = drawn.read(np.arange(12))
    other = procedural.calibration(ProceduralConfig(kind=kind, split_seed=1, num_calibration=20))
    assert np.array_equal(images, other.read(np.arange(12))[0]) and notes == {}  # the same for every split
    source = procedural.open_source(config)
    data = {image.tobytes() for image in source.read(np.arange(60))[0]}
    assert not data & {image.tobytes() for image in images} and not set(drawn.source_ids) & set(source.source_ids)
    assert procedural.calibration(ProceduralConfig(num_calibration=0)) is None


def sums(kind, species, resolution):
    """Return sums over the first picture in each pose: red, green, blue, the left half, the upper half."""
    missing, index, total = set(procedural.label_names(kind)["pose"]), 0, np.zeros(5, np.int64)
    while missing:
        row = procedural.choose(kind, 0, index)
        pose = procedural.label_names(kind)["pose"][row["pose"]]
        if row["species"] == species and pose in missing:
            missing.discard(pose)
            image = procedural.draw(kind, 0, index, resolution).astype(np.int64)
            halves = image[:, :, : resolution // 2].sum(), image[:, : resolution // 2].sum()
            total += [*image.sum(axis=(1, 2)), *halves]
        index += 1
    return total


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_pinned(kind):
    """Check pinned sums. A change that moves pixels must raise `VERSION`, then these numbers. Another platform may
    round a few pixels differently."""
    assert procedural.VERSION == 1
    for species, expected in enumerate(PINNED[kind]):
        assert np.abs(sums(kind, species, 16) - expected).max() <= 8, procedural.label_names(kind)["species"][species]
    for resolution, expected in PINNED_OTHERS[kind].items():
        assert abs(procedural.draw(kind, 3, 5, resolution).astype(np.int64).sum() - expected) <= 8, resolution


PINNED = {
    "flowers": [
        (80279, 113476, 85777, 141476, 161547),
        (65914, 73761, 37881, 86732, 100423),
        (68681, 74220, 69940, 102748, 111760),
        (47833, 76317, 69307, 94470, 104468),
        (77085, 98488, 52728, 112828, 125213),
        (72452, 85940, 94433, 129450, 143141),
        (74562, 99808, 82417, 123055, 143241),
        (49993, 79148, 85728, 105285, 116841),
    ],
    "birds": [
        (194265, 185412, 175255, 278110, 276801),
        (155116, 192016, 213517, 280547, 275651),
        (167514, 189325, 177351, 266845, 262263),
        (185611, 187839, 175845, 273673, 269859),
        (194464, 179735, 170414, 274011, 272086),
        (194597, 202776, 205555, 302296, 286329),
        (174209, 185561, 168599, 264000, 252637),
        (192871, 189647, 167968, 275758, 276657),
    ],
}
PINNED_OTHERS = {
    "flowers": {24: 187541, 32: 333316, 48: 750126},
    "birds": {24: 305708, 32: 543404, 48: 1222839},
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
    room = procedural.KINDS[kind]
    names = procedural.label_names(kind)
    ranks = [
        list(room.SPECIES.values())[row["species"]].index(names["colour"][row["colour"]])  # common to rare
        for row in rows
    ]
    poses = {"flowers": (0.55, 0.3, 0.15), "birds": (0.4, 0.3, 0.2, 0.1)}[kind]
    for observed, expected in ((ranks, (0.6, 0.3, 0.1)), ([row["pose"] for row in rows], poses)):
        shares = np.asarray(expected)
        error = np.sqrt(shares * (1 - shares) / 4096)
        assert np.all(np.abs(np.bincount(observed) / 4096 - shares) < 4 * error)
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
    """Check that a nearest class mean, learned on one part, recognises the species of the other: labels match what is
    shown."""
    rows = np.arange(600)
    source = procedural.open_source(ProceduralConfig(kind=kind, num_train=400, num_heldout=200))
    images = source.read(rows)[0].reshape(600, -1).astype(float)
    # The class mean can represent a combination of colour, pose and species.
    look = np.asarray(
        [f"{s}/{c}/{p}" for s, c, p in zip(*(source.labels[k] for k in ("species", "colour", "pose")), strict=True)]
    )
    species = source.labels["species"]
    centres = {name: images[:400][look[:400] == name].mean(0) for name in np.unique(look[:400])}
    table = np.stack(list(centres.values()))
    owner = np.asarray([species[:400][look[:400] == name][0] for name in centres])
    distance = ((images[400:, None] - table[None]) ** 2).sum(-1)
    assert (owner[distance.argmin(1)] == species[400:]).mean() > 0.7  # 0.37 for always predicting the most common


def test_parts_are_ranges_so_that_more_training_images_leave_the_held_out_ones_alone():
    small = load_real(ProceduralConfig(num_train=8, num_heldout=4, num_calibration=0))
    large = load_real(ProceduralConfig(num_train=12, num_heldout=4, num_reserve=5, num_calibration=0))
    assert np.array_equal(small.heldout.items, large.heldout.items)
    assert np.array_equal(small.train.items, large.train.items[:8])
    assert small.reserve is None and large.reserve is not None and len(large.reserve) == 5
    rows = {"heldout": range(4), "train": range(4, 16), "reserve": range(16, 21)}
    for part, indices in rows.items():
        assert getattr(large, part).records.source_id.tolist() == [f"flowers-{index:08d}" for index in indices]
        poses = [procedural.choose("flowers", 0, index)["pose"] for index in indices]
        assert getattr(large, part).records.labels["pose"].tolist() == poses


def test_another_split_seed_draws_other_pictures():
    first, second = (
        load_real(ProceduralConfig(num_train=4, num_heldout=2, split_seed=s, num_calibration=0)) for s in (0, 1)
    )
    assert not np.array_equal(first.train.items, second.train.items)


def test_labels_are_named():
    pool = load_real(ProceduralConfig(kind="birds", num_train=16, num_heldout=2, num_calibration=0)).train
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
        checked(ProceduralConfig(**values), "data")
