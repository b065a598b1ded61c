"""The selection stage: choose which samples of a generation become its pool."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry, selection, stages
from bench.code_versions import SELECT_VERSION
from bench.config import Config
from bench.metrics.shared.classifier import fit_classifier
from bench.pool import Pool
from bench.seeds import derive_seed
from bench.stages import StageContext
from bench.store import Result


def select(
    context: StageContext, config: Config, generation: int, sampled: Result, num_samples: int, real: Pool
) -> Result:
    """Keep `num_samples` of the samples. Without a rule, return the sampling itself.

    Args:
        context: Store, device, console.
        config: The chain's configuration; `config.selection` names the rule.
        generation: The generation of birth of the samples.
        sampled: The result that holds the candidates.
        num_samples: The number of samples to keep.
        real: The real pool that the chain may train on.

    Returns:
        A result that holds `pool/`, and with a rule `rows.npy`, int64 (n,), the rows of the candidates that were kept.

    Raises:
        DataError: The rule does not return n different rows.
    """
    rule = selection.resolve(config.selection, num_samples)
    if rule is None:
        return sampled
    seed = derive_seed(config.seed, generation, "select")
    needs_features = "features" in selection.needs(rule)

    def produce(out: Path, work: Path) -> dict[str, Any]:
        started = time.monotonic()
        pool = Pool.load(sampled.path / "pool")
        features = evidence(context, config, pool, real) if needs_features else None
        candidates = selection.Candidates(pool, num_samples, real, np.random.default_rng(seed), features)
        with context.console.stage(f"keep {num_samples} of {len(pool)} samples"):
            rows = selection.keep(rule, candidates)
        pool.take(rows).save(out / "pool")
        np.save(out / "rows.npy", rows, allow_pickle=False)
        seconds = round(time.monotonic() - started, 3)
        return {"rule": rule.name, "num_candidates": len(pool), "num_kept": len(rows), "seconds": seconds}

    spec = {
        "sample": sampled.key,
        "rule": rule.name,
        "parameters": rule.parameters,
        "code": registry.version(rule.module, "select"),
        "num_kept": num_samples,
        "real": real.id,
        "seed": seed,
        **({"space": stages.space_spec(context, config.metrics)} if needs_features else {}),
        "version": SELECT_VERSION,
    }
    return context.store.make("select", spec, produce)


def evidence(context: StageContext, config: Config, candidates: Pool, real: Pool) -> selection.Features:
    """Return the features of candidates and real items that a rule may use."""
    return selection.Features(
        of_candidates=np.asarray(stages.extract_features(context, config.metrics, candidates, "candidates")),
        of_real=np.asarray(stages.extract_features(context, config.metrics, real, "real items")),
        labels=real.records.labels,
        label_names=real.label_names,
        fit=partial(fit_classifier, device=context.runtime.device.type),
    )
