"""The generation loop: composition → vet → train → sample → select → score → ledger."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench import generators, metrics, mixing, preflight, registry, selection, stages
from bench.composition import PoolRef
from bench.config import Config, TrackingConfig, chain_id, to_dict
from bench.datasets import RealData
from bench.errors import ConfigError, DataError, StoreError
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
"""Memory that the seed of a sample takes beside the sample."""


def run_chain(config: Config, console: Console) -> Path:
    """Run or resume one chain; return its directory. Results in the store are not made again: on the same kind of
    device the same command resumes after an interruption, and only reads after the end.

    Raises a `BenchError` for anything that a user can put right, before training where that can be known.
    """
    preflight.check(config)
    chain = chain_id(config)
    directory = make_directory(config, chain)
    console.where = chain
    spaces = (config.metrics, *metrics.in_extra_spaces(config.metrics))
    if "features" in metrics.needs(config.metrics):
        for settings in spaces:
            extraction.prefetch(settings.feature_space, settings.weights)
    policy = mixing.resolve(config.mixing)
    runtime = resolve_runtime(config.runtime, generators.num_steps(config.generator))
    context = StageContext(open_store(Path(config.store_dir), chain), runtime, console)
    real, real_result = stages.real_data(context, config.data)
    check_items(config, real)
    history = begin(config, real)
    num_samples = config.num_samples or default_num_samples(config, history.budget)
    selection.resolve(config.selection, num_samples)
    for settings in spaces:  # before training: wrong weights or constant features are found here
        stages.floor(context, settings, real)
    num_candidates = selection.num_candidates(config.selection, num_samples)
    num_drawn = num_candidates + config.num_probes
    check_memory(
        num_drawn * (real.train.items[0].nbytes + BYTES_PER_SEED), f"num_samples={num_samples}: samples and probes"
    )
    mixing.plan(policy, history, config.num_generations, num_samples)

    pools = {pool.id: pool for pool in (real.train, real.reserve) if pool}
    model: Result | None = None
    tracking = config.tracking if distributed.is_first() else TrackingConfig()
    with trackers.mirror(tracking, chain, config.name, to_dict(config), directory) as tracker:
        context = replace(context, on_loss=tracker.log_loss)
        for generation in range(config.num_generations):
            started = time.monotonic()
            console.where = f"{chain} · generation {generation}"
            drawn = mixing.compose(policy, history)
            composition, vetted = stages.vet(context, config, generation, drawn, pools, real.train)
            model = stages.train(context, config, generation, composition, pools, previous=model)
            sampled = stages.sample(context, config, generation, model, num_candidates)
            selected = stages.select(context, config, generation, sampled, num_samples, real.train)
            samples = Pool.load(selected.path / "pool")
            scored = stages.score(context, config, samples, real, composition, pools, model)

            results = {"real": real_result, "train": model, "sample": sampled, "score": scored}
            results |= {"vet": vetted} if vetted else {}
            results |= {"select": selected} if selected is not sampled else {}
            counts = drawn.counts(history.real, history.reserve)
            row = make_row(config, context, generation, counts, results, time.monotonic() - started)
            probes = np.load(sampled.path / "probes.npy", allow_pickle=False)
            with distributed.agreed():
                if distributed.is_first():
                    write_down(directory, row, probes)
            tracker.log_generation(row, probes)
            console.print(summary(row, reused=all(result.reused for result in results.values())))

            pools[samples.id] = samples
            history = history.grown(PoolRef.of(samples, generation))
    return directory


def default_num_samples(config: Config, budget: int) -> int:
    """Return twice as many as generation 0 trained on, so that a policy that draws `budget` of them leaves as many
    unseen (`bench.twin`). With a selection as many as it trained on, because a selection's strength is the share of
    candidates that it keeps. At least as many as are scored."""
    drawn = 2 * budget if config.selection.name == registry.NONE else budget
    return max(drawn, config.metrics.num_images)


def make_directory(config: Config, chain: str) -> Path:
    """Make the folder of a chain. Raises `ConfigError` where it cannot be written to."""
    directory = Path(config.output_dir) / config.name / chain
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("output_dir", config.output_dir, f"cannot be written to: {error.strerror}") from error
    return directory


def write_down(directory: Path, row: Row, probes: np.ndarray) -> None:
    """Record a generation in the folder of its chain. Raises `StoreError` where that is full or read-only."""
    try:
        record(directory, row, probes)
    except OSError as error:
        raise StoreError(
            f"{directory} cannot be written to ({error}): the results are in the store, and the same command writes "
            "them down once there is space and permission"
        ) from error


def check_items(config: Config, real: RealData) -> None:
    """Raise `ConfigError` where the generator or the feature space cannot take the items that were read, and
    `DataError` where they are not finite, or all one: nothing could be told of what a model makes of them."""
    for name, pool in (("train", real.train), ("heldout", real.heldout)):
        if pool.items.dtype.kind == "f" and not all(np.isfinite(block).all() for block in pool.blocks()):
            raise DataError(f"data={config.data.name}: {name} items have NaN or infinity")
        if all((block == pool.items[0]).all() for block in pool.blocks()):
            raise DataError(f"data={config.data.name}: all {len(pool)} {name} items are equal")
    generators.check(config.generator, real.train.kind.name, real.train.items.shape[1:])
    if "features" in metrics.needs(config.metrics):
        for name in (config.metrics.feature_space, *config.metrics.extra_spaces):
            extraction.check_kind(name, real.train.kind.name)


def begin(config: Config, real: RealData) -> History:
    """Return the history that generation 0 sees: real items and nothing else."""
    if len(real.train) < config.metrics.num_images:  # where data.num_train is null, known only now
        raise ConfigError(
            "metrics.num_images", config.metrics.num_images, f"the floor needs as many real items: {len(real.train)}"
        )
    return History(
        generation=0,
        real=PoolRef.of(real.train, REAL),
        reserve=PoolRef.of(real.reserve, REAL) if real.reserve else None,
        synthetic=(),
        budget=len(real.train),
        seed=config.seed,
    )
