"""The stages of one generation. Each builds a spec and returns the stored result of that spec.

A spec contains every input that can change the result. Equal specs share one result, whichever chain requests it first.
The seeds in a spec are derived from (run seed, generation, stage), never from the ratio. Therefore all chains of a
sweep with the same seed share generation 0, and two policies that compose the same training set share one model.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench import datasets, generators, metrics, provenance, vetting, watermarks
from bench.code_versions import REAL_VERSION, SAMPLE_VERSION, SCORE_VERSION
from bench.composition import Composition, PoolRef
from bench.config import Config, DataConfig, GeneratorConfig, MetricsConfig
from bench.datasets import RealData
from bench.errors import DataError
from bench.features import own_network
from bench.features.shared import extraction
from bench.kinds import Items
from bench.machine import distributed
from bench.machine.console import Console
from bench.machine.device import Runtime, Watched
from bench.metrics.shared import reference
from bench.metrics.shared.classifier import Attribute, fit_attributes
from bench.metrics.shared.hallucination import PairJudge, fit_judge
from bench.pool import REAL, Pool, Records
from bench.seeds import derive_seed
from bench.store import Result, Store
from bench.twin import Twin, unseen_twin

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class FirstModel:
    """The model of a chain's generation 0, which extracts features of, and computes the risk of, later samples."""

    generator: GeneratorConfig
    result: Result


@dataclass(frozen=True)
class StageContext:
    """What every stage needs.

    Attributes:
        store: The store of results.
        runtime: Device and precision.
        console: Shows progress.
        on_loss: Called during a training with (generation, steps done, total steps, mean loss).
        fitted: Key -> the classifiers of real items that this process has fitted.
        judges: Key -> the classifiers of calibration items that this process has fitted.
        first_model: The model of generation 0; None until it is trained.
    """

    store: Store
    runtime: Runtime
    console: Console
    on_loss: Callable[[int, int, int, float], None] = lambda generation, done, total, loss: None
    fitted: dict[str, dict[str, Attribute]] = field(default_factory=dict)
    judges: dict[str, dict[tuple[str, str], PairJudge]] = field(default_factory=dict)
    first_model: FirstModel | None = None


def real_data(context: StageContext, config: DataConfig) -> tuple[RealData, Result]:
    """Return the real, held-out, reserve and calibration pools, memory-mapped from the store."""

    def produce(out: Path, work: Path) -> dict[str, Any]:
        real = datasets.load_real(config)
        pools = {
            "train": real.train,
            "heldout": real.heldout,
            "reserve": real.reserve,
            "calibration": real.calibration,
        }
        sizes = {}
        for name, pool in pools.items():
            if pool is not None:
                pool.save(out / name)
                sizes[name] = len(pool)
        content, kind = spec["source"]["content"], real.train.kind.name
        return {"num_items": sizes, "notes": real.train.notes, "content": content, "kind": kind}

    spec = real_spec(config)
    with context.console.stage("real items"):
        result = context.store.make("real", spec, produce)
    names = ("train", "heldout", "reserve", "calibration")
    here = {name: Pool.load(result.path / name) for name in names if (result.path / name).exists()}
    pools = here["train"], here["heldout"], here.get("reserve")
    return RealData(*pools, datasets.possible_pairs(config), here.get("calibration")), result


def real_spec(config: DataConfig) -> dict[str, Any]:
    """Return the spec of the real items. Raises `DataError` if their source cannot be read."""
    return {"source": datasets.data_spec(config), "version": REAL_VERSION}


def train(
    context: StageContext,
    config: Config,
    generation: int,
    composition: Composition,
    pools: dict[str, Pool],
    previous: Result | None,
) -> Result:
    """Fit a model to a composition: from scratch, or with `warm_start` from the weights of the previous generation.

    Args:
        context: Store, device, console.
        config: The chain's configuration.
        generation: The generation to train; it determines the seed, and whether `retrain_epochs` or `retrain_steps`
            applies.
        composition: The training set.
        pools: The pools that the composition was drawn from, by id.
        previous: The training of the previous generation; None for generation 0.

    Returns:
        A result that holds the composition and `model/`.
    """
    generator = counted_out(config, generation, len(composition))
    seed = derive_seed(config.seed, generation, "train")
    start = previous if config.warm_start else None

    def produce(out: Path, work: Path) -> dict[str, Any]:
        composition.save(out)
        what, compiles = f"train on {len(composition)} items", context.runtime.compile
        with context.console.stage(what, unit="steps", compiles=compiles) as progress:
            return generators.fit(
                generator,
                composition.items(pools),
                seed=seed,
                out=out / "model",
                work=work,
                runtime=context.runtime,
                progress=Watched(progress, partial(context.on_loss, generation)),
                init=start.path / "model" if start else None,
            )

    spec = {
        "generator": generators.train_spec(generator),
        "composition": composition.id,
        "seed": seed,
        "init": start.key if start else None,
        "arithmetic": context.runtime.arithmetic,
    }
    return context.store.make("train", spec, produce)


def counted_out(config: Config, generation: int, num_items: int) -> GeneratorConfig:
    """Return the generator's configuration with the number of steps for a generation that trains on `num_items`."""
    if generation > 0 and config.retrain_steps is not None:
        return generators.with_exact_steps(config.generator, config.retrain_steps)
    return generators.with_num_steps(config.generator, num_items, config.retrain_epochs if generation > 0 else None)


def sample(
    context: StageContext,
    config: Config,
    generation: int,
    model: Result,
    num_samples: int,
    real: Pool | None = None,
) -> Result:
    """Draw a pool of `num_samples` samples, and probes: a few items from noise that is the same in every generation,
    which are only shown and never trained on or scored.

    Args:
        context: Store, device, console.
        config: The chain's configuration.
        generation: The generation of birth of the samples.
        model: The training or remedy whose model is sampled.
        num_samples: The size of the pool.
        real: The real pool, whose items are the prompts of a generator that continues items. Sample i and probe i of
            every generation continue item i modulo the size of the pool.

    Returns:
        A result that holds `pool/` and `probes.npy`.
    """
    prompting = real if generators.is_prompted(config.generator) else None
    watermark = watermarks.resolve(config.watermark)

    def produce(out: Path, work: Path) -> dict[str, Any]:
        seeds = [derive_seed(config.seed, generation, "sample", i) for i in range(num_samples)]
        probes = [derive_seed(config.seed, 0, "probe", i) for i in range(config.num_probes)]
        started = time.monotonic()
        what, compiles = f"draw {num_samples} samples", context.runtime.compile
        with context.console.stage(what, unit="items", compiles=compiles) as progress:
            items = generators.sample(
                config.generator,
                model.path / "model",
                np.array(seeds + probes, np.int64),
                work=work,
                runtime=context.runtime,
                progress=progress,
                mark=watermark.mark_noise(generation) if watermark else None,
                prompts=prompts_of(prompting, num_samples, config.num_probes) if prompting else None,
            )
        items = watermark.mark_items(generation, items) if watermark else items
        seconds = time.monotonic() - started
        Pool(items[:num_samples], Records.synthetic(generation, np.array(seeds, np.int64))).save(out / "pool")
        np.save(out / "probes.npy", items[num_samples:], allow_pickle=False)
        rate = round(len(items) / seconds, 1)
        facts = {"num_images": num_samples, "seconds": round(seconds, 3), "images_per_second": rate}
        evaluations = generators.num_evaluations(config.generator)
        each = model.facts.get("num_networks", 1)
        return facts | ({"network_evaluations": evaluations * each} if evaluations else {})

    spec = {
        "model": model.key,
        "sampler": generators.sample_spec(config.generator),
        "seed": config.seed,
        "generation": generation,
        "num_samples": num_samples,
        "num_probes": config.num_probes,
        **({"watermark": watermark.spec(generation)} if watermark else {}),
        **({"prompts": prompting.id} if prompting else {}),
        "arithmetic": context.runtime.arithmetic,
        "version": SAMPLE_VERSION,
    }
    return context.store.make("sample", spec, produce)


def prompts_of(real: Pool, num_samples: int, num_probes: int) -> np.ndarray:
    """Return the items of the real pool that the samples and the probes continue, one for each."""
    rows = np.concatenate([np.arange(num_samples), np.arange(num_probes)]) % len(real)
    return np.asarray(real.items[rows])


def extract_features(context: StageContext, config: MetricsConfig, pool: Pool, what: str) -> np.ndarray:
    """Compute the features of a whole pool once and store them.

    Args:
        context: Store, device, console.
        config: The feature space and its weights.
        pool: N items.
        what: The name of the pool on the console.

    Returns:
        float32 (N, d), memory-mapped.
    """

    def produce(out: Path, work: Path) -> dict[str, Any]:
        with context.console.stage(f"features of {what}", unit="items") as progress:
            if config.feature_space == own_network.NAME:
                values = _own_features(context, pool, progress)
            else:
                space = extraction.load_feature_space(config.feature_space, context.runtime, config.weights)
                values = extraction.extract(space, pool.items, progress)
        np.save(out / "features.npy", values, allow_pickle=False)
        return {"num_images": len(values), "dimension": int(values.shape[1])}

    spec = {"pool": pool.id, "space": space_spec(context, config)}
    result = context.store.make("features", spec, produce)
    return np.load(result.path / "features.npy", mmap_mode="r", allow_pickle=False)


def _own_features(context: StageContext, pool: Pool, progress: Callable[[int, int], None]) -> np.ndarray:
    """Return features from the network of generation 0, float32 (N, d); (0, 0) in processes other than the first."""
    first = context.first_model
    assert first is not None, "features of generation 0's network are requested before it is trained"

    def described() -> np.ndarray:
        with extraction.plain_float32():
            model = first.result.path / "model"
            return generators.features(first.generator, model, pool.items, runtime=context.runtime, progress=progress)

    return _once(described, np.zeros((0, 0), np.float32))


def space_spec(context: StageContext, config: MetricsConfig) -> dict[str, Any]:
    """Return what identifies features: the space, the model if the space is generation 0's own network, and the type of
    device that computes them."""
    space = extraction.feature_space_spec(config.feature_space, config.weights)
    if config.feature_space == own_network.NAME:
        assert context.first_model is not None
        space |= {
            "model": context.first_model.result.key,
            "features": generators.features_spec(context.first_model.generator),
        }
    return {**space, "device": context.runtime.device.type}


def score(
    context: StageContext,
    config: Config,
    samples: Pool,
    real: RealData,
    composition: Composition,
    pools: dict[str, Pool],
    model: Result,
    earlier: Sequence[tuple[Result, Pool]] = (),
) -> Result:
    """Score the samples against every reference, with two controls: real training items instead of the samples (the
    floor), and samples and held-out items shuffled together. Inputs that no score family needs are not computed.

    Args:
        context: Store, device, console.
        config: The chain's configuration.
        samples: The generation's pool.
        real: The real, held-out, reserve and calibration pools.
        composition: The set that the generation trained on.
        pools: The pools that the composition was drawn from, by id.
        model: The training or remedy whose model drew the samples.
        earlier: The same results for the previous generations, each with its samples, for families that need the past.

    Returns:
        A result whose `scores.json` holds the rows, in the form of the ledger's `scores`.
    """
    settings = config.metrics
    needs = metrics.needs(settings)
    n, extras = settings.num_images, metrics.in_extra_spaces(settings)
    twin, reason = matched_twin(config, composition, real) if "training" in needs else (None, "")

    def produce(out: Path, work: Path) -> dict[str, Any]:
        given: dict[str, Any] = {"device": context.runtime.device}
        features, others = None, {}
        known_pools = {**pools, real.heldout.id: real.heldout}
        if reason:
            log.warning(
                "Scores that compare training items with unseen ones are left out, there is no twin: %s", reason
            )
        if "features" in needs:
            heldout = extract_features(context, settings, real.heldout, "held-out items")
            real_train = extract_features(context, settings, real.train, "real items")
            features = (extract_features(context, settings, samples, "samples")[:n], heldout[:n])
            training = training_features(context, settings, composition, pools)
            others = {"real_train": real_train, "training": training}
            given["known"] = reference_statistics(context, settings, real.heldout)
            given["training"] = training
            if twin:
                sides = twin.trained_on, twin.unseen
                given["twin"] = tuple(training_features(context, settings, side, known_pools) for side in sides)
            if "labels" in needs:
                given["attributes"] = real_attributes(context, settings, real, real_train, heldout)
                given["judges"] = pair_judges(context, settings, real, heldout)
        if "items" in needs:
            given["items"] = (samples.items[:n], real.heldout.items[:n])
            given["training_items"] = composition.items(pools)
            if twin:
                given["twin_items"] = (twin.trained_on.items(pools), twin.unseen.items(known_pools))
        if "model" in needs:
            given["model"] = partial(_risk, context, config, model)
            given["true_risk"] = partial(datasets.true_risk, config.data) if truth else None
        if "past" in needs:
            described = [extract_features(context, settings, pool, "samples")[:n] for _, pool in known_past]
            models = [*(result for result, _ in earlier), model]
            given["past"] = metrics.Past(
                generation=len(earlier),
                features=tuple(described),
                marks=_mark_reader(context, config, models),
                heldout_marks=heldout_marks(context, config, real.heldout, models),
            )
        if first:
            given["first_model"] = partial(_risk, context, config, first.result)
        real_rows = read_scores(floor(context, settings, real))
        with context.console.stage("score"):
            rows = _once(lambda: metrics.score_with_controls(features, settings, real_rows, others=others, **given), [])
        for extra in extras:
            rows += comparisons(context, extra, samples, real)
        (out / "scores.json").write_text(json.dumps(rows, indent=1) + "\n")
        return {"num_scores": len(rows), **({"space": space} if space else {})}

    space = space_spec(context, settings) if "features" in needs else None
    comparable = "model" in needs and generators.is_likelihood(config.generator)
    truth = datasets.truth_spec(config.data) if comparable else None
    risk_spec = generators.risk_spec(config.generator) if needs & {"model", "first_model"} else None
    judged = {"key": model.key, "risk": risk_spec} if "model" in needs else None
    first = context.first_model if "first_model" in needs else None
    known_past = earlier if {"past", "features"} <= needs else ()
    extra_spaces = [space_spec(context, extra) for extra in extras]
    spec = {
        "samples": samples.id,
        "real_train": real.train.id,
        "heldout": real.heldout.id,
        "composition": composition.id,
        "twin": twin.id if twin else None,
        "model": judged | {"truth": truth} if judged and truth else judged,
        **({"first_model": {"key": first.result.key, "risk": risk_spec}} if first else {}),
        **(past_spec(config, earlier, model) if "past" in needs else {}),
        "label_names": real.train.label_names if "labels" in needs else None,
        **(_judged_by(real) if "labels" in needs else {}),
        "space": space,
        **({"extra_spaces": extra_spaces} if extra_spaces else {}),
        "device": context.runtime.device.type,
        "scores": metrics.score_spec(settings),
        "version": SCORE_VERSION,
    }
    return context.store.make("score", spec, produce)


def past_spec(config: Config, earlier: Sequence[tuple[Result, Pool]], model: Result) -> dict[str, Any]:
    """Return what identifies the past that scores are computed from: the samples of the earlier generations, the models
    up to this generation, and their marks."""
    keys = [result.key for result, _ in earlier] + [model.key]
    return {"past": [[pool.id for _, pool in earlier], keys, provenance.spec(config, len(earlier) + 1)]}


def _mark_reader(
    context: StageContext, config: Config, models: Sequence[Result]
) -> "Callable[[int, Items], np.ndarray] | None":
    """Return a function (generation, items) that reads the watermark of a generation, with the model of that generation
    if the mark is in the noise; None if the chain has no watermark."""
    if watermarks.resolve(config.watermark) is None:
        return None
    folders = [model.path / "model" for model in models]

    def read(generation: int, items: "Items") -> np.ndarray:
        with context.console.stage(f"read the mark of generation {generation}", unit="items") as progress:
            return provenance.reader(config, folders, context.runtime, progress)(generation, items)

    return read


def heldout_marks(
    context: StageContext, config: Config, heldout: Pool, models: Sequence[Result]
) -> tuple[np.ndarray, ...]:
    """Return how strongly the held-out items that are scored carry the mark of each generation, float64 (N,) each. The
    tuple is empty if the chain has no watermark or no score family reads marks. The values of each generation are
    stored, because later generations need them again.

    Args:
        context: Store, device, console.
        config: The chain's configuration.
        heldout: The held-out pool.
        models: The trainings or remedies of generations 0, 1, ….
    """
    items = heldout.items[: config.metrics.num_images]
    read = _mark_reader(context, config, models)
    if read is None or not any({"items", "past"} <= {*f.needs} for f in metrics.families(config.metrics)):
        return ()

    def of(generation: int) -> np.ndarray:
        def produce(out: Path, work: Path) -> dict[str, Any]:
            values = _once(lambda: read(generation, items), np.zeros(0))
            np.save(out / "marks.npy", values, allow_pickle=False)
            return {"num_items": len(items)}

        spec = {
            "pool": heldout.id,
            "num_items": len(items),
            **provenance.mark_spec(config, generation, models[generation].key),
            "arithmetic": context.runtime.arithmetic,
        }
        result = context.store.make("marks", spec, produce)
        return np.load(result.path / "marks.npy", allow_pickle=False)

    return tuple(of(generation) for generation in range(len(models)))


def comparisons(context: StageContext, config: MetricsConfig, samples: Pool, real: RealData) -> list[dict[str, Any]]:
    """Return the scores, with floor and control, in an extra feature space, for families that only compare two sets of
    features.

    Args:
        context: Store, device, console.
        config: The settings of the scores, with the extra feature space and only families of this type.
        samples: The generation's pool.
        real: The pools that the samples are compared with.
    """
    subject, heldout = (
        extract_features(context, config, pool, f"{what} in {config.feature_space}")[: config.num_images]
        for pool, what in ((samples, "samples"), (real.heldout, "held-out items"))
    )
    known = reference_statistics(context, config, real.heldout)
    real_rows = read_scores(floor(context, config, real))
    with context.console.stage(f"score in {config.feature_space}"):
        device = context.runtime.device
        sides = subject, heldout
        return _once(lambda: metrics.score_with_controls(sides, config, real_rows, known=known, device=device), [])


def _once(work: Callable[[], T], otherwise: Any) -> T:
    """Return the result of `work` in the first of several processes, and `otherwise` in the others. What the other
    processes compute is not stored; they wait for the result that the first process stores."""
    return work() if distributed.is_first() else otherwise


def matched_twin(config: Config, composition: Composition, real: RealData) -> tuple[Twin | None, str]:
    """Return the unseen twin of a generation's training set and "", or None and the reason why there is no twin."""
    if vetting.resolve(config.vetting) is not None:
        return None, "a vetting rule chose what stays, so items that it did not see are of another distribution"
    if real.believed.records.is_synthetic.any():
        return None, "a newcomer takes samples for real items, and held-out ones are of another distribution"
    try:
        return unseen_twin(composition, PoolRef.of(real.heldout, REAL)), ""
    except DataError as error:
        return None, str(error)


def _risk(context: StageContext, config: Config, model: Result, items: Any) -> dict[str, np.ndarray]:
    """Return the loss of a stored model on N items. Each item has its own noise, which is the same for every model."""
    seeds = np.array([derive_seed(0, 0, "risk", i) for i in range(len(items))], np.int64)
    with context.console.stage("risk", unit="items") as progress:
        return generators.risk(
            config.generator, model.path / "model", items, seeds, runtime=context.runtime, progress=progress
        )


def reference_statistics(
    context: StageContext, config: MetricsConfig, pool: Pool
) -> reference.ReferenceStatistics | None:
    """Return the statistics of the first N items of `pool` as a reference, from one stored result for all generations
    and chains. None in processes that do not score."""

    def produce(out: Path, work: Path) -> dict[str, Any]:
        values = extract_features(context, config, pool, "held-out items")[: config.num_images]
        with context.console.stage("statistics of the reference"):
            device = context.runtime.device
            arrays = _once(lambda: reference.reference_statistics(values, config.k, device).arrays(), {})
        for name, array in arrays.items():
            np.save(out / f"{name}.npy", array, allow_pickle=False)
        return {"num_images": len(values)}

    spec = {
        "pool": pool.id,
        "space": space_spec(context, config),
        "num_images": config.num_images,
        "k": config.k,
        "version": reference.VERSION,
    }
    result = context.store.make("reference", spec, produce)
    if not distributed.is_first():
        return None  # only the first process scores
    arrays = {path.stem: np.load(path, allow_pickle=False) for path in result.path.glob("*.npy")}
    return reference.ReferenceStatistics.of(arrays, min(config.num_images, len(pool)))


def floor(context: StageContext, config: MetricsConfig, real: RealData) -> Result:
    """Score real training items instead of samples, as one stored result for all generations and chains."""
    needs, n = metrics.needs(config), config.num_images

    def produce(out: Path, work: Path) -> dict[str, Any]:
        given: dict[str, Any] = {"device": context.runtime.device}
        features = None
        if "features" in needs:
            heldout = extract_features(context, config, real.heldout, "held-out items")
            real_train = extract_features(context, config, real.train, "real items")
            features = metrics.same_size(real_train, heldout[:n])
            if len(features[1]) == n:
                given["known"] = reference_statistics(context, config, real.heldout)
            if "labels" in needs:
                given["attributes"] = real_attributes(context, config, real, real_train, heldout)
                given["judges"] = pair_judges(context, config, real, heldout)
        if "items" in needs:
            given["items"] = (real.train.items[:n], real.heldout.items[:n])
        with context.console.stage("score real items"):
            rows = _once(lambda: metrics.score(features, config, subject="real_train", **given), [])
        if features is not None:
            scored = rows
            with context.console.stage("score re-splits of the real items"):
                both = np.concatenate([real_train, heldout])
                rows = _once(lambda: metrics.with_resplits(scored, both, config, given["device"]), [])
        (out / "scores.json").write_text(json.dumps(rows, indent=1) + "\n")
        return {"num_scores": len(rows)}

    spec = {
        "real_train": real.train.id,
        "heldout": real.heldout.id,
        "space": space_spec(context, config) if "features" in needs else None,
        "label_names": real.train.label_names if "labels" in needs else None,
        **(_judged_by(real) if "labels" in needs else {}),
        "device": context.runtime.device.type,
        "scores": metrics.score_spec(config),
        "version": SCORE_VERSION,
    }
    return context.store.make("floor", spec, produce)


def real_attributes(
    context: StageContext, config: MetricsConfig, real: RealData, real_train: np.ndarray, heldout: np.ndarray
) -> dict[str, Attribute]:
    """Return the classifiers of every labelled attribute, fitted to the real items once for all generations of a run,
    and only in the process that scores; {} in the others.

    Args:
        context: The device, the console, and the classifiers fitted before.
        config: The feature space.
        real: The pools with their labels.
        real_train: float (N, d) features of the real pool.
        heldout: float (M, d) features of the held-out pool.
    """
    about = [real.train.id, real.heldout.id, real.train.label_names, space_spec(context, config)]
    key = json.dumps(about, sort_keys=True)
    if key not in context.fitted:
        labels = real.train.records.labels, real.heldout.records.labels
        with context.console.stage("classifiers of real items"):
            names, device = real.train.label_names, context.runtime.device
            context.fitted[key] = _once(
                lambda: fit_attributes(real_train, labels[0], heldout, labels[1], names, device), {}
            )
    return context.fitted[key]


def pair_judges(
    context: StageContext, config: MetricsConfig, real: RealData, heldout: np.ndarray
) -> dict[tuple[str, str], PairJudge]:
    """Return the judges that recognise pairs of labels that do not exist, fitted once for all generations of a run, and
    only in the process that scores; {} in the others and without calibration items.

    Args:
        context: Store, device, console, and the judges fitted before.
        config: The feature space.
        real: The pools with their labels.
        heldout: float (M, d) features of the held-out pool.
    """
    if real.calibration is None:
        return {}
    key = json.dumps([_judged_by(real), real.heldout.id, space_spec(context, config)], sort_keys=True)
    if key not in context.judges:
        calibration = extract_features(context, config, real.calibration, "calibration items")
        labels = real.calibration.records.labels, real.heldout.records.labels
        names, device = real.calibration.label_names, context.runtime.device
        with context.console.stage("classifiers of calibration items"):
            context.judges[key] = {
                pair: fit_judge(calibration, labels[0], heldout, labels[1], names, pair, possible, device)
                for pair, possible in (real.possible if distributed.is_first() else {}).items()
            }
    return context.judges[key]


def _judged_by(real: RealData) -> dict[str, Any]:
    """Return the part of a spec that identifies the judges of label pairs; {} without calibration items."""
    if real.calibration is None:
        return {}
    possible = [[*names, pairs.tolist()] for names, pairs in sorted(real.possible.items())]
    return {"calibration": real.calibration.id, "possible": possible}


def training_features(
    context: StageContext, config: MetricsConfig, composition: Composition, pools: dict[str, Pool]
) -> np.ndarray:
    """Gather the features of a composition from the features of its pools.

    Args:
        context: Store, device, console.
        config: The feature space and its weights.
        composition: T items.
        pools: The pools that the composition was drawn from, by id.

    Returns:
        float32 (T, d), in a shuffled order, so that the first N are a fair draw.
    """
    parts = [
        extract_features(context, config, pools[part.pool.id], "training items")[part.rows]
        for part in composition.parts
    ]
    together = np.concatenate(parts)
    return together[np.random.default_rng(0).permutation(len(together))]


def read_scores(result: Result) -> list[dict[str, Any]]:
    """Return the rows that `score` or `floor` wrote."""
    rows: list[dict[str, Any]] = json.loads((result.path / "scores.json").read_text())
    return rows
