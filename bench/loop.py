"""The generation loop: composition → vet → train → remedy → sample → select → score → ledger."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench import (
    datasets,
    generators,
    join_stage,
    metrics,
    mixing,
    preflight,
    provenance,
    remedy_stage,
    select_stage,
    selection,
    stages,
    vet_stage,
)
from bench.composition import PoolRef
from bench.config import Config, TrackingConfig, chain_id, to_dict
from bench.datasets import RealData
from bench.errors import ConfigError, DataError, MetricError, StoreError
from bench.features import own_network
from bench.features.shared import extraction
from bench.ledger import Row
from bench.machine import distributed
from bench.machine.console import Console
from bench.machine.device import resolve_runtime
from bench.machine.memory import check_memory
from bench.mixing.shared.history import History
from bench.pool import REAL, Pool
from bench.recording import make_row, record, summary
from bench.stages import StageContext
from bench.store import Result
from bench.store.group import open_store
from bench.tracking import trackers

BYTES_PER_SEED = 100
"""Bytes of memory for the seed of one sample, in addition to the sample itself."""


def run_chain(config: Config, console: Console) -> Path:
    """Run or resume one chain and return its directory. Results that are in the store are not recomputed: on the same
    kind of device, the same command resumes an interrupted chain and only reads a finished one.

    Raises a `BenchError` for any error that a user can correct, before training if it can be known by then.
    """
    preflight.check(config)
    chain = chain_id(config)
    with folder(config, chain) as directory, console.chain(chain, config.num_generations):
        follow(config, chain, directory, console)
    return directory


def follow(config: Config, chain: str, directory: Path, console: Console) -> None:
    """Run the generations of a chain. directory: The folder for its ledger and for the files that show its probes."""
    spaces = (config.metrics, *metrics.in_extra_spaces(config.metrics))
    policy = mixing.resolve(config.mixing)
    runtime = resolve_runtime(config.runtime, generators.num_steps(config.generator))
    context = StageContext(open_store(Path(config.store_dir), chain), runtime, console)
    real, real_result = fetch(context, config)
    check_items(config, real)
    real, joined = join_stage.join(context, config, real)
    history = begin(config, real)
    num_samples = config.num_samples or preflight.default_num_samples(config, history.budget)
    selection.resolve(config.selection, num_samples)
    num_candidates = selection.num_candidates(config.selection, num_samples)
    num_drawn = num_candidates + config.num_probes
    check_memory(
        num_drawn * (real.train.items[0].nbytes + BYTES_PER_SEED), f"num_samples={num_samples}: samples and probes"
    )
    preflight.plan(config, history, num_samples)
    own = [settings for settings in spaces if settings.feature_space == own_network.NAME]
    for settings in spaces:  # before training: wrong weights or constant features are found here
        if settings not in own:
            stages.floor(context, settings, real)

    pools = {pool.id: pool for pool in (real.believed, real.reserve) if pool}
    trained: Result | None = None
    models: list[Result] = []
    tracking = config.tracking if distributed.is_first() else TrackingConfig()
    with trackers.mirror(tracking, chain, config.name, to_dict(config), directory) as tracker:
        context = replace(context, on_loss=tracker.log_loss)
        for generation in range(config.num_generations):
            started = time.monotonic()
            console.generation(generation)
            drawn = mixing.compose(policy, history)
            composition, vetted = vet_stage.vet(context, config, generation, drawn, pools, real, models)
            trained = stages.train(context, config, generation, composition, pools, previous=trained)
            model = remedy_stage.remedied(context, config, generation, trained)
            if context.first_model is None:
                context = replace(context, first_model=stages.FirstModel(config.generator, model))
                for settings in own:
                    stages.floor(context, settings, real)
            sampled = stages.sample(context, config, generation, model, num_candidates, real.believed)
            selected = select_stage.select(context, config, generation, sampled, num_samples, real.believed)
            samples = Pool.load(selected.path / "pool")
            earlier = [(of, pools[ref.id]) for of, ref in zip(models, history.synthetic, strict=True)]
            scored = stages.score(context, config, samples, real, composition, pools, model, earlier)

            results = {"real": real_result, "train": trained, "sample": sampled, "score": scored}
            results |= {"join": joined} if joined else {}
            results |= {"vet": vetted} if vetted else {}
            results |= {"remedy": model} if model is not trained else {}
            results |= {"select": selected} if selected is not sampled else {}
            counts = drawn.counts(history.real, history.reserve) | join_stage.truth(drawn, pools, real)
            row = make_row(config, context, generation, counts, results, time.monotonic() - started)
            probes = np.load(sampled.path / "probes.npy", allow_pickle=False)
            with distributed.agreed():
                if distributed.is_first():
                    write_down(directory, row, probes)
            tracker.log_generation(row, probes)
            reused = all(result.reused for result in results.values())
            console.print(summary(row, reused))
            console.finished(reused)

            models.append(model)
            pools[samples.id] = samples
            history = history.grown(PoolRef.of(samples, generation))


def fetch(context: StageContext, config: Config) -> tuple[RealData, Result]:
    """Return the real items and their stored result, after downloading data and feature-extractor weights if needed.
    Raises `DataError` that names everything that is missing."""
    missing: list[str] = []
    if "features" in metrics.needs(config.metrics):
        for settings in (config.metrics, *metrics.in_extra_spaces(config.metrics)):
            try:
                extraction.prefetch(settings.feature_space, settings.weights)
            except MetricError as error:
                missing.append(str(error))
    if missing:
        try:
            datasets.look(config.data)
        except DataError as error:
            missing.append(str(error))
        raise DataError("\n".join(missing))
    return stages.real_data(context, config.data)


@contextmanager
def folder(config: Config, chain: str) -> Iterator[Path]:
    """Create the folder of a chain and yield it. If the body of the `with` raises, remove those of the created folders
    that are empty. Raises `ConfigError` if the folder cannot be created."""
    directory = Path(config.output_dir) / config.name / chain
    made = [path for path in (directory, *directory.parents[:2]) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("output_dir", config.output_dir, f"cannot be written to: {error.strerror}") from error
    try:
        yield directory
    except BaseException:
        with suppress(OSError):  # a folder is not empty, or another process has removed it
            for path in made:
                path.rmdir()
        raise


def write_down(directory: Path, row: Row, probes: np.ndarray) -> None:
    """Record a generation in the folder of its chain. Raises `StoreError` if the disk is full or read-only."""
    try:
        record(directory, row, probes)
    except OSError as error:
        raise StoreError(
            f"{directory} cannot be written to ({error}): the results are in the store, and the same command writes "
            "them down once there is space and permission"
        ) from error


def check_items(config: Config, real: RealData) -> None:
    """Raise an error if a chain cannot use the items that were read.

    Raises `ConfigError` if the generator, the watermark, the selection, a score family or a feature space cannot handle
    them, and `DataError` if training or held-out items are not finite or are all equal, because scores of a model that
    is trained on them would say nothing.
    """
    for name, pool in (("train", real.train), ("heldout", real.heldout)):
        if pool.items.dtype.kind == "f" and not all(np.isfinite(block).all() for block in pool.blocks()):
            raise DataError(f"data={config.data.name}: {name} items have NaN or infinity")
        if all((block == pool.items[0]).all() for block in pool.blocks()):
            raise DataError(f"data={config.data.name}: all {len(pool)} {name} items are equal")
    generators.check(config.generator, real.train.kind.name, real.train.items.shape[1:])
    provenance.check(config, real.train.kind.name)
    selection.check(config.selection, real.train.label_names)
    metrics.check_kind(config.metrics, real.train.kind.name)
    if "features" in metrics.needs(config.metrics):
        for name in (config.metrics.feature_space, *config.metrics.extra_spaces):
            extraction.check_kind(name, real.train.kind.name)


def begin(config: Config, real: RealData) -> History:
    """Return the history of generation 0: the pool that the chain uses as its real pool, the free part of the reserve,
    and no samples. Raises `ConfigError` if there are too few items of either."""
    if len(real.train) < config.metrics.num_images:  # if data.num_train is null, this is known only now
        raise ConfigError(
            "metrics.num_images",
            config.metrics.num_images,
            f"the floor needs as many real items, but there are {len(real.train)}",
        )
    reserve = PoolRef.of(real.reserve, REAL) if real.reserve else None
    return preflight.start(config, PoolRef.of(real.believed, REAL), reserve)
