"""The stage between training and sampling: apply the chain's remedy to the model that a generation is drawn from."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import generators, remedies
from bench.code_versions import REMEDY_VERSION
from bench.config import Config, GeneratorConfig
from bench.pool import Pool, Records
from bench.seeds import derive_seed
from bench.stages import StageContext
from bench.store import Result


def remedied(context: StageContext, config: Config, generation: int, trained: Result) -> Result:
    """Train the model of a generation briefly on its own samples, and combine both models. Without a remedy, return the
    training itself.

    The own samples are drawn from separate seeds and carry no watermark, because they are used in this stage only.

    Args:
        context: Store, device, console.
        config: The chain's configuration; `config.remedy` names the remedy.
        generation: The generation of the model; it determines the seeds.
        trained: The training of this generation.

    Returns:
        A result that holds `model/`, which is sampled and scored, and with a remedy `own/`, the pool of own samples.
    """
    remedy = remedies.resolve(config.remedy)
    if remedy is None:
        return trained
    about, generator = remedy.config, short_training(config)
    seed, model = derive_seed(config.seed, generation, "self-train"), trained.path / "model"

    def produce(out: Path, work: Path) -> dict[str, Any]:
        started = time.monotonic()
        runtime = context.runtime
        seeds = np.array(
            [derive_seed(config.seed, generation, "own sample", i) for i in range(about.num_samples)], np.int64
        )
        what = f"draw {len(seeds)} own samples"
        with context.console.stage(what, unit="items", compiles=runtime.compile) as progress:
            items = generators.sample(
                generator, model, seeds, work=_folder(work / "own"), runtime=runtime, progress=progress
            )
        Pool(items, Records.synthetic(generation, seeds)).save(out / "own")
        self_trained = out / "self_trained"
        with context.console.stage("train on own samples", unit="steps", compiles=runtime.compile) as progress:
            trained_facts = generators.fit(
                generator,
                items,
                seed=seed,
                out=self_trained,
                work=_folder(work / "steps"),
                runtime=runtime,
                progress=progress,
                init=model,
            )
        generators.combine(generator, remedy.verb, model, self_trained, about.weight, out / "model")
        evaluations = generators.num_evaluations(generator)
        return {
            "rule": remedy.name,
            "num_samples": len(seeds),
            **({"network_evaluations": evaluations} if evaluations else {}),
            "num_steps": trained_facts["num_steps"],
            "num_networks": remedy.num_networks,
            "seconds": round(time.monotonic() - started, 3),
        }

    spec = {
        "model": trained.key,
        **remedy.spec(),
        "generator": generators.train_spec(generator),
        "sampler": generators.sample_spec(generator),
        "generation": generation,
        "seed": config.seed,
        "arithmetic": context.runtime.arithmetic,
        "version": REMEDY_VERSION,
    }
    return context.store.make("remedy", spec, produce)


def short_training(config: Config) -> GeneratorConfig:
    """Return the generator's configuration for the short training on own samples that the chain's remedy specifies."""
    about: Any = config.remedy
    return generators.short_training(config.generator, about.num_steps, about.learning_rate_factor)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
