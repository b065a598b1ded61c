"""The generation loop: composition → train → sample → score → ledger."""

import time
from pathlib import Path

import numpy as np

from bench import generators, mixing, stages
from bench.composition import PoolRef
from bench.config import Config, TrackingConfig, chain_id, to_dict
from bench.datasets import RealData
from bench.errors import ConfigError
from bench.features.shared import extraction
from bench.machine import distributed
from bench.machine.console import Console
from bench.machine.device import resolve
from bench.mixing import History
from bench.pool import REAL, Pool
from bench.recording import make_row, record, summary
from bench.stages import Workshop
from bench.store import Result
from bench.store.group import open_store
from bench.tracking import trackers


def run_chain(config: Config, console: Console) -> Path:
    """Run or resume one chain; return its directory. What is in the store is not made again, so the same command
    resumes after an interruption, and only reads after the end.

    Raises a `BenchError` for anything that a user can put right, before training where that can be known.
    """
    chain = chain_id(config)
    directory = Path(config.output_dir) / config.name / chain
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("output_dir", config.output_dir, f"cannot be written to: {error.strerror}") from error
    console.where = chain
    generators.check(config.generator, config.data.resolution)
    extraction.prefetch(config.metrics.feature_space, config.metrics.weights)
    policy = mixing.resolve(config.mixing)
    shop = Workshop(open_store(Path(config.store_dir)), resolve(config.runtime), console)
    real, real_result = stages.real_data(shop, config.data)
    history = begin(config, real)
    num_samples = config.num_samples or max(history.budget, config.metrics.num_images)
    mixing.plan(policy, history, config.num_generations, num_samples)

    pools = {pool.id: pool for pool in (real.train, real.reserve) if pool}
    model: Result | None = None
    settings = config.tracking if distributed.is_first() else TrackingConfig()
    with trackers.mirror(settings, chain, config.name, to_dict(config), directory) as tracker:
        for generation in range(config.num_generations):
            started = time.monotonic()
            console.where = f"{chain} · generation {generation}"
            composition = mixing.compose(policy, history)
            model = stages.train(shop, config, generation, composition, pools, previous=model)
            sampled = stages.sample(shop, config, generation, model, num_samples)
            samples = Pool.load(sampled.path / "pool")
            scored = stages.score(shop, config.metrics, samples, real, composition, pools)

            results = {"real": real_result, "train": model, "sample": sampled, "score": scored}
            counts = composition.counts(history.real, history.reserve)
            row = make_row(config, shop, generation, counts, results, time.monotonic() - started)
            probes = np.load(sampled.path / "probes.npy", allow_pickle=False)
            if distributed.is_first():
                record(directory, row, probes)
            tracker.log_generation(row, probes)
            console.say(summary(row, reused=all(result.reused for result in results.values())))

            pools[samples.id] = samples
            history = history.grown(PoolRef.of(samples, generation))
    return directory


def begin(config: Config, real: RealData) -> History:
    """The history that generation 0 sees: real images and nothing else."""
    if len(real.train) < config.metrics.num_images:  # where data.num_train is null, known only now
        raise ConfigError(
            "metrics.num_images", config.metrics.num_images, f"the floor needs as many real images: {len(real.train)}"
        )
    return History(
        generation=0,
        real=PoolRef.of(real.train, REAL),
        reserve=PoolRef.of(real.reserve, REAL) if real.reserve else None,
        synthetic=(),
        budget=len(real.train),
        seed=config.seed,
    )
