"""Protocols: frozen configurations under which a number can be cited.

A protocol is a YAML file in conf/protocol/. `check` compares a chain's configuration, key by key, with the
configuration that the protocol alone composes to. A difference is an error unless the protocol lists the key as free.
With `protocol.strict=false`, differences are instead recorded in every ledger row, and the numbers are marked as
deviating.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from bench.code_versions import code_versions
from bench.config import SCHEMA, Config, from_hydra, identity, to_dict
from bench.errors import ConfigError
from bench.flatten import flatten


def compose_config(overrides: Sequence[str]) -> Config:
    """Return the checked configuration of a command line."""
    return from_hydra(compose_tree(overrides))


def compose_tree(overrides: Sequence[str]) -> DictConfig:
    """Return the tree that Hydra composes from a command line. This also works within a running Hydra app, whose own
    Hydra instance is set aside meanwhile."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    try:
        with initialize_config_module("bench.conf", version_base="1.3"):
            return compose("config", overrides=list(overrides))
    finally:
        GlobalHydra.instance().hydra = running


@functools.cache
def compose_protocol(file: str) -> Config:
    """Return the configuration of `protocol=<file>` without other overrides. It is cached and must not be changed."""
    return compose_config([f"protocol={file}"])


def check(config: Config) -> None:
    """Raise `ConfigError` with the first key that deviates from the protocol. With `protocol.strict=false`, fill in
    `config.protocol.deviations` instead. Do nothing if the chain has no protocol."""
    if config.protocol.name is None:
        return
    try:
        protocol = compose_protocol(config.protocol.name)
    except HydraException as error:
        raise ConfigError("protocol.name", config.protocol.name, "there is no such file in conf/protocol/") from error
    if (config.protocol.version, config.protocol.free) != (protocol.protocol.version, protocol.protocol.free):
        raise ConfigError(
            "protocol", to_dict(config.protocol), "version and free keys are the protocol's own, not a run's"
        )
    deviations = departures(protocol, to_dict(config))
    if deviations and config.protocol.strict:
        key, (frozen_value, given) = next(iter(deviations.items()))
        allowed = config.protocol.free.get(key, [frozen_value])
        raise ConfigError(
            key,
            given,
            f"protocol {config.protocol.name} v{config.protocol.version} allows {allowed}; "
            f"protocol.strict=false deviates and says so in the ledger",
        )
    config.protocol.deviations = deviations


def departures(protocol: Config, tree: dict[str, Any]) -> dict[str, list[Any]]:
    """Return key -> [frozen value, given value] for every value of a chain's configuration that differs from its
    protocol and is not free. tree: The configuration as plain dicts."""
    frozen, actual = flatten(frozen_values(to_dict(protocol))), flatten(frozen_values(tree))
    free = protocol.protocol.free
    return {
        key: [frozen.get(key), actual.get(key)]
        for key in sorted(frozen.keys() | actual.keys())
        if not key.startswith("protocol.")
        and frozen.get(key) != actual.get(key)
        and not (key in free and (not free[key] or actual.get(key) in free[key]))
    }


def frozen_values(tree: dict[str, Any]) -> dict[str, Any]:
    """Return all values that a protocol fixes: the chain's identity and its length."""
    return {**identity(tree, with_defaults=True), "num_generations": tree["num_generations"]}


def fingerprint(config: Config) -> str:
    """Return the SHA-256 of everything a protocol fixes: the values that are not the default (including precision), the
    free keys with their allowed values, and the versions of the code that draws and scores samples. The tests pin the
    fingerprint of every protocol."""
    values = {**identity(config), "num_generations": config.num_generations, "schema": SCHEMA}
    values["protocol"] = {k: v for k, v in values["protocol"].items() if k not in ("strict", "deviations")}
    values["code"] = code_versions(config)
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def facts(config: Config) -> dict[str, Any]:
    """Return what a ledger row records about the chain's protocol: its name and version, the fingerprint of the
    protocol as this code defines it, and the deviations of the chain."""
    protocol = config.protocol
    known = fingerprint(compose_protocol(protocol.name)) if protocol.name else None
    about = {"name": protocol.name, "version": protocol.version, "deviations": protocol.deviations}
    return {**about, **({"fingerprint": known} if known else {})}
