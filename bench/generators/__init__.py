"""Generators: `fit` trains and writes a model, `sample` draws from it, `risk` computes its loss on given items, and
`features` computes its network's features of given items.

A generator is one file or folder. It offers `Config` (a `GeneratorConfig`), `VERSION`, `CITATION`, and the verbs `fit`
and `sample`. It may also offer:

- `KINDS`: the kinds of items that it can learn; images if absent.
- `risk`, and `features` of its own network.
- `check(config, shape)`, `num_evaluations(config)` and `vocab_size(config)`.
- `content(config)`, which identifies files that a training reads, and `prefetch(config)`, which downloads them.
- `extrapolate` and `guide`, which remedies use to combine models.
- `LIKELIHOOD = True`: the total of its risk is minus the log-likelihood of an item, in nats per point or per token, so
  that the value of the true distribution can be subtracted.
- `PROMPTED = True`: its samples continue given items.

The metadata of each field of `Config` state its stage, which decides whether the field enters the spec of a training or
of a sampling. Importing this package loads neither torch nor diffusers, so `check` is fast.
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
    """Return everything in the configuration that changes the loss of a model on given items, and the version of the
    loss code. Raises `ConfigError` if the generator has no `risk`."""
    module, own = registry.module_and_config("generator", config, VERBS)
    if not hasattr(module, "risk"):
        raise ConfigError("generator.name", own.name, "offers no risk, which a score of metrics.scores needs")
    return {"version": registry.version(module, "risk"), "config": stage_values(own, "risk", "train")}


def is_likelihood(config: GeneratorConfig) -> bool:
    """Return whether the total of this generator's risk is minus a log-likelihood, which is comparable with that of the
    true distribution."""
    return getattr(registry.module_and_config("generator", config, VERBS)[0], "LIKELIHOOD", False)


def features_spec(config: GeneratorConfig) -> Any:
    """Return everything in the configuration that changes a model's features of given items, and the version of the
    feature code. Raises `ConfigError` if the generator has no `features`."""
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
    """Raise `ConfigError` if this generator cannot learn items of the given kind and shape."""
    module, own = registry.module_and_config("generator", config, VERBS)
    check_kind(config, kind)
    if hasattr(module, "check"):
        module.check(own, shape)


def check_kind(config: GeneratorConfig, kind: str) -> None:
    """Raise `ConfigError`, which names the generators that can, if this one cannot learn items of the given kind."""
    module, own = registry.module_and_config("generator", config, VERBS)
    kinds = kinds_of(module)
    if kind not in kinds:
        package = registry.ROOMS["generator"].package
        names = registry.names(package)
        able = [name for name in names if kind in kinds_of(registry.load(package, name, "generator.name"))]
        allowed = f"learns {', '.join(kinds)}, but the data are {kind}, which {' and '.join(able)} can learn"
        raise ConfigError("generator.name", own.name, allowed)


def check_vocabulary(config: GeneratorConfig, num_tokens: int | None) -> None:
    """Raise `ConfigError` if this generator's vocabulary is known and smaller than the `num_tokens` of the data.

    num_tokens: The number of different tokens in the data; None: unknown, not checked.
    """
    module, own = registry.module_and_config("generator", config, VERBS)
    known = module.vocab_size(own) if hasattr(module, "vocab_size") else None
    if num_tokens is not None and known is not None and known < num_tokens:
        allowed = f"knows {known} different tokens, but the data have {num_tokens}: it needs a larger vocabulary"
        raise ConfigError("generator.name", own.name, allowed)


def prefetch(config: GeneratorConfig) -> str | None:
    """Download what a training needs besides its items. Return its name, or None if nothing is needed. Raises
    `ConfigError` if it cannot be obtained."""
    module, own = registry.module_and_config("generator", config, VERBS)
    return module.prefetch(own) if hasattr(module, "prefetch") else None


def kinds_of(module: ModuleType) -> tuple[str, ...]:
    """Return the kinds of items that a generator can learn."""
    return getattr(module, "KINDS", ("images",))


def num_steps(config: GeneratorConfig) -> int | None:
    """Return the number of optimiser steps of a training; None if it depends on the number of items, or if the family
    does not train in steps."""
    training = getattr(registry.module_and_config("generator", config, VERBS)[1], "training", None)
    return training.num_steps if training is not None and training.num_epochs is None else None


def num_evaluations(config: GeneratorConfig) -> int | None:
    """Return how often the sampling of an item evaluates the network; None if the family does not offer this number."""
    module, own = registry.module_and_config("generator", config, VERBS)
    return module.num_evaluations(own) if hasattr(module, "num_evaluations") else None


def with_num_steps(config: GeneratorConfig, num_items: int, num_epochs: float | None = None) -> GeneratorConfig:
    """Return the generator with its number of epochs converted to optimiser steps over `num_items` items.

    The number of epochs is `num_epochs`, or that of the configuration if None. A configuration with neither, or without
    a training in steps, is returned unchanged. Raises `ConfigError` if `num_epochs` is given and the generator does not
    train in steps.
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
    """Return the generator with a training of `num_steps`. Raises `ConfigError` if it does not train in steps."""
    own = registry.module_and_config("generator", config, VERBS)[1]
    if getattr(own, "training", None) is None:
        raise ConfigError("retrain_steps", num_steps, f"generator {own.name} does not train in steps: set null")
    return _with_training(config, own, num_steps=num_steps, num_epochs=None)


def short_training(config: GeneratorConfig, num_steps: int, learning_rate_factor: float) -> GeneratorConfig:
    """Return the generator, which must have passed `check_combinable`, with a training of `num_steps` at the constant
    learning rate `learning_rate_factor` times its own."""
    own: Any = registry.module_and_config("generator", config, VERBS)[1]
    rate = learning_rate_factor * own.training.learning_rate
    return _with_training(
        config, own, num_steps=num_steps, num_epochs=None, learning_rate=rate, warmup_steps=0, decay="none"
    )


def _with_training(config: GeneratorConfig, own: Any, **values: Any) -> GeneratorConfig:
    """Return a generator with `values` replaced in its training. own: The configuration class of its module."""
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
        config: Configuration of any generator.
        items: An array of one kind, such as uint8 (N, 3, H, H) images, possibly memory-mapped.
        seed: Seed of everything that the training draws.
        out: Directory to write the model to; tensors are stored as safetensors, never as pickles.
        work: Directory that outlives a killed process. Repeating the same call resumes from the checkpoint there and
            ends in the same bytes (on CUDA only with a deterministic runtime).
        runtime: Device and precision.
        progress: Called with (steps done, total steps).
        init: Directory of a model to start from, instead of seeded random weights.

    Returns:
        Facts for the ledger: steps, images seen, losses, seconds, …

    Raises:
        ConfigError, DataError: The items cannot be trained on; raised before any training.
        TrainingError: The loss or a weight is no longer finite; no model is written.
        Interrupted: SIGTERM was received; a checkpoint is saved.
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

    On one machine, an item depends only on the model and its own seed, not on n, its neighbours or the batch size
    (byte for byte on the CPU; up to the last bits of float arithmetic on CUDA).

    Args:
        config: Configuration of the model's generator.
        model: Directory that `fit` wrote.
        seeds: int64 (n,).
        work: Directory that outlives a killed process; finished blocks are kept there.
        runtime: Device and precision.
        progress: Called with (items done, total items).
        mark: Puts a watermark into the initial noise; only for a generator that passed `check_invertible`.
        prompts: The n items that the samples continue, of the kind of the samples; only for a generator that
            `is_prompted`. An item then also depends on its prompt.

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
    """Return whether the samples of a generator continue given items (`PROMPTED = True` in its module)."""
    return getattr(registry.module_and_config("generator", config, VERBS)[0], "PROMPTED", False)


def check_invertible(config: GeneratorConfig, needed_by: str) -> None:
    """Raise `ConfigError` if the generator's sampler cannot be inverted, from an image to its initial noise.

    A generator that can be inverted offers `invert` and `check_invertible(config, needed_by)`, and its `sample` accepts
    `mark`.
    """
    module, own = registry.module_and_config("generator", config, VERBS)
    if not hasattr(module, "invert"):
        raise ConfigError(
            "generator.name", own.name, f"{needed_by} inverts the sampler, and this generator has no inverse"
        )
    module.check_invertible(own, needed_by)


def invert_spec(config: GeneratorConfig) -> dict[str, Any]:
    """Return everything except model and items that changes the noise that `invert` finds, for store keys."""
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
    """Invert the sampler: return the initial noise from which this model would have drawn the items.

    Args:
        config: Configuration of a generator that passed `check_invertible`.
        model: Directory that `fit` wrote.
        items: N items of the kind that the model was trained on.
        runtime: Device and precision.
        progress: Called with (items done, total items).

    Returns:
        The noise, float32, of the shape of the items.
    """
    module, own = registry.module_and_config("generator", config, VERBS)
    return module.invert(own, model, items, runtime=runtime, progress=progress or _silent)


def check_combinable(config: GeneratorConfig, verb: str, needed_by: str) -> None:
    """Raise `ConfigError`, which names the generators that do, if this one does not offer a verb of `combine`."""
    module, own = registry.module_and_config("generator", config, VERBS)
    if not hasattr(module, verb):
        package = registry.ROOMS["generator"].package
        able = [n for n in registry.names(package) if hasattr(registry.load(package, n, "generator.name"), verb)]
        allowed = f"offers no {verb}, which {needed_by} needs; {' and '.join(able)} do"
        raise ConfigError("generator.name", own.name, allowed)


def combine(config: GeneratorConfig, verb: str, model: Path, self_trained: Path, weight: float, out: Path) -> None:
    """Combine a model with a copy of it that was trained briefly on its own samples.

    Args:
        config: Configuration of a generator that passed `check_combinable`.
        verb: `extrapolate` to move the weights away from the self-trained model, or `guide` to move the sampling away
            from it.
        model: Directory that `fit` wrote.
        self_trained: Directory that `fit` wrote with `init=model`. It is moved into the combined model.
        weight: Strength of the correction; 0 gives the model unchanged.
        out: Directory to write the combined model to, for sampling. It must not exist.
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
        config: Configuration of the model's generator.
        model: Directory that `fit` wrote.
        items: N items of the kind that the model was trained on.
        seeds: int64 (N,), the noise seed of each item, if the loss needs noise. Models that are compared must get the
            same seeds.
        runtime: Device and precision.
        progress: Called with (items done, total items).

    Returns:
        "total" and the parts that the family defines (noise levels for diffusion), float64 (N,) each.
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
    """Compute the model's own network's features of items. The features of an item do not depend on the other items.

    Args:
        config: Configuration of the model's generator.
        model: Directory that `fit` wrote.
        items: N items of the kind that the model was trained on.
        runtime: Device; its autocast is not used.
        progress: Called with (items done, total items).

    Returns:
        float32 (N, d).

    Raises:
        MetricError: The generator returns another shape or dtype, or a feature is NaN or infinite.
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
    """Ignore progress."""
