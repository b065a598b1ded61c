"""Generators: `fit` writes a model, `sample` draws from it, `risk` tells its loss on given items, `features` what its
network makes of them.

A generator is one file or folder. It offers `Config` (a `GeneratorConfig`), `VERSION`, `CITATION`, the kinds of items
that it can learn (`KINDS`, images if absent), the verbs `fit` and `sample`, and where it can `risk`, `features` (of its
own network), `check(config, shape)`, `num_evaluations(config)`, `vocab_size(config)`, `content(config)`, which
identifies files that a training reads, `prefetch(config)`, which downloads them, and `extrapolate` and `guide`, which
remedies are made with. `LIKELIHOOD = True` states that the total of its risk is minus the log-likelihood of an item, in
nats per point or per token, so that what the truth has can be subtracted; `PROMPTED = True` that its samples continue
given items.

What enters the spec of a training or a sampling follows from the fields of `Config`, whose metadata state the stage.
Importing this package loads neither torch nor diffusers, so `check` answers at once.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import registry
from bench.config import SCHEMA, GeneratorConfig
from bench.errors import ConfigError, DataError, MetricError, SamplingError
from bench.kinds import kind_of
from bench.options import stage_values

if TYPE_CHECKING:
    import torch

    from bench.kinds import Items
    from bench.machine.device import Runtime

VERBS = ("fit", "sample")
Progress = Callable[[int, int], None]


def train_spec(config: GeneratorConfig) -> dict[str, Any]:
    """Return everything in the configuration that changes a trained model, and the version of the training code."""
    return _spec(config, "train")


def sample_spec(config: GeneratorConfig) -> dict[str, Any]:
    """Return everything in the configuration that changes a sample, given the model, and the version of the code."""
    return _spec(config, "sample")


def risk_spec(config: GeneratorConfig) -> Any:
    """Return everything in the configuration that changes the loss of a model on given items, and the version of its
    code. Raises `ConfigError` where the generator has no `risk`."""
    module, own = registry.module_and_config("generator", config, VERBS)
    if not hasattr(module, "risk"):
        raise ConfigError("generator.name", own.name, "offers no risk, which a score of metrics.scores needs")
    return {"version": registry.version(module, "risk"), "config": stage_values(own, "risk", "train")}


def is_likelihood(config: GeneratorConfig) -> bool:
    """Return whether the total of this generator's risk is minus a log-likelihood, comparable with the truth's."""
    return getattr(registry.module_and_config("generator", config, VERBS)[0], "LIKELIHOOD", False)


def features_spec(config: GeneratorConfig) -> Any:
    """Return everything in the configuration that changes the features that a model has of given items, and the version
    of their code. Raises `ConfigError` where the generator has no `features`."""
    module, own = registry.module_and_config("generator", config, VERBS)
    if not hasattr(module, "features"):
        raise ConfigError(
            "generator.name", own.name, "offers no features, which metrics.feature_space=own_network needs"
        )
    return {"version": registry.version(module, "features"), "config": stage_values(own, "features", "train")}


def _spec(config: GeneratorConfig, stage: str) -> dict[str, Any]:
    module, own = registry.module_and_config("generator", config, VERBS)
    version = registry.version(module, stage)
    about = {"generator": own.name, "version": version, "schema": SCHEMA, "config": stage_values(own, stage, "train")}
    content = module.content(own) if hasattr(module, "content") else None
    return about if content is None else {**about, "content": content}


def check(config: GeneratorConfig, kind: str, shape: tuple[int, ...]) -> None:
    """Raise `ConfigError` where this generator cannot learn items of that kind and shape."""
    module, own = registry.module_and_config("generator", config, VERBS)
    check_kind(config, kind)
    if hasattr(module, "check"):
        module.check(own, shape)


def check_kind(config: GeneratorConfig, kind: str) -> None:
    """Raise `ConfigError` that names those that can where this generator cannot learn items of that kind."""
    module, own = registry.module_and_config("generator", config, VERBS)
    kinds = kinds_of(module)
    if kind not in kinds:
        package = registry.ROOMS["generator"].package
        names = registry.names(package)
        able = [name for name in names if kind in kinds_of(registry.load(package, name, "generator.name"))]
        allowed = f"learns {', '.join(kinds)}, and the data are {kind}, which {' and '.join(able)} can learn"
        raise ConfigError("generator.name", own.name, allowed)


def check_vocabulary(config: GeneratorConfig, num_tokens: int | None) -> None:
    """Raise `ConfigError` where this generator says that it knows fewer tokens than the data have; None: unknown."""
    module, own = registry.module_and_config("generator", config, VERBS)
    known = module.vocab_size(own) if hasattr(module, "vocab_size") else None
    if num_tokens is not None and known is not None and known < num_tokens:
        allowed = f"knows {known} different tokens, and the data have {num_tokens}: it needs a larger vocabulary"
        raise ConfigError("generator.name", own.name, allowed)


def prefetch(config: GeneratorConfig) -> str | None:
    """Download what a training needs beside its items. Return what that is; None: nothing. Raises `ConfigError` where
    it cannot be had."""
    module, own = registry.module_and_config("generator", config, VERBS)
    return module.prefetch(own) if hasattr(module, "prefetch") else None


def kinds_of(module: ModuleType) -> tuple[str, ...]:
    """Return the kinds of items that a generator can learn."""
    return getattr(module, "KINDS", ("images",))


def num_steps(config: GeneratorConfig) -> int | None:
    """Return the optimiser steps of a training; None where that depends on the number of items, or for a family that
    does not train in steps."""
    training = getattr(registry.module_and_config("generator", config, VERBS)[1], "training", None)
    return training.num_steps if training is not None and training.num_epochs is None else None


def num_evaluations(config: GeneratorConfig) -> int | None:
    """Return how often the sampling of an item evaluates the network; None where the family does not tell."""
    module, own = registry.module_and_config("generator", config, VERBS)
    return module.num_evaluations(own) if hasattr(module, "num_evaluations") else None


def with_num_steps(config: GeneratorConfig, num_items: int, num_epochs: float | None = None) -> GeneratorConfig:
    """Return the generator with `num_epochs`, or else its own, counted out in steps over `num_items`.

    Raises `ConfigError` where epochs are asked for of a generator that does not train in steps.
    """
    own = registry.module_and_config("generator", config, VERBS)[1]
    training = getattr(own, "training", None)
    if training is None:
        if num_epochs is not None:
            raise ConfigError("retrain_epochs", num_epochs, f"generator {own.name} does not train in epochs: set null")
        return config
    num_epochs = num_epochs or training.num_epochs
    if num_epochs is None:
        return config
    num_steps = math.ceil(num_epochs * num_items / training.batch_size)
    return _with_training(config, own, num_steps=num_steps, num_epochs=None)


def with_exact_steps(config: GeneratorConfig, num_steps: int) -> GeneratorConfig:
    """Return the generator with a training of `num_steps`. Raises `ConfigError` where it does not train in steps."""
    own = registry.module_and_config("generator", config, VERBS)[1]
    if getattr(own, "training", None) is None:
        raise ConfigError("retrain_steps", num_steps, f"generator {own.name} does not train in steps: set null")
    return _with_training(config, own, num_steps=num_steps, num_epochs=None)


def short_training(config: GeneratorConfig, num_steps: int, learning_rate_factor: float) -> GeneratorConfig:
    """Return a generator that passed `check_combinable` with a training of `num_steps` at a constant share of its
    learning rate."""
    own: Any = registry.module_and_config("generator", config, VERBS)[1]
    rate = learning_rate_factor * own.training.learning_rate
    return _with_training(
        config, own, num_steps=num_steps, num_epochs=None, learning_rate=rate, warmup_steps=0, decay="none"
    )


def _with_training(config: GeneratorConfig, own: Any, **values: Any) -> GeneratorConfig:
    """Return a generator with other values of its training. own: its module's configuration."""
    training = replace(own.training, **values)
    if own is config:
        return replace(own, training=training)  # type: ignore[call-arg]
    given = {**config.parameters.get("training", {}), **values}  # type: ignore[attr-defined]
    return replace(config, parameters={**config.parameters, "training": given})  # type: ignore[attr-defined, call-arg]


def fit(
    config: GeneratorConfig,
    items: "Items",
    *,
    seed: int,
    out: Path,
    work: Path,
    runtime: "Runtime",
    progress: Progress | None = None,
    init: Path | None = None,
) -> dict[str, Any]:
    """Train on `items` and write the model into the directory `out`.

    Args:
        config: Of any generator.
        items: An array of one kind, such as uint8 (N, 3, H, H) images, possibly memory-mapped.
        seed: Of everything that the training draws.
        out: Directory of the model; tensors as safetensors, no pickles.
        work: Directory that outlives a killed process; the same call again resumes from the checkpoint there, and ends
            in the same bytes (on CUDA only with a deterministic runtime).
        runtime: Device and precision.
        progress: Called with (steps done, steps in all).
        init: Directory of a model to start from, instead of seeded random weights.

    Returns:
        Facts for the ledger: steps, images seen, losses, seconds, …

    Raises:
        ConfigError, DataError: The items cannot be trained on; before any training.
        TrainingError: The loss or a weight is no longer a number; nothing is written.
        Interrupted: SIGTERM came; a checkpoint is saved.
    """
    if len(items) == 0:
        raise DataError("there are no items to train on")
    check(config, kind_of(items).name, tuple(items.shape[1:]))
    module, own = registry.module_and_config("generator", config, VERBS)
    return module.fit(
        own, items, seed=seed, out=out, work=work, runtime=runtime, progress=progress or _silent, init=init
    )


def sample(
    config: GeneratorConfig,
    model: Path,
    seeds: np.ndarray,
    *,
    work: Path,
    runtime: "Runtime",
    progress: Progress | None = None,
    mark: "Callable[[torch.Tensor], torch.Tensor] | None" = None,
    prompts: np.ndarray | None = None,
) -> np.ndarray:
    """Draw item i from the noise seed `seeds[i]`.

    On one machine an item depends on the model and its own seed alone: not on n, its neighbours, or the batch size
    (byte for byte on the CPU; up to the last bits of float arithmetic on CUDA).

    Args:
        config: Of the generator that the model is of.
        model: Directory that `fit` wrote.
        seeds: int64 (n,).
        work: Directory that outlives a killed process; finished blocks are kept there.
        runtime: Device and precision.
        progress: Called with (items done, items in all).
        mark: Puts a watermark into initial noise, of a generator that passed `check_invertible`.
        prompts: What each item continues, n items of that kind, for a generator that `is_prompted`: then an item
            depends on its prompt, too.

    Returns:
        n items of the kind that the model was trained on.

    Raises:
        SamplingError: The model or an item has NaN or infinity.
    """
    module, own = registry.module_and_config("generator", config, VERBS)
    others = {"mark": mark, "prompts": prompts}
    given = {name: value for name, value in others.items() if value is not None}
    items = module.sample(own, model, seeds, work=work, runtime=runtime, progress=progress or _silent, **given)
    if np.issubdtype(items.dtype, np.floating) and not np.isfinite(items).all():
        raise SamplingError(f"{model}: the samples of generator {own.name} have NaN or infinity")
    return items


def is_prompted(config: GeneratorConfig) -> bool:
    """Return whether samples of a generator continue given items (`PROMPTED = True` in its module)."""
    return getattr(registry.module_and_config("generator", config, VERBS)[0], "PROMPTED", False)


def check_invertible(config: GeneratorConfig, needed_by: str) -> None:
    """Raise `ConfigError` where images of a generator cannot be followed back to their initial noise.

    Such a generator offers `invert`, `check_invertible(config, needed_by)`, and takes `mark` in `sample`.
    """
    module, own = registry.module_and_config("generator", config, VERBS)
    if not hasattr(module, "invert"):
        raise ConfigError(
            "generator.name", own.name, f"{needed_by} inverts the sampler, and this generator has no inverse"
        )
    module.check_invertible(own, needed_by)


def invert_spec(config: GeneratorConfig) -> dict[str, Any]:
    """Return what changes the noise that `invert` finds, apart from model and items, for store keys."""
    module = registry.module_and_config("generator", config, VERBS)[0]
    return {"sampler": sample_spec(config), "version": registry.version(module, "invert")}


def invert(
    config: GeneratorConfig,
    model: Path,
    items: "Items",
    *,
    runtime: "Runtime",
    progress: Progress | None = None,
) -> np.ndarray:
    """Follow items back to the initial noise that this model would have drawn them from.

    Args:
        config: Of a generator that passed `check_invertible`.
        model: Directory that `fit` wrote.
        items: N items of the kind that the model was trained on.
        runtime: Device and precision.
        progress: Called with (items done, items in all).

    Returns:
        float32, of the shape of the items.
    """
    module, own = registry.module_and_config("generator", config, VERBS)
    return module.invert(own, model, items, runtime=runtime, progress=progress or _silent)


def check_combinable(config: GeneratorConfig, verb: str, needed_by: str) -> None:
    """Raise `ConfigError` that names those that can where a generator does not offer a verb of `combine`."""
    module, own = registry.module_and_config("generator", config, VERBS)
    if not hasattr(module, verb):
        package = registry.ROOMS["generator"].package
        able = [n for n in registry.names(package) if hasattr(registry.load(package, n, "generator.name"), verb)]
        allowed = f"offers no {verb}, which {needed_by} needs; {' and '.join(able)} do"
        raise ConfigError("generator.name", own.name, allowed)


def combine(config: GeneratorConfig, verb: str, model: Path, self_trained: Path, weight: float, out: Path) -> None:
    """Make one model of a model and of the same after a short training on its own samples.

    Args:
        config: Of a generator that passed `check_combinable`.
        verb: `extrapolate` its weights away from self-training, or `guide` its sampling away from it.
        model: Directory that `fit` wrote.
        self_trained: Directory that `fit` wrote, with `init=model`; it becomes a part of the outcome.
        weight: 0 for the model as it is.
        out: Directory of the outcome, to sample from, which is not there yet.
    """
    getattr(registry.module_and_config("generator", config, VERBS)[0], verb)(model, self_trained, weight, out)


def risk(
    config: GeneratorConfig,
    model: Path,
    items: "Items",
    seeds: np.ndarray,
    *,
    runtime: "Runtime",
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Compute the model's own loss on items that it may or may not have been trained on.

    Args:
        config: Of the generator that the model is of.
        model: Directory that `fit` wrote.
        items: N items of the kind that the model was trained on.
        seeds: int64 (N,), of the noise of each item, where the loss needs one: the same for every model compared.
        runtime: Device and precision.
        progress: Called with (items done, items in all).

    Returns:
        "total" and whatever parts the family has (noise levels for diffusion): float64 (N,) each.
    """
    module, own = registry.module_and_config("generator", config, VERBS)
    return module.risk(own, model, items, seeds, runtime=runtime, progress=progress or _silent)


def features(
    config: GeneratorConfig,
    model: Path,
    items: "Items",
    *,
    runtime: "Runtime",
    progress: Progress | None = None,
) -> np.ndarray:
    """Compute what a model's own network makes of items: a description of each that does not depend on the others.

    Args:
        config: Of the generator that the model is of.
        model: Directory that `fit` wrote.
        items: N items of the kind that the model was trained on.
        runtime: Device; features have no autocast.
        progress: Called with (items done, items in all).

    Returns:
        float32 (N, d).

    Raises:
        MetricError: The generator returns something else, or a feature is NaN or infinite.
    """
    module, own = registry.module_and_config("generator", config, VERBS)
    values = module.features(own, model, items, runtime=replace(runtime, autocast=None), progress=progress or _silent)
    if values.ndim != 2 or len(values) != len(items) or values.dtype != np.float32:
        raise MetricError(
            f"features of generator {own.name} have shape {values.shape} and dtype {values.dtype}, expected float32 "
            f"({len(items)}, d)"
        )
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise MetricError(f"{model}: features of {len(bad)} items are not finite, first item {bad[0]}")
    return values


def _silent(done: int, total: int) -> None:
    """Show no progress."""
