"""The generation loop: composition → train → sample → score → ledger."""

import time
from pathlib import Path

import numpy as np

from bench import generators, mixing, stages, tracking
from bench.composition import PoolRef
from bench.config import Config, chain_id, to_dict
from bench.console import Console
from bench.metrics import features
from bench.pool import REAL, Pool
from bench.recording import make_row, record, summary
from bench.runtime import resolve
from bench.stages import Workshop
from bench.store import Result, Store


def run_chain(config: Config, console: Console) -> Path:
    """Runs, or takes up again, one chain; returns its directory. What is in the store is not made again, so the same
    command after an interruption goes on where it was, and after the end only reads.

    Raises a `BenchError` for anything that a user can put right, before training where that can be known.
    """
    chain = chain_id(config)
    directory = Path(config.output_dir) / config.name / chain
    directory.mkdir(parents=True, exist_ok=True)
    shop = Workshop(Store(Path(config.store_dir)), resolve(config.runtime), console)

    generators.check(config.generator, config.data.resolution)
    features.feature_space_spec(config.metrics.feature_space, config.metrics.weights)
    console.where = chain
    real, real_result = stages.real_data(shop, config.data)
    num_samples = config.num_samples or max(len(real.train), config.metrics.num_images)
    num_reserve = len(real.reserve) if real.reserve else 0
    mixing.plan(config.mixing, config.seed, config.num_generations, len(real.train), num_reserve, num_samples)
    policy = mixing.resolve(config.mixing)

    tracker = tracking.start(
        config.tracking, chain_id=chain, sweep=config.name, config=to_dict(config), directory=directory
    )
    pools = {pool.id: pool for pool in (real.train, real.reserve) if pool}
    synthetic: tuple[PoolRef, ...] = ()
    model: Result | None = None
    for generation in range(config.num_generations):
        started = time.monotonic()
        console.where = f"{chain} · generation {generation}"
        history = mixing.History(
            generation=generation,
            real=PoolRef.of(real.train, REAL),
            reserve=PoolRef.of(real.reserve, REAL) if real.reserve else None,
            synthetic=synthetic,
            budget=len(real.train),
            seed=config.seed,
        )
        composition = mixing.compose(policy, history)
        generator = stages.with_num_steps(config.generator, len(composition))
        model = stages.train(
            shop, generator, composition, pools, config.seed, generation, model if config.warm_start else None
        )
        samples = stages.sample(shop, generator, model, config.seed, generation, num_samples, config.num_probes)
        pool = Pool.load(samples.path / "pool")
        scored = stages.score(shop, config.metrics, pool, real)

        pools[pool.id] = pool
        synthetic = (*synthetic, PoolRef.of(pool, generation))
        results = {"real": real_result, "train": model, "sample": samples, "score": scored}
        seconds = time.monotonic() - started
        row = make_row(
            config,
            chain,
            generation,
            composition,
            history,
            results,
            shop,
            seconds,
            stages.read_scores(scored),
        )
        probes = np.load(samples.path / "probes.npy", allow_pickle=False)
        record(directory, row, probes)
        tracker.log_generation(row, probes)
        console.say(summary(row, reused=all(r.reused for r in results.values())))
    tracker.finish("finished")
    return directory
