"""The stages of one generation, each a pure function from a spec to a stored result.

A stage's spec is every input that can change its result; equal specs share one result, whichever chain asks first. The
seeds in a spec come from (run seed, generation, stage), never from the ratio: so generation 0 is one and the same for
all chains of a sweep with that seed, and two policies that compose the same training set train one model.
"""

import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import datasets, generators
from bench.composition import Composition
from bench.config import Config, DataConfig, GeneratorConfig, MetricsConfig
from bench.datasets import RealData
from bench.features.shared import extraction
from bench.machine.console import Console
from bench.machine.device import Runtime
from bench.metrics import scores
from bench.pool import Pool, Records
from bench.seeds import derive_seed
from bench.store import Result, Store

REAL_VERSION = 1
SAMPLE_VERSION = 1
SCORE_VERSION = 1
"""Raised with any change to a stage that moves its results: old results are then made again, never mixed with new ones.
(Training and sampling code has versions of its own, in the generator's spec.)"""


@dataclass(frozen=True)
class Workshop:
    """What every stage needs: the store, the device, and somewhere to say how it goes."""

    store: Store
    runtime: Runtime
    console: Console


def real_data(shop: Workshop, config: DataConfig) -> tuple[RealData, Result]:
    """The real, held-out and reserve pools, memory-mapped from the store."""

    def produce(out: Path, work: Path) -> dict[str, Any]:
        real = datasets.load_real(config)
        pools = {"train": real.train, "heldout": real.heldout, "reserve": real.reserve}
        sizes = {}
        for name, pool in pools.items():
            if pool is not None:
                pool.save(out / name)
                sizes[name] = len(pool)
        return {"num_images": sizes, "notes": real.train.notes}

    spec = {"data": datasets.data_spec(config), "version": REAL_VERSION}
    with shop.console.stage("real images"):
        result = shop.store.make("real", spec, produce)
    reserve = Pool.load(result.path / "reserve") if (result.path / "reserve").exists() else None
    return RealData(Pool.load(result.path / "train"), Pool.load(result.path / "heldout"), reserve), result


def train(
    shop: Workshop,
    config: Config,
    generation: int,
    composition: Composition,
    pools: dict[str, Pool],
    previous: Result | None,
) -> Result:
    """A model fitted to `composition`: from scratch, or where `warm_start` says so from the weights of `previous`."""
    epochs = config.retrain_epochs if generation > 0 else None
    generator = with_num_steps(config.generator, len(composition), epochs)
    seed = derive_seed(config.seed, generation, "train")
    start = previous if config.warm_start else None

    def produce(out: Path, work: Path) -> dict[str, Any]:
        composition.save(out)
        with shop.console.stage(f"train on {len(composition)} images", unit="steps") as progress:
            return generators.fit(
                generator,
                composition.images(pools),
                seed=seed,
                out=out / "model",
                work=work,
                runtime=shop.runtime,
                progress=progress,
                init=start.path / "model" if start else None,
            )

    spec = {
        "generator": generators.train_spec(generator),
        "composition": composition.id,
        "seed": seed,
        "init": start.key if start else None,
        "precision": shop.runtime.precision,
    }
    return shop.store.make("train", spec, produce)


def with_num_steps(config: GeneratorConfig, num_images: int, num_epochs: float | None = None) -> GeneratorConfig:
    """The generator with `num_epochs` (or else its own, where it has that) counted out in steps over `num_images`."""
    training = getattr(config, "training", None)
    num_epochs = num_epochs or getattr(training, "num_epochs", None)
    if training is None or num_epochs is None:
        return config
    num_steps = math.ceil(num_epochs * num_images / training.batch_size)
    return replace(config, training=replace(training, num_steps=num_steps, num_epochs=None))  # type: ignore[call-arg]


def sample(shop: Workshop, config: Config, generation: int, model: Result, num_samples: int) -> Result:
    """A pool of `num_samples` samples, and beside it `probes.npy`: a few pictures from noise that is the same in every
    generation, to be looked at and never trained on or scored."""

    def produce(out: Path, work: Path) -> dict[str, Any]:
        seeds = [derive_seed(config.seed, generation, "sample", i) for i in range(num_samples)]
        probes = [derive_seed(config.seed, 0, "probe", i) for i in range(config.num_probes)]
        started = time.monotonic()
        with shop.console.stage(f"sample {num_samples} images", unit="images") as progress:
            images = generators.sample(
                config.generator,
                model.path / "model",
                np.array(seeds + probes, np.int64),
                work=work,
                runtime=shop.runtime,
                progress=progress,
            )
        seconds = time.monotonic() - started
        Pool(images[:num_samples], Records.synthetic(generation, np.array(seeds, np.int64))).save(out / "pool")
        np.save(out / "probes.npy", images[num_samples:], allow_pickle=False)
        rate = round(len(images) / seconds, 1)
        return {"num_images": len(images), "seconds": round(seconds, 3), "images_per_second": rate}

    spec = {
        "model": model.key,
        "sampler": generators.sample_spec(config.generator),
        "seed": config.seed,
        "generation": generation,
        "num_samples": num_samples,
        "num_probes": config.num_probes,
        "precision": shop.runtime.precision,
        "version": SAMPLE_VERSION,
    }
    return shop.store.make("sample", spec, produce)


def extract_features(shop: Workshop, config: MetricsConfig, pool: Pool, what: str) -> np.ndarray:
    """float32 (N, d) features of a whole pool, computed once and stored."""

    def produce(out: Path, work: Path) -> dict[str, Any]:
        space = extraction.load_feature_space(config.feature_space, shop.runtime, config.weights)
        with shop.console.stage(f"features of {what}", unit="images") as progress:
            values = extraction.extract(space, pool.images, progress)
        np.save(out / "features.npy", values, allow_pickle=False)
        return {"num_images": len(values), "dimension": int(values.shape[1])}

    spec = {"pool": pool.id, "space": extraction.feature_space_spec(config.feature_space, config.weights)}
    result = shop.store.make("features", spec, produce)
    return np.load(result.path / "features.npy", mmap_mode="r", allow_pickle=False)


def score(
    shop: Workshop,
    config: MetricsConfig,
    samples: Pool,
    real: RealData,
    composition: Composition,
    pools: dict[str, Pool],
) -> Result:
    """Score the samples against every reference, with two controls: real training images in place of the samples (the
    floor), and samples and held-out images shuffled together.

    `Result.path / "scores.json"` holds the rows, in the form of the ledger's `scores`.
    """
    device = shop.runtime.device

    def produce(out: Path, work: Path) -> dict[str, Any]:
        heldout = extract_features(shop, config, real.heldout, "held-out images")
        real_train = extract_features(shop, config, real.train, "real images")
        subject = extract_features(shop, config, samples, "samples")[: config.num_images]
        reference = heldout[: config.num_images]
        training = training_features(shop, config, composition, pools)
        real_rows = read_scores(floor(shop, config, real))
        known = reference_statistics(shop, config, real.heldout)
        with shop.console.stage("score"):
            attributes = fit_attributes(config, real, real_train, heldout, device)
            others = {"real_train": real_train, "training": training}
            rows = scores.score_with_controls(
                subject, reference, config, real_rows, training=training, attributes=attributes, known=known,
                others=others, device=device,
            )  # fmt: skip
        (out / "scores.json").write_text(json.dumps(rows, indent=1) + "\n")
        return {"num_scores": len(rows), "space": space}

    space = extraction.feature_space_spec(config.feature_space, config.weights)
    spec = {
        "samples": samples.id,
        "real_train": real.train.id,
        "heldout": real.heldout.id,
        "composition": composition.id,
        "space": space,
        "scores": scores.score_spec(config),
        "version": SCORE_VERSION,
    }
    return shop.store.make("score", spec, produce)


def reference_statistics(shop: Workshop, config: MetricsConfig, pool: Pool) -> scores.ReferenceStatistics:
    """Return the statistics of the first N images of `pool` as a reference: one result for all generations and
    chains."""

    def produce(out: Path, work: Path) -> dict[str, Any]:
        values = extract_features(shop, config, pool, "held-out images")[: config.num_images]
        with shop.console.stage("statistics of the reference"):
            statistics = scores.reference_statistics(values, config, shop.runtime.device)
        for name, array in statistics.arrays().items():
            np.save(out / f"{name}.npy", array, allow_pickle=False)
        return {"num_images": len(values)}

    spec = {
        "pool": pool.id,
        "space": extraction.feature_space_spec(config.feature_space, config.weights),
        "num_images": config.num_images,
        "k": config.k,
        "version": scores.VERSION,
    }
    result = shop.store.make("reference", spec, produce)
    arrays = {path.stem: np.load(path, allow_pickle=False) for path in result.path.glob("*.npy")}
    return scores.ReferenceStatistics.of(arrays, min(config.num_images, len(pool)))


def floor(shop: Workshop, config: MetricsConfig, real: RealData) -> Result:
    """Score real training images in place of samples: one result for all generations and chains."""

    def produce(out: Path, work: Path) -> dict[str, Any]:
        heldout = extract_features(shop, config, real.heldout, "held-out images")
        real_train = extract_features(shop, config, real.train, "real images")
        with shop.console.stage("score real images"):
            attributes = fit_attributes(config, real, real_train, heldout, shop.runtime.device)
            a, b = scores.same_size(real_train, heldout[: config.num_images])
            known = reference_statistics(shop, config, real.heldout) if len(b) == config.num_images else None
            rows = scores.score(
                a, b, config, subject="real_train", attributes=attributes, known=known, device=shop.runtime.device
            )
        (out / "scores.json").write_text(json.dumps(rows, indent=1) + "\n")
        return {"num_scores": len(rows)}

    spec = {
        "real_train": real.train.id,
        "heldout": real.heldout.id,
        "space": extraction.feature_space_spec(config.feature_space, config.weights),
        "scores": scores.score_spec(config),
        "version": SCORE_VERSION,
    }
    return shop.store.make("floor", spec, produce)


def fit_attributes(
    config: MetricsConfig, real: RealData, real_train: np.ndarray, heldout: np.ndarray, device: Any
) -> dict[str, scores.Attribute] | None:
    """A classifier for every labelled attribute of the real images; None where tails are not asked for."""
    if "tails" not in config.scores:
        return None
    labels = real.train.records.labels, real.heldout.records.labels
    return scores.fit_attributes(real_train, labels[0], heldout, labels[1], real.train.label_names, device)


def training_features(
    shop: Workshop, config: MetricsConfig, composition: Composition, pools: dict[str, Pool]
) -> np.ndarray:
    """float32 (T, d) features of what a generation trained on, gathered from those of its pools, in a shuffled order:
    its first N are a fair draw of it."""
    parts = [
        extract_features(shop, config, pools[part.pool.id], "training images")[part.rows] for part in composition.parts
    ]
    together = np.concatenate(parts)
    return together[np.random.default_rng(0).permutation(len(together))]


def read_scores(result: Result) -> list[dict[str, Any]]:
    """Return the rows that `score` or `floor` wrote."""
    rows: list[dict[str, Any]] = json.loads((result.path / "scores.json").read_text())
    return rows
