"""Protocols: frozen configurations that a number can be cited with.

A protocol is a YAML file in conf/protocol/. `check` compares a chain's configuration with what its protocol alone
composes to, key by key: a difference is an error, unless the protocol lists the key as free, or the run says
`protocol.strict=false`; then it is recorded in every ledger row and the numbers are marked as deviating.
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
    """Return what Hydra composes of a command line; also within a running Hydra app, which has a Hydra of its own."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    try:
        with initialize_config_module("bench.conf", version_base="1.3"):
            return compose("config", overrides=list(overrides))
    finally:
        GlobalHydra.instance().hydra = running


@functools.cache
def compose_protocol(file: str) -> Config:
    """Return the configuration of `protocol=<file>`, nothing overridden. Composed once; not to be changed."""
    return compose_config([f"protocol={file}"])


def check(config: Config) -> None:
    """Raise `ConfigError` naming the first key that departs from the protocol; with `protocol.strict=false`, fills in
    `config.protocol.deviations` instead. Does nothing where no protocol is in force."""
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
    """Return key -> [frozen value, given value] for what a chain's configuration, as plain dicts, has otherwise than
    its protocol and may not."""
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
    """Return all that a protocol fixes: the chain's identity and its length."""
    return {**identity(tree, with_defaults=True), "num_generations": tree["num_generations"]}


def fingerprint(config: Config) -> str:
    """Return the SHA-256 of everything a protocol fixes: values that are not the default, precision among them, free
    keys with their allowed values, and the versions of the code that makes and scores samples. Golden in the tests."""
    values = {**identity(config), "num_generations": config.num_generations, "schema": SCHEMA}
    values["protocol"] = {k: v for k, v in values["protocol"].items() if k not in ("strict", "deviations")}
    values["code"] = code_versions(config)
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def facts(config: Config) -> dict[str, Any]:
    """Return what a ledger row says of the protocol in force: its name and version, the fingerprint of the protocol as
    this code knows it, and in what the chain deviates."""
    protocol = config.protocol
    known = fingerprint(compose_protocol(protocol.name)) if protocol.name else None
    about = {"name": protocol.name, "version": protocol.version, "deviations": protocol.deviations}
    return {**about, **({"fingerprint": known} if known else {})}
