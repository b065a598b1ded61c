"""Stages: every input that can change a result is in its key, and each stage hands on what it was given."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import echo
import numpy as np
import pytest
import scoring
import torch
from configs import CustomGeneratorConfig, ProceduralConfig
from echo import Echo, N, small

from bench import datasets, generators, stages
from bench.composition import Composition, Part, PoolRef
from bench.config import Config, MetricsConfig, to_dict
from bench.datasets import RealData, procedural
from bench.datasets.shared import resize
from bench.errors import ConfigError
from bench.flatten import flatten
from bench.generators import ddpm
from bench.machine.console import Console
from bench.machine.device import Runtime
from bench.metrics import frechet
from bench.metrics.shared import reference
from bench.pool import REAL, Pool, Records
from bench.seeds import derive_seed
from bench.stages import StageContext
from bench.store import Result, Store
from bench.store.specs import spec_hash

FP32 = Runtime(torch.device("cpu"), None, compile=False)
BF16 = replace(FP32, autocast=torch.bfloat16)


def random_pool(num: int, seed: int, generation: int = REAL) -> Pool:
    images = np.random.default_rng(seed).integers(0, 256, (num, 3, echo.SIDE, echo.SIDE), dtype=np.uint8)
    if generation != REAL:
        return Pool(images, Records.synthetic(generation, np.arange(num)))
    colours = {"colour": np.arange(num) % 2}
    return Pool(images, Records.real([f"{seed}-{i}" for i in range(num)], colours), {"colour": ["red", "blue"]})


def rows_of(pool: Pool, rows: Any, generation: int) -> Part:
    return Part(PoolRef.of(pool, generation), np.asarray(rows))


# ------------------------------------------------------------------------------------------------------------- keys


class Keys(Store):
    """Makes nothing: keeps the key under which each stage looks, and has one folder for all results."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: dict[str, set[str]] = {}
        random_pool(4, 0).save(folder / "train")
        random_pool(4, 1).save(folder / "heldout")
        for name in ("features", "mean", "moment", "own_distances"):
            np.save(folder / f"{name}.npy", np.zeros((1, 1)))

    def make(self, stage: str, spec: dict[str, Any], produce: Any) -> Result:
        key = f"{stage}/{spec_hash(stage, spec)}"
        self.asked.setdefault(stage, set()).add(key)
        return Result(key, self.root, {}, reused=True)


COMPARISONS = ("frechet", "kernel", "manifold")
MODEL = Result("train/of-this-generation", Path(), {}, True)
REAL_IMAGES = RealData(random_pool(20, 2), random_pool(24, 3), None)
OTHER = random_pool(20, 4)


EVERY_REAL_IMAGE = Composition((rows_of(REAL_IMAGES.train, range(20), REAL),))


@dataclass(frozen=True)
class Inputs:
    """What the stages of one generation are handed."""

    config: Config
    runtime: Runtime = FP32
    generation: int = 1
    composition: Composition = EVERY_REAL_IMAGE
    previous: str = "train/of-the-generation-before"
    model: str = "train/of-this-generation"
    num_samples: int = 20
    samples: Pool = OTHER
    real: RealData = REAL_IMAGES

    def keys(self, folder: Path) -> dict[str, set[str]]:
        store = Keys(folder)
        context = StageContext(store, self.runtime, Console(quiet=True))
        previous, model = (Result(key, folder, {}, True) for key in (self.previous, self.model))
        metrics = self.config.metrics
        stages.real_data(context, self.config.data)
        stages.train(context, self.config, self.generation, self.composition, {}, previous)
        stages.sample(context, self.config, self.generation, model, self.num_samples)
        stages.extract_features(context, metrics, self.samples, "samples")
        stages.score(context, self.config, self.samples, self.real, self.composition, {}, model)
        stages.reference_statistics(context, metrics, self.real.heldout)
        stages.floor(context, metrics, self.real)
        return store.asked

    def changed(self, other: "Inputs", folder: Path) -> set[str]:
        """The stages that look elsewhere for the results of `other`."""
        before, after = self.keys(folder), other.keys(folder)
        return {stage for stage in before | after if before[stage] != after[stage]}


def with_leaf(node: Any, path: list[str], value: Any) -> Any:
    """A dataclass with one value, some levels down, replaced; checked as every configuration is."""
    first, *rest = path
    return replace(node, **{first: with_leaf(getattr(node, first), rest, value) if rest else value})


NEW_VALUES = {
    "data.kind": "birds",
    "data.num_train": 21,
    "generator.unet.channels": [8, 8],
    "generator.unet.attention": [True, False],
    "generator.unet.dropout": 0.1,
    "generator.noise.beta_schedule": "squaredcos_cap_v2",
    "generator.noise.prediction": "v_prediction",
    "generator.noise.min_snr_gamma": 5.0,
    "generator.training.num_epochs": 7.0,
    "generator.training.decay": "cosine",
    "generator.training.ema_decay": 0.5,
    "generator.training.weight_decay": 0.1,
    "generator.sampling.sampler": "ddpm",
    "generator.sampling.spacing": "quadratic",
    "generator.sampling.eta": 0.5,
    "generator.sampling.temperature": 0.9,
    "metrics.feature_space": "efficientnet_lite0",
    "metrics.num_images": N - 1,
    "metrics.k": 2,
    "metrics.scores": ["frechet"],
    "metrics.references": ["heldout", "training"],
    "metrics.num_resamples": 2,
    "runtime.cuda_graphs": True,
    "metrics.options": {"kernel": {"subset_size": 7}},
    "metrics.weights": __file__,  # known by what is in it
    "metrics.extra_spaces": ["pixels"],
    "metrics.extra_weights": {"efficientnet_lite0": __file__},
    "mixing.synthetic_ratio": 0.9,
    "mixing.real_part": "fixed",
    "join.chain": "outputs/first",
    "join.ratio": 0.5,
    "num_samples": 30,
    "retrain_epochs": 9.0,
    "retrain_steps": 9,
    "tracking.tracker": "wandb",
    "tracking.entity": "someone",
    "runtime.device": "auto",
    "runtime.precision": "bf16",
    "runtime.compile": True,
}
"""Where one more, or twice as much, is not another valid value."""

SCORED = {"score", "floor", "reference"}
CHANGES: dict[str, set[str]] = {
    "seed": {"train", "sample"},
    "num_probes": {"sample"},
    "warm_start": {"train"},
    "retrain_epochs": {"train"},
    "retrain_steps": {"train"},
    "data": {"real"},
    "generator.unet": {"train"},
    "generator.noise": {"train"},
    "generator.training": {"train"},
    "generator.training.checkpoint_every": set(),
    "generator.sampling": {"sample"},
    "generator.sampling.batch_size": set(),
    "metrics": {"score", "floor"},
    "metrics.feature_space": {*SCORED, "features"},
    "metrics.options": set(),  # of a family that is not computed here
    "metrics.weights": {*SCORED, "features"},
    "metrics.extra_spaces": {"score"},
    "metrics.extra_weights": {"score"},
    "metrics.num_images": SCORED,
    "metrics.k": SCORED,
    "": set(),  # where and how far a chain runs, and its policy, which speaks through the composition
}
"""Key or group of the configuration -> the stages whose results it may change; the longest one counts."""

PLAIN = sorted(
    key
    for key in flatten(to_dict(small(Path("unused"))))
    if not key.startswith("protocol.") and key.rpartition(".")[2] not in ("name", "policy", "store_dir")
)


@pytest.mark.parametrize("key", PLAIN)
def test_each_option_is_in_the_keys_of_exactly_the_stages_that_it_changes(key, tmp_path):
    config = small(tmp_path)
    if key == "generator.sampling.eta":
        config = with_leaf(config, ["generator", "sampling", "sampler"], "ddim")
    if key == "metrics.extra_weights":
        config = with_leaf(config, ["metrics", "extra_spaces"], ["efficientnet_lite0"])
    old = flatten(to_dict(config))[key]
    value = NEW_VALUES[key] if key in NEW_VALUES else not old if isinstance(old, bool) else (old + old) or 1
    group = max((group for group in CHANGES if f"{key}.".startswith(f"{group}." if group else "")), key=len)
    other = with_leaf(config, key.split("."), value)
    assert Inputs(config).changed(Inputs(other), tmp_path) == CHANGES[group]


@pytest.mark.parametrize(
    ("change", "stages_changed"),
    [
        ({"generation": 2}, {"train", "sample"}),
        ({"composition": Composition((rows_of(REAL_IMAGES.train, range(19), REAL),))}, {"train", "score"}),
        ({"composition": Composition((rows_of(OTHER, range(20), REAL),))}, {"train", "score"}),
        ({"model": "train/another"}, {"sample"}),
        ({"num_samples": 21}, {"sample"}),
        ({"runtime": BF16}, {"train", "sample"}),
        ({"runtime": replace(FP32, compile=True)}, {"train", "sample"}),
        ({"runtime": replace(FP32, device=torch.device("cuda"))}, {*SCORED, "train", "sample", "features"}),
        ({"runtime": replace(FP32, deterministic=True)}, set()),  # on the CPU nothing varies
        ({"previous": "train/another"}, set()),  # it trains from scratch
        ({"samples": random_pool(20, 9)}, {"features", "score"}),
        ({"real": replace(REAL_IMAGES, train=OTHER)}, {"score", "floor"}),
        ({"real": replace(REAL_IMAGES, heldout=OTHER)}, {"score", "floor", "reference"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_each_input_is_in_the_keys_of_exactly_the_stages_that_it_changes(change, stages_changed, tmp_path):
    base = Inputs(small(tmp_path))
    assert base.changed(replace(base, **change), tmp_path) == stages_changed


@pytest.mark.parametrize(("scores", "stages_changed"), [(["tails"], {"score", "floor"}), (["kernel"], set())])
def test_calibration_items_are_in_the_keys_only_where_labels_are_scored(scores, stages_changed, tmp_path):
    config = small(tmp_path)
    base = Inputs(with_leaf(config, ["metrics", "scores"], scores))
    calibrated = replace(base, real=replace(REAL_IMAGES, calibration=OTHER))
    assert base.changed(calibrated, tmp_path) == stages_changed
    other = replace(base, real=replace(REAL_IMAGES, calibration=random_pool(20, 5)))
    assert calibrated.changed(other, tmp_path) == stages_changed


def test_a_deterministic_training_on_cuda_is_not_one_with_the_fastest_kernels(tmp_path):
    base = replace(Inputs(small(tmp_path)), runtime=replace(FP32, device=torch.device("cuda")))
    other = replace(base, runtime=replace(base.runtime, deterministic=True))
    assert base.changed(other, tmp_path) == {"train", "sample"}


def test_a_warm_start_is_known_by_the_model_that_it_starts_from(tmp_path):
    base = Inputs(small(tmp_path, warm_start=True))
    assert base.changed(replace(base, previous="train/another"), tmp_path) == {"train"}


@pytest.mark.parametrize(
    ("module", "name", "stages_changed"),
    [
        (stages, "REAL_VERSION", {"real"}),
        (stages, "SAMPLE_VERSION", {"sample"}),
        (stages, "SCORE_VERSION", {"score", "floor"}),
        (frechet, "VERSION", {"score", "floor"}),
        (reference, "VERSION", {"reference"}),
        (ddpm, "train", {"train"}),
        (ddpm, "sample", {"sample"}),
        (procedural, "VERSION", {"real"}),
        (resize, "VERSION", {"real"}),
        (echo, "VERSION", {"features", "score", "floor", "reference"}),
    ],
)
def test_newer_code_never_meets_older_results(module, name, stages_changed, tmp_path, monkeypatch):
    base = Inputs(small(tmp_path))
    before = base.keys(tmp_path)
    if module is ddpm:
        monkeypatch.setitem(ddpm.VERSION, name, ddpm.VERSION[name] + 1)
    else:
        monkeypatch.setattr(module, name, getattr(module, name) + 1)
    after = base.keys(tmp_path)
    assert {stage for stage in before if before[stage] != after[stage]} == stages_changed


def test_training_is_known_by_its_steps_however_they_are_counted(tmp_path):
    config = small(tmp_path)
    epochs = with_leaf(config, ["generator", "training", "num_epochs"], 1.5)  # 30 images in batches of 8: 4 steps
    assert Inputs(config).changed(Inputs(epochs), tmp_path) == set()


# ----------------------------------------------------------------------------------------------------- real, train


@pytest.fixture
def context(tmp_path) -> StageContext:
    return StageContext(Store(tmp_path / "store"), FP32, Console(quiet=True))


def test_real_images_come_back_from_the_store_as_they_were_loaded(context):
    config = ProceduralConfig(resolution=8, num_train=5, num_heldout=3, num_reserve=2, num_calibration=4)
    loaded = datasets.load_real(config)
    real, result = stages.real_data(context, config)
    assert real.reserve is not None and loaded.reserve is not None
    assert [real.train.id, real.heldout.id, real.reserve.id] == [
        loaded.train.id,
        loaded.heldout.id,
        loaded.reserve.id,
    ]
    np.testing.assert_array_equal(real.heldout.items, loaded.heldout.items)
    assert real.heldout.notes == loaded.heldout.notes
    sizes = {"train": 5, "heldout": 3, "reserve": 2, "calibration": 4}
    assert result.facts == {"num_items": sizes, "notes": {}, "content": "drawn", "kind": "images"}
    assert real.calibration is not None and loaded.calibration is not None
    assert real.calibration.id == loaded.calibration.id
    assert stages.real_data(context, replace(config, num_calibration=0))[0].calibration is None
    assert isinstance(real.train.items, np.memmap)
    assert stages.real_data(context, replace(config, num_reserve=0))[0].reserve is None


def test_training_gets_the_composition_and_keeps_it_beside_the_model(context, tmp_path, monkeypatch):
    stand_in, config = Echo(monkeypatch), small(tmp_path)
    real, made = REAL_IMAGES.train, random_pool(20, 7, generation=0)
    composition = Composition((rows_of(made, [3, 1], 0), rows_of(real, [19, 0, 4], REAL)))
    result = stages.train(context, config, 1, composition, {made.id: made, real.id: real, OTHER.id: OTHER}, None)
    (given,) = stand_in.fits
    np.testing.assert_array_equal(given.images, np.concatenate([real.items[[0, 4, 19]], made.items[[1, 3]]]))
    assert Composition.load(result.path).id == composition.id
    assert (given.config, given.init, given.runtime) == (config.generator, None, FP32)
    assert (result.path / "model" / "weights").is_file()
    assert not list(result.path.rglob("scratch")) and callable(given.progress)
    assert result.facts == {"num_steps": 4}


@pytest.mark.parametrize(("warm", "expected"), [(False, [None, None]), (True, [None, "first"])])
def test_only_a_warm_start_begins_from_the_previous_model(warm, expected, context, tmp_path, monkeypatch):
    stand_in, config = Echo(monkeypatch), small(tmp_path, warm_start=warm)
    pools = {REAL_IMAGES.train.id: REAL_IMAGES.train}
    first = stages.train(context, config, 0, EVERY_REAL_IMAGE, pools, None)
    stages.train(context, config, 1, EVERY_REAL_IMAGE, pools, first)
    names = {None: None, first.path / "model": "first"}
    assert [names[given.init] for given in stand_in.fits] == expected


@pytest.mark.parametrize(
    ("generation", "num_images", "num_epochs", "retrain_epochs", "num_steps"),
    [
        (0, 20, None, None, 4),  # as the configuration says
        (0, 20, 2.0, None, 5),
        (1, 20, 2.0, None, 5),
        (1, 17, 1.0, None, 3),  # a part of a batch is a step
        (1, 16, 1.0, None, 2),
        (1, 20, None, 3.0, 8),
        (1, 20, 2.0, 0.5, 2),
        (0, 20, None, 3.0, 4),  # the first generation does not re-train
        (0, 20, 2.0, 3.0, 5),
    ],
)
def test_epochs_are_counted_out_in_steps(
    generation, num_images, num_epochs, retrain_epochs, num_steps, context, tmp_path, monkeypatch
):
    stand_in = Echo(monkeypatch)
    config = with_leaf(
        small(tmp_path, retrain_epochs=retrain_epochs), ["generator", "training", "num_epochs"], num_epochs
    )
    composition = Composition((rows_of(REAL_IMAGES.train, range(num_images), REAL),))
    stages.train(context, config, generation, composition, {REAL_IMAGES.train.id: REAL_IMAGES.train}, None)
    (given,) = stand_in.fits
    assert (given.config.training.num_steps, given.config.training.num_epochs) == (num_steps, None)
    assert math.isclose(given.config.training.learning_rate, config.generator.training.learning_rate)


def test_epochs_and_steps_of_later_generations_exclude_each_other(tmp_path):
    with pytest.raises(ConfigError, match=r"retrain_steps=3: retrain_epochs is 2: one of the two must be null"):
        small(tmp_path, retrain_steps=3, retrain_epochs=2.0)


@pytest.mark.parametrize(("generation", "num_steps"), [(0, 4), (1, 3), (2, 3)])
@pytest.mark.parametrize("num_images", [3, 20])
def test_steps_of_later_generations_are_as_many_whatever_they_train_on(
    generation, num_steps, num_images, context, tmp_path, monkeypatch
):
    stand_in, config = Echo(monkeypatch), small(tmp_path, retrain_steps=3)
    composition = Composition((rows_of(REAL_IMAGES.train, range(num_images), REAL),))
    stages.train(context, config, generation, composition, {REAL_IMAGES.train.id: REAL_IMAGES.train}, None)
    assert stand_in.fits[0].config.training.num_steps == num_steps


def test_a_generator_without_steps_is_left_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "closed_form.py").write_text(
        "from bench.config import GeneratorConfig as Config\nVERSION = 1\nfit = sample = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = CustomGeneratorConfig(module="closed_form")
    assert generators.with_num_steps(config, 10) is config
    with pytest.raises(ConfigError, match=r"retrain_epochs=2\.0: generator closed_form does not train in epochs"):
        generators.with_num_steps(config, 10, 2.0)
    with pytest.raises(ConfigError, match=r"retrain_steps=2: generator closed_form does not train in steps"):
        generators.with_exact_steps(config, 2)


def test_epochs_of_a_generator_of_ones_own_are_counted_out_too(tmp_path, monkeypatch):
    (tmp_path / "in_steps.py").write_text(
        "from dataclasses import dataclass\n"
        "from bench.config import GeneratorConfig\n"
        "from bench.generators.shared.schedule import TrainingConfig\n"
        "from bench.options import option\n"
        "VERSION = 1\n"
        "fit = sample = None\n"
        "@dataclass\n"
        "class Config(GeneratorConfig):\n"
        "    training: TrainingConfig = option(TrainingConfig)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = CustomGeneratorConfig(module="in_steps", parameters={"training": {"batch_size": 8, "num_epochs": 2.0}})
    counted = generators.with_num_steps(config, 30)
    assert counted.parameters["training"] == {"batch_size": 8, "num_steps": 8, "num_epochs": None}
    assert generators.with_num_steps(config, 30, 4.0).parameters["training"]["num_steps"] == 15
    with pytest.raises(ConfigError, match=r"generator\.parameters\.training\.batch_size=0"):
        generators.with_num_steps(
            CustomGeneratorConfig(module="in_steps", parameters={"training": {"batch_size": 0}}), 3
        )


# ---------------------------------------------------------------------------------------------------------- sample


@pytest.fixture
def sampled(context, tmp_path, monkeypatch):
    """Two generations of one chain, the first of another, and what the generator was asked."""
    stand_in, config = Echo(monkeypatch), small(tmp_path)
    pools = {REAL_IMAGES.train.id: REAL_IMAGES.train}
    model = stages.train(context, config, 0, EVERY_REAL_IMAGE, pools, None)
    other = replace(config, seed=6)
    results = [stages.sample(context, c, g, model, 7) for c, g in ((config, 0), (config, 1), (other, 0))]
    return stand_in, config, model, results


def test_each_picture_is_what_its_record_says(sampled):
    _, _, model, results = sampled
    for generation, result in zip((0, 1, 0), results, strict=True):
        pool = Pool.load(result.path / "pool")
        assert len(pool) == 7
        assert set(pool.records.generation.tolist()) == {generation}
        for image, seed in zip(pool.items, pool.records.seed, strict=True):
            np.testing.assert_array_equal(image, echo.picture(model.path / "model", seed))


def test_no_noise_is_used_twice_and_only_the_probes_stay(sampled):
    stand_in, config, model, results = sampled
    pools = [Pool.load(result.path / "pool") for result in results]
    asked = [given.seeds.tolist() for given in stand_in.samplings]
    own = [pool.records.seed.tolist() for pool in pools]
    probes = [[seed for seed in seeds if seed not in mine] for seeds, mine in zip(asked, own, strict=True)]
    assert probes[0] == probes[1] and len(set(probes[0])) == config.num_probes
    assert not set(probes[0]) & set(probes[2])  # another chain has its own
    assert len({seed for mine in own for seed in mine} | {*probes[0], *probes[2]}) == 3 * 7 + 2 * 3
    for result, seeds in zip(results, probes, strict=True):
        shown = np.load(result.path / "probes.npy", allow_pickle=False)
        np.testing.assert_array_equal(shown, [echo.picture(model.path / "model", seed) for seed in seeds])


def test_the_seeds_of_samples_follow_from_the_documented_words(sampled):
    """Run seed, generation, stage, index: changing them changes every sample of every chain."""
    stand_in, *_, results = sampled
    for seed, generation, result, given in zip((5, 5, 6), (0, 1, 0), results, stand_in.samplings, strict=True):
        expected = [derive_seed(seed, generation, "sample", i) for i in range(7)]
        assert Pool.load(result.path / "pool").records.seed.tolist() == expected
        assert given.seeds.tolist() == expected + [derive_seed(seed, 0, "probe", i) for i in range(3)]
    assert stand_in.fits[0].seed == derive_seed(5, 0, "train")


def test_sampling_is_told_its_model_and_settings(sampled):
    stand_in, config, model, results = sampled
    for given in stand_in.samplings:
        assert (given.model, given.config, given.runtime) == (model.path / "model", config.generator, FP32)
        assert callable(given.progress)
    assert not [path for result in results for path in result.path.rglob("scratch")]
    assert results[0].facts["num_images"] == 7  # without the probes
    assert results[0].facts["network_evaluations"] == 2


# ----------------------------------------------------------------------------------------------------------- scores


METRICS = MetricsConfig(
    feature_space="echo:pixels",
    num_images=N,
    scores=["frechet", "manifold", "diversity", "copying", "tails"],
    references=["heldout", "real_train", "training"],
)
CHAIN = small(Path(), metrics=METRICS)


@pytest.fixture
def scored(context):
    """Nine real images and seven samples of the generation before were trained on; there are more of each kind of
    image than are scored."""
    samples, before = random_pool(22, 11, generation=1), random_pool(20, 12, generation=0)
    parts = rows_of(REAL_IMAGES.train, range(3, 12), REAL), rows_of(before, range(13, 20), 0)
    composition = Composition(parts)
    pools = {REAL_IMAGES.train.id: REAL_IMAGES.train, before.id: before}
    result = stages.score(context, CHAIN, samples, REAL_IMAGES, composition, pools, MODEL)
    training = np.concatenate([REAL_IMAGES.train.items[3:12], before.items[13:20]])
    return stages.read_scores(result), samples, training


def values(rows: list[dict[str, Any]], subject: str, reference: str) -> dict[str, float]:
    chosen = [row for row in rows if (row["subject"], row["reference"]) == (subject, reference)]
    return {f"{row['metric']} {row['parameters'].get('attribute', '')}": row["value"] for row in chosen}


def by_hand(subject: np.ndarray, reference: np.ndarray, families: Any = None, **given: Any) -> dict[str, float]:
    rows = scoring.score(echo.features(subject), echo.features(reference), METRICS, families=families, **given)
    return values(rows, "samples", "heldout")


def attributes() -> dict[str, scoring.Attribute]:
    train, heldout = REAL_IMAGES.train, REAL_IMAGES.heldout
    return scoring.fit_attributes(
        echo.features(train.items),
        train.records.labels,
        echo.features(heldout.items),
        heldout.records.labels,
        train.label_names,
    )


def sides_of(composition: Composition, *pools: Pool) -> tuple[list[bytes], list[bytes]]:
    """Return the images of both sides of the unseen twin."""
    twin, reason = stages.matched_twin(CHAIN, composition, REAL_IMAGES)
    assert twin is not None and not reason
    by_id = {pool.id: pool for pool in (REAL_IMAGES.train, REAL_IMAGES.heldout, *pools)}
    sides = (side.items(by_id)[np.arange(len(side))] for side in (twin.trained_on, twin.unseen))
    first, second = ([image.tobytes() for image in images] for images in sides)
    return first, second


def test_the_twin_is_disjoint_from_what_was_trained_on_and_has_its_proportions():
    train, heldout = ([image.tobytes() for image in pool.items] for pool in (REAL_IMAGES.train, REAL_IMAGES.heldout))
    early, late = random_pool(60, 12, generation=0), random_pool(30, 13, generation=1)
    drawn = [image.tobytes() for image in early.items], [image.tobytes() for image in late.items]
    rows = [4, 4, *range(5, 9)], range(10, 40), range(3, 21)  # five different ones
    parts = zip((REAL_IMAGES.train, early, late), rows, (REAL, 0, 1), strict=True)
    composition = Composition(tuple(rows_of(*part) for part in parts))
    first, second = sides_of(composition, early, late)
    # Of the later generation 12 are left for 18 that were used: two thirds of every pool.
    used = set(train[4:9]), set(drawn[0][10:40]), set(drawn[1][3:21])
    left = set(heldout), {*drawn[0][:10], *drawn[0][40:]}, {*drawn[1][:3], *drawn[1][21:]}
    for side, sources in ((first, used), (second, left)):
        assert len(side) == len(set(side)) == 3 + 20 + 12
        assert [len(source.intersection(side)) for source in sources] == [3, 20, 12]


def test_where_enough_is_unseen_the_twin_is_of_all_that_was_trained_on():
    before = random_pool(40, 12, generation=0)
    composition = Composition((rows_of(REAL_IMAGES.train, range(20), REAL), rows_of(before, range(20), 0)))
    first, second = sides_of(composition, before)
    assert sorted(first) == sorted(image.tobytes() for image in (*REAL_IMAGES.train.items, *before.items[:20]))
    assert len(second) == 40 and not set(second) & set(first)
    reserve = replace(REAL_IMAGES, reserve=random_pool(9, 14))
    both = Composition((rows_of(REAL_IMAGES.train, range(16), REAL), rows_of(reserve.reserve, range(9), REAL)))
    twin, _ = stages.matched_twin(CHAIN, both, reserve)
    assert twin is not None and len(twin) == len(twin.trained_on) == 24  # one held-out image is too few
    assert [part.pool.id for part in twin.unseen.parts] == [REAL_IMAGES.heldout.id]


@pytest.mark.parametrize("why", ["used up", "vetted"])
def test_without_a_twin_the_reason_is_logged_and_its_scores_are_left_out(why, context, caplog, monkeypatch):
    before, config = random_pool(20, 12, generation=0), CHAIN
    if why == "vetted":
        monkeypatch.setattr(stages.vetting, "resolve", lambda config: "a rule")
    rows = range(20) if why == "used up" else range(5)
    parts = (rows_of(REAL_IMAGES.train, range(4), REAL), rows_of(before, rows, 0))
    pools = {REAL_IMAGES.train.id: REAL_IMAGES.train, before.id: before}
    result = stages.score(context, config, OTHER, REAL_IMAGES, Composition(parts), pools, MODEL)
    got = values(stages.read_scores(result), "samples", "heldout")
    assert {"authenticity ", "nn_distance_training "} <= got.keys()
    assert not {"closer_to_training ", "near_copy_rate "} & got.keys()
    said = {"used up": "of the samples of generation 0, 0 were not trained on and 20 are", "vetted": "a vetting rule"}
    assert f"there is no twin: {said[why]}" in caplog.text


def test_scores_with_and_without_a_twin_are_different_results(tmp_path, monkeypatch):
    base = Inputs(CHAIN)
    before = base.keys(tmp_path)
    monkeypatch.setattr(stages.vetting, "resolve", lambda config: "a rule")
    after = base.keys(tmp_path)
    assert {stage for stage in before if before[stage] != after[stage]} == {"score"}


def test_samples_are_scored_against_the_held_out_images_and_all_that_was_trained_on(scored):
    rows, samples, training = scored
    before = random_pool(20, 12, generation=0)
    composition = Composition((rows_of(REAL_IMAGES.train, range(3, 12), REAL), rows_of(before, range(13, 20), 0)))
    sides = sides_of(composition, before)
    assert len(sides[0]) == len(sides[1]) == 9 + 7
    shape = samples.items.shape[1:]
    twin = tuple(echo.features(np.stack([np.frombuffer(i, np.uint8).reshape(shape) for i in side])) for side in sides)
    expected = by_hand(
        samples.items[:N],
        REAL_IMAGES.heldout.items[:N],
        training=echo.features(training),
        twin=twin,
        attributes=attributes(),
    )
    assert {"fid ", "authenticity ", "closer_to_training ", "class_divergence colour"} <= expected.keys()
    assert values(rows, "samples", "heldout") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reference", ["real_train", "training"])
def test_the_other_references_are_what_they_are_called(scored, reference):
    rows, samples, training = scored
    images = {"real_train": REAL_IMAGES.train.items[:N], "training": training}[reference]
    expected = by_hand(samples.items[:N], images, COMPARISONS)
    assert values(rows, "samples", reference) == pytest.approx(expected, rel=1e-6)


def test_the_floor_is_real_training_images_in_place_of_the_samples(scored):
    rows, _, _ = scored
    expected = by_hand(REAL_IMAGES.train.items[:N], REAL_IMAGES.heldout.items[:N], attributes=attributes())
    assert "class_divergence colour" in expected
    assert values(rows, "real_train", "heldout") == pytest.approx(expected, rel=1e-6)


def test_classifiers_are_fitted_once_for_the_same_real_items(context):
    train, heldout = (echo.features(pool.items) for pool in (REAL_IMAGES.train, REAL_IMAGES.heldout))
    first = stages.real_attributes(context, METRICS, REAL_IMAGES, train, heldout)
    assert stages.real_attributes(context, METRICS, REAL_IMAGES, train, heldout) is first
    turned = replace(REAL_IMAGES, train=REAL_IMAGES.heldout, heldout=REAL_IMAGES.train)
    assert stages.real_attributes(context, METRICS, turned, heldout, train) is not first


def test_of_several_processes_only_the_one_that_scores_fits_classifiers(context, monkeypatch):
    def never(*arguments: object) -> None:
        raise AssertionError("this process does not score")

    monkeypatch.setattr(stages, "fit_attributes", never)
    monkeypatch.setattr(stages, "fit_judge", never)
    monkeypatch.setattr(stages.distributed, "is_first", lambda: False)
    train, heldout = (echo.features(pool.items) for pool in (REAL_IMAGES.train, REAL_IMAGES.heldout))
    assert stages.real_attributes(context, METRICS, REAL_IMAGES, train, heldout) == {}
    judged = replace(
        REAL_IMAGES, calibration=REAL_IMAGES.train, possible={("species", "colour"): np.ones((2, 2), bool)}
    )
    assert stages.pair_judges(context, METRICS, judged, heldout) == {}


def test_the_other_control_is_samples_and_held_out_images_thrown_together(scored):
    rows, samples, _ = scored
    a, b = scoring.shuffled(echo.features(samples.items[:N]), echo.features(REAL_IMAGES.heldout.items[:N]))
    expected = values(scoring.score(a, b, METRICS, families=COMPARISONS), "samples", "heldout")
    assert values(rows, "shuffled", "heldout") == pytest.approx(expected, rel=1e-6)


def test_each_row_occurs_once(scored):
    rows, *_ = scored
    names = [(r["subject"], r["reference"], r["metric"], r["parameters"].get("attribute")) for r in rows]
    assert len(set(names)) == len(names)
    assert {(r["num_subject"], r["num_reference"]) for r in rows} == {(N, N)}


@pytest.mark.parametrize(
    ("copied", "reference"),
    [(REAL_IMAGES.heldout, "heldout"), (REAL_IMAGES.train, "real_train"), (REAL_IMAGES.train, "training")],
)
def test_samples_that_copy_a_reference_are_at_no_distance_from_it_alone(copied, reference, context):
    samples = Pool(copied.items, Records.synthetic(0, np.arange(len(copied))))
    rest = Composition((rows_of(REAL_IMAGES.train, range(N), REAL),))
    rows = stages.score(context, CHAIN, samples, REAL_IMAGES, rest, {REAL_IMAGES.train.id: REAL_IMAGES.train}, MODEL)
    read = stages.read_scores(rows)
    fid = {name: values(read, "samples", name)["fid "] for name in METRICS.references}
    assert fid[reference] == pytest.approx(0, abs=1e-3)
    assert values(read, "samples", reference)["recall "] == 1
    assert (fid["heldout"] < 1e-3) == (reference == "heldout")
    assert values(read, "real_train", "heldout")["fid "] > 1
    assert (values(read, "samples", "heldout")["near_copy_rate "] == 1) == (reference != "heldout")
    closer = values(read, "samples", "heldout")["closer_to_training "]
    assert closer < 0.5 if reference == "heldout" else closer == 1


def test_without_tails_or_other_references_their_rows_are_left_out(context):
    config = replace(METRICS, scores=["manifold"], references=["heldout"])
    pools = {REAL_IMAGES.train.id: REAL_IMAGES.train}
    rows = stages.read_scores(
        stages.score(context, small(Path(), metrics=config), OTHER, REAL_IMAGES, EVERY_REAL_IMAGE, pools, MODEL)
    )
    assert {row["metric"] for row in rows} == {"precision", "recall", "density", "coverage"}
    assert {(row["subject"], row["reference"]) for row in rows} == {
        ("samples", "heldout"),
        ("real_train", "heldout"),
        ("shuffled", "heldout"),
    }


def test_features_are_those_of_the_pool_in_its_order_and_computed_once(context):
    first = stages.extract_features(context, METRICS, OTHER, "images")
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, echo.features(OTHER.items))
    again = stages.extract_features(context, METRICS, OTHER, "the same images")
    assert isinstance(again, np.memmap) and again.filename == first.filename
    np.testing.assert_array_equal(
        stages.extract_features(context, METRICS, REAL_IMAGES.train, "others"), echo.features(REAL_IMAGES.train.items)
    )


def test_features_are_those_of_the_weights_that_are_named(context):
    stages.extract_features(context, replace(METRICS, weights=__file__), random_pool(3, 21), "images")
    assert echo.WEIGHTS_GIVEN[-1] == __file__


def test_the_floor_of_fewer_real_images_has_as_many_on_both_sides(context):
    few = replace(REAL_IMAGES, train=REAL_IMAGES.train.take(slice(0, 12)))
    rows = stages.read_scores(stages.floor(context, replace(METRICS, scores=["frechet", "manifold"]), few))
    expected = by_hand(few.train.items, few.heldout.items[:12], ["frechet", "manifold"])
    assert values(rows, "real_train", "heldout") == pytest.approx(expected, rel=1e-6)


def test_what_is_known_of_the_reference_is_of_its_first_images(context):
    known = stages.reference_statistics(context, METRICS, REAL_IMAGES.heldout)
    expected = scoring.reference_statistics(echo.features(REAL_IMAGES.heldout.items[:N]), METRICS)
    assert known.moments.n == N
    for name, array in expected.arrays().items():
        np.testing.assert_allclose(known.arrays()[name], array, rtol=1e-9)
    few = REAL_IMAGES.heldout.take(slice(0, 10))
    assert stages.reference_statistics(context, METRICS, few).moments.n == 10


def test_features_of_the_training_set_are_all_of_it_shuffled(context):
    before = random_pool(20, 12, generation=0)
    rows = [0, 0, *range(2, 20)]
    composition = Composition((rows_of(REAL_IMAGES.train, range(20), REAL), rows_of(before, rows, 0)))
    pools = {REAL_IMAGES.train.id: REAL_IMAGES.train, before.id: before, OTHER.id: OTHER}
    got = stages.training_features(context, METRICS, composition, pools)
    real, made = echo.features(REAL_IMAGES.train.items), echo.features(before.items[rows])
    everything = np.concatenate([real, made])
    np.testing.assert_array_equal(np.unique(got, axis=0), np.unique(everything, axis=0))
    assert len(got) == 40 and (got == made[0]).all(axis=1).sum() == 2
    num_real = sum((real == row).all(axis=1).any() for row in got[:20])
    assert 5 <= num_real <= 15  # a fair draw of both


def test_the_risk_is_that_of_the_stored_model_under_noise_that_is_the_same_for_all(context, monkeypatch, tmp_path):
    asked = []

    def risk(config, model, items, seeds, **given):
        asked.append((model, seeds.tolist()))
        return {"total": np.zeros(len(items))}

    monkeypatch.setattr(generators, "risk", risk)
    for seed in (5, 6):
        stages._risk(context, small(tmp_path, seed=seed), MODEL, np.zeros(4))
    assert asked[0] == asked[1] and len(set(asked[0][1])) == 4 and asked[0][0] == MODEL.path / "model"


def test_two_sets_are_cut_to_the_smaller_from_their_beginnings():
    a, b = np.arange(5), np.arange(10, 13)
    for one, two in (scoring.same_size(a, b), scoring.same_size(b, a)[::-1]):
        assert (one.tolist(), two.tolist()) == ([0, 1, 2], [10, 11, 12])
