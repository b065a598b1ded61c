"""The vetting stage: gather the evidence that a rule may use, and store the rule's decision on a composition."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import generators, provenance, registry, stages, vetting, watermarks
from bench.code_versions import VET_VERSION
from bench.composition import Composition, Part, PoolRef
from bench.config import Config, WatermarkConfig
from bench.datasets import RealData
from bench.machine.device import Progress
from bench.metrics.shared.classifier import fit_classifier
from bench.pool import REAL, Pool
from bench.registry import Rule
from bench.seeds import derive_seed
from bench.stages import StageContext
from bench.store import Result


def vet(
    context: StageContext,
    config: Config,
    generation: int,
    composition: Composition,
    pools: dict[str, Pool],
    real: RealData,
    models: Sequence[Result],
) -> tuple[Composition, Result | None]:
    """Drop the items that the vetting rule does not keep. Without a rule, return the composition unchanged, and no
    result.

    Args:
        context: Store, device, console.
        config: The chain's configuration; `config.vetting` names the rule.
        generation: The generation that trains on the composition.
        composition: The composition that the mixing policy drew.
        pools: The pools that the composition was drawn from, by id.
        real: The pools of real items. The rule sees the pool that the chain treats as real, and may use items from the
            end of the reserve for calibration.
        models: The trainings or remedies of the previous generations.

    Returns:
        The composition to train on, and the result. It holds the compositions `drawn/` and `vetted/`, `kept.npy`, bool
        (N,), in the order of the drawn composition, and `scores.npy`, float (N,), if the rule returns scores.
    """
    rule = vetting.resolve(config.vetting)
    if rule is None:
        return composition, None
    seed = derive_seed(config.seed, generation, "vet")
    refill_seed = derive_seed(config.seed, generation, "refill") if getattr(config.vetting, "refill", False) else None

    def produce(out: Path, work: Path) -> dict[str, Any]:
        started = time.monotonic()
        known = evidence(context, config, rule, generation, composition, pools, real)
        with context.console.stage(f"vet {len(composition)} items", unit="items") as progress:
            if "past" in vetting.needs(rule):
                known["past"] = past(context, config, generation, models, progress)
            decision = vetting.decide(rule, composition, pools, real.believed, seed, **known)
        vetted = vetting.apply(rule, composition, decision, PoolRef.of(real.believed, REAL), refill_seed)
        for name, part in (("drawn", composition), ("vetted", vetted)):
            (out / name).mkdir()
            part.save(out / name)
        np.save(out / "kept.npy", decision.kept, allow_pickle=False)
        if decision.scores is not None:
            np.save(out / "scores.npy", decision.scores, allow_pickle=False)
        seconds = round(time.monotonic() - started, 3)
        calibration = {"num_calibration": num} if (num := vetting.num_calibration(rule)) else {}
        counted = vetting.facts(composition, decision, vetted, pools)
        return {"rule": rule.name, **counted, **calibration, "seconds": seconds}

    spec = {
        "composition": composition.id,
        "rule": rule.name,
        "parameters": rule.parameters,
        "code": registry.version(rule.module, "vet"),
        "real": real.believed.id,
        "seed": seed,
        **({"refill_seed": refill_seed} if refill_seed is not None else {}),
        **evidence_spec(context, config, rule, generation, real, models),
        "version": VET_VERSION,
    }
    result = context.store.make("vet", spec, produce)
    return Composition.load(result.path / "vetted"), result


def evidence_spec(
    context: StageContext, config: Config, rule: Rule, generation: int, real: RealData, models: Sequence[Result]
) -> dict[str, Any]:
    """Return what identifies the evidence that a rule needs in addition to the composition; {} for a rule that needs
    none."""
    needs = vetting.needs(rule)
    spec: dict[str, Any] = {}
    if "calibration" in needs and real.reserve:
        spec["calibration"] = [real.reserve.id, vetting.num_calibration(rule)]
    if "past" in needs:
        spec["models"] = [model.key for model in models]
        spec["arithmetic"] = context.runtime.arithmetic
        spec |= provenance.spec(config, generation)
    if _is_detected(rule, generation, real):
        other = first_mover_config(config)
        spec["space"] = stages.space_spec(context, config.metrics)
        spec["first_mover"] = {
            "seed": other.seed,
            "generator": generators.train_spec(other.generator),
            "sampler": generators.sample_spec(other.generator),
            "arithmetic": context.runtime.arithmetic,
        }
    return spec


def evidence(
    context: StageContext,
    config: Config,
    rule: Rule,
    generation: int,
    composition: Composition,
    pools: dict[str, Pool],
    real: RealData,
) -> dict[str, Any]:
    """Return calibration items and features, if the rule needs them, as arguments of `vetting.decide`. For the other
    arguments, see `vet`."""
    num = vetting.num_calibration(rule)
    known: dict[str, Any] = {}
    if num and real.reserve:
        known["calibration"] = real.reserve.items[len(real.reserve) - num :]
    if _is_detected(rule, generation, real):
        describe = partial(stages.extract_features, context, config.metrics)
        assert real.reserve is not None
        known["features"] = vetting.Features(
            of_items=np.concatenate([describe(pools[p.pool.id], "training items")[p.rows] for p in composition.parts]),
            of_calibration=describe(real.reserve, "the reserve")[len(real.reserve) - num :],
            of_first_mover=describe(first_mover(context, config, real, num), "the first mover's samples"),
            of_last_generation=_undrawn(describe, generation - 1, composition, pools) if generation else None,
            fit=partial(fit_detector, device=context.runtime.device.type),
        )
    return known


def _undrawn(
    describe: Callable[[Pool, str], np.ndarray], generation: int, composition: Composition, pools: dict[str, Pool]
) -> np.ndarray:
    """Return the features of those samples of a generation that a composition did not draw, float32 (n, d); (0, 0) if
    it drew none of them."""
    for part in composition.parts:
        if part.pool.generation == generation:
            others = np.setdiff1d(np.arange(part.pool.num_items), part.rows)
            return describe(pools[part.pool.id], "samples")[others]
    return np.empty((0, 0), np.float32)


def _is_detected(rule: Rule, generation: int, real: RealData) -> bool:
    """Return whether a rule judges this generation by features. It does not in generation 0, which has only real items
    unless the chain is a newcomer."""
    return "features" in vetting.needs(rule) and (generation > 0 or real.joined is not None)


def past(
    context: StageContext, config: Config, generation: int, models: Sequence[Result], progress: Progress
) -> vetting.Past:
    """Return the facts about the chain before a generation trains that a rule may use."""
    if watermarks.resolve(config.watermark) is None:
        return vetting.Past(generation, None)
    folders = [model.path / "model" for model in models]
    return vetting.Past(generation, provenance.reader(config, folders, context.runtime, progress))


def first_mover_config(config: Config) -> Config:
    """Return the configuration of the first mover: the same as this chain's, with another seed and without a
    watermark."""
    return replace(config, seed=config.vetting.first_mover_seed, watermark=WatermarkConfig())  # type: ignore[attr-defined]


def first_mover(context: StageContext, config: Config, real: RealData, num_samples: int) -> Pool:
    """Return samples of the first mover's generation 0, which trains on the whole real pool, with only real items even
    if this chain is a newcomer. The training is shared with a chain that has that seed."""
    other = first_mover_config(config)
    quiet = replace(context, on_loss=lambda generation, done, total, loss: None)
    everything = Composition((Part(PoolRef.of(real.train, REAL), np.arange(len(real.train))),))
    model = stages.train(quiet, other, 0, everything, {real.train.id: real.train}, None)
    sampled = stages.sample(quiet, other, 0, model, num_samples, real.train)
    return Pool.load(sampled.path / "pool")


def fit_detector(real: np.ndarray, generated: np.ndarray, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a logistic regression that distinguishes features of generated items, float (M, d), from those of real items,
    float (N, d). Return a function that maps features, float (n, d), to the log odds of being generated, float64
    (n,)."""
    together = np.concatenate([real, generated])
    labels = np.repeat([0, 1], [len(real), len(generated)])
    model = fit_classifier(together, labels, 2, device)
    return model.log_odds
