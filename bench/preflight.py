"""Check everything about a chain that can be checked before any work, in one place for single runs and sweeps."""

from dataclasses import replace

from bench import datasets, earlier, generators, metrics, mixing, provenance, registry, remedies, selection, vetting
from bench.composition import Composition, PoolRef
from bench.config import Config
from bench.errors import ConfigError, DataError, ReserveError, raise_all
from bench.features import own_network
from bench.mixing.shared.history import History
from bench.pool import REAL

MOST_PLANNED = 10**7
"""Largest pool for which the draws are planned in advance. For a larger one, a run first checks whether its items fit
into memory."""


def check(config: Config) -> None:
    """Import every component that a chain names, bind its parameters, and check that the components fit together. Also
    check that there are enough real items, if the configuration alone says how many there are.

    Raises `ConfigError`, which names the key or all wrong keys, and `DataError`. Loads no data and no weights, and does
    not import torch for the project's own components.
    """
    wrong: list[ConfigError] = []
    for part in (check_data_and_generator, check_rules, check_scores):
        try:
            part(config)
        except ConfigError as error:
            wrong.append(error)
    raise_all(wrong)
    earlier.find(config)
    num_train, num_reserve = config.data.num_train, getattr(config.data, "num_reserve", None)
    num_samples = config.num_samples or default_num_samples(config, num_train or 0)
    if num_train is None or num_reserve is None:
        return
    if max(num_train, num_reserve, num_samples) <= MOST_PLANNED:
        reserve = PoolRef("reserve", num_reserve, REAL) if num_reserve else None
        history = start(config, PoolRef("real", num_train, REAL), reserve)
        plan(config, history, num_samples)


def check_data_and_generator(config: Config) -> None:
    """Check that data set and generator exist and fit together. Raises `ConfigError`."""
    module, data = registry.module_and_config("data", config.data, datasets.VERBS)
    registry.version(module, "real")
    kind = getattr(module, "KIND", "images")
    generators.check_kind(config.generator, kind)
    if kind == "images":
        generators.check(config.generator, kind, (3, config.data.resolution, config.data.resolution))
    if kind == "tokens" and hasattr(data, "block_size"):
        generators.check(config.generator, kind, (data.block_size,))
        generators.check_vocabulary(
            config.generator, module.vocab_size(data) if hasattr(module, "vocab_size") else None
        )
    provenance.check(config, kind)
    generators.train_spec(config.generator)
    generators.sample_spec(config.generator)
    remedy = remedies.resolve(config.remedy)
    if remedy:
        generators.check_combinable(config.generator, remedy.verb, f"remedy={remedy.name}")
    needs, spaces = metrics.needs(config.metrics), (config.metrics.feature_space, *config.metrics.extra_spaces)
    if needs & {"model", "first_model"}:
        generators.risk_spec(config.generator)
    if "features" in needs and own_network.NAME in spaces:
        generators.features_spec(config.generator)
    generators.with_num_steps(config.generator, config.metrics.num_images, config.retrain_epochs)
    if config.retrain_steps is not None:
        generators.with_exact_steps(config.generator, config.retrain_steps)


def check_rules(config: Config) -> None:
    """Check that policy, vetting rule and selection exist and take their parameters. Raises `ConfigError`."""
    mixing.resolve(config.mixing)
    vetted = vetting.resolve(config.vetting)
    vetting.num_calibration(vetted)
    if getattr(config.vetting, "first_mover_seed", None) == config.seed:
        allowed = "is this chain's own seed, but the first mover must be another chain"
        raise ConfigError("vetting.first_mover_seed", config.seed, allowed)
    selected = selection.resolve(config.selection, config.num_samples or config.metrics.num_images)
    for group, stage, rule in (("vetting", "vet", vetted), ("selection", "select", selected)):
        if rule is None:
            continue
        registry.version(rule.module, stage)
        if "features" in registry.needs(rule, group) and "features" not in metrics.needs(config.metrics):
            allowed = f"{group}={rule.name} needs features, and none of them has any"
            raise ConfigError("metrics.scores", config.metrics.scores, allowed)
    if config.join.chain and "features" in vetting.needs(vetted) and config.metrics.feature_space == own_network.NAME:
        allowed = "a newcomer's generation 0 is vetted before its network is trained: choose another space"
        raise ConfigError("metrics.feature_space", own_network.NAME, allowed)


def check_scores(config: Config) -> None:
    """Check that score families and feature spaces exist and take their options. Raises `ConfigError`."""
    module, _ = registry.module_and_config("data", config.data, datasets.VERBS)
    metrics.check_kind(config.metrics, getattr(module, "KIND", "images"))
    metrics.score_spec(config.metrics)
    metrics.in_extra_spaces(config.metrics)


def num_calibration(config: Config) -> int:
    """Return how many real items the vetting of a chain uses for calibration."""
    return vetting.num_calibration(vetting.resolve(config.vetting))


def free_reserve(config: Config, num_reserve: int) -> int:
    """Return how many items of the reserve a policy may draw: all except those that calibrate the vetting rule. Raises
    `ConfigError` if the reserve has too few items for the calibration."""
    taken = num_calibration(config)
    if taken > num_reserve:
        more = (
            f"data.num_reserve={taken} draws them"
            if hasattr(config.data, "num_reserve")
            else "a smaller data.num_train leaves more"
        )
        raise ConfigError(
            "vetting.num_calibration",
            taken,
            f"the reserve has {num_reserve} real items that no chain trains on; {more}",
        )
    return num_reserve - taken


def start(config: Config, real: PoolRef, reserve: PoolRef | None) -> History:
    """Return the history for generation 0: the real pool and the free part of the reserve."""
    num_free = free_reserve(config, reserve.num_items if reserve else 0)
    free = replace(reserve, num_items=num_free) if reserve and num_free else None
    return History(0, real, free, synthetic=(), budget=real.num_items, seed=config.seed)


def default_num_samples(config: Config, budget: int) -> int:
    """Return the default number of samples per generation: twice as many as generation 0 trains on, so that a policy
    that draws `budget` of them leaves as many unseen (`bench.twin`). With a selection, it is as many as generation 0
    trains on, because the strength of a selection is the share of candidates that it keeps. It is never smaller than
    the number of samples that are scored.

    budget: The number of items that generation 0 trains on.
    """
    drawn = 2 * budget if config.selection.name == registry.NONE else budget
    return max(drawn, config.metrics.num_images)


def plan(config: Config, history: History, num_samples: int) -> list[Composition]:
    """Return the compositions of a whole chain (`mixing.plan`). Raises `DataError` if a pool is too small or the policy
    fails. If fresh real items run out, the message says how many the chain needs and which change provides them. Raises
    `ConfigError` if the vetting rule would keep too few items or has no undrawn samples to train on."""
    policy = mixing.resolve(config.mixing)
    try:
        drawn = mixing.plan(policy, history, config.num_generations, num_samples)
    except ReserveError as error:
        raise ReserveError(f"{error}: {_provision(config, history, num_samples)}") from error
    if config.join.chain is None:  # for a newcomer, it is unknown which items are real
        for generation, composition in enumerate(drawn):
            vetting.check_enough(config.vetting, generation, composition, history.real)
            vetting.check_undrawn(config.vetting, generation, composition, num_samples)
    return drawn


def _provision(config: Config, history: History, num_samples: int) -> str:
    """Return as text how many fresh real items a chain needs, and the configuration change that provides them."""
    calibration = num_calibration(config)
    plenty = PoolRef("plenty", 2 * history.budget * config.num_generations + calibration, REAL)
    endless = start(config, history.real, plenty)
    try:
        drawn = mixing.plan(mixing.resolve(config.mixing), endless, config.num_generations, num_samples)
    except DataError:
        return "fewer generations or a smaller share of fresh items need fewer"
    parts = [part for composition in drawn for part in composition.parts if part.pool.id == plenty.id]
    needed = sum(len(part.rows) for part in parts)
    takes = f"{config.num_generations} generations take {needed} in all"
    if hasattr(config.data, "num_reserve"):
        return f"{takes}; data.num_reserve={needed + calibration} draws them"
    left = history.reserve.num_items if history.reserve else 0
    fits = int((history.budget + left) / (1 + needed / history.budget))  # the need grows with num_train
    most = f"data.num_train={fits} leaves enough" if fits >= 2 else "there are too few real items"
    return f"{takes}, and {left} of the real items are neither trained on nor held out; {most}"
