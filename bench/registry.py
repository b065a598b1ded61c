"""Find components by file name: a data set, generator, policy, rule, score family or feature space is one file.

A room is a package such as `bench/datasets`. Every public module or package in it is a component, except `shared`,
which holds code that the components of the room share. A verb is a function that a component offers. A user-defined
component is named in the configuration: by its module if it has several verbs, by `module:function` if it has one.
Nothing here imports torch, and a component must not import it at module level either.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.errors import ConfigError
from bench.files import sha256_of
from bench.options import check


@dataclass(frozen=True)
class Room:
    """The package with the components of one configuration group. discriminator: the field of the group's configuration
    that names the component."""

    package: str
    discriminator: str = "name"


ROOMS = {
    "data": Room("bench.datasets"),
    "generator": Room("bench.generators"),
    "mixing": Room("bench.mixing", "policy"),
    "selection": Room("bench.selection"),
    "vetting": Room("bench.vetting"),
    "watermark": Room("bench.watermarks"),
    "remedy": Room("bench.remedies"),
}
SCORES, FEATURES = "bench.metrics", "bench.features"
"""Rooms without their own group: score families and feature spaces are chosen by the group `metrics`."""

CUSTOM, NONE = "custom", "none"
"""The component of a group that runs user-defined code, and the component of optional groups that does nothing."""
NEEDS = ("truth", "calibration", "past", "features")
"""What a module's `NEEDS` may request beside the items: any of these for a vetting rule, features for a selection."""


@cache
def names(package: str) -> tuple[str, ...]:
    """Return the names of all components of a room, sorted, without importing any."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    modules = pkgutil.iter_modules(spec.submodule_search_locations)
    return tuple(sorted(m.name for m in modules if m.name not in ("shared", "__main__") and m.name[0] != "_"))


def load(package: str, name: str, key: str) -> ModuleType:
    """Return the module of a component. Raises `ConfigError` for `key` if there is no component of that name."""
    if name not in names(package):
        raise ConfigError(key, name, f"must be one of {', '.join(names(package))}")
    return importlib.import_module(f"{package}.{name}")


def schema(group: str, name: str) -> type | None:
    """Return the configuration class of a component, or None if there is no component of that name."""
    if name in (CUSTOM, NONE):
        return importlib.import_module("bench.custom").SCHEMAS[name].get(group)
    package = ROOMS[group].package
    return load(package, name, group).Config if name in names(package) else None


def user_module(path: str, key: str, verbs: Sequence[str] = ()) -> ModuleType:
    """Import and return a user-defined module, which may lie in the working directory. Raises `ConfigError` if it
    cannot be imported or lacks a verb."""
    try:
        module = importlib.import_module(path)
    except Exception as error:  # a user-defined module may fail in any way
        raise ConfigError(key, path, f"cannot be imported: {type(error).__name__}: {error}") from error
    source_sha256(module)
    missing = [verb for verb in verbs if not hasattr(module, verb)]
    if missing:
        raise ConfigError(key, path, f"the module lacks {', '.join(missing)}; it must offer {', '.join(verbs)}")
    return module


@cache
def source_sha256(module: ModuleType) -> str:
    """Return the SHA-256 of a module's file; "" for a module without a file. It is cached at the first call, directly
    after the import, so that it identifies the code that runs even if the file is edited later."""
    source = getattr(module, "__file__", None)
    return sha256_of(Path(source)) if source else ""


def user_function(path: str, key: str) -> tuple[ModuleType, Callable[..., Any]]:
    """Import `module:function` and return the module and the function. Raises `ConfigError` if the path has another
    form, the module cannot be imported, or it has no such function."""
    module_name, _, name = path.partition(":")
    if path.count(":") != 1 or not module_name or not name:
        raise ConfigError(key, path, "must have the form module:function")
    module = user_module(module_name, key)
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(key, path, f"{module_name} has no function {name!r}")
    return module, function


def module_and_config(group: str, config: Any, verbs: Sequence[str]) -> tuple[ModuleType, Any]:
    """Return the module of a component and the configuration that it receives.

    For a user-defined module, this is an instance of its `Config`, made from the fields that all components of the
    group share and from `config.parameters`. Raises `ConfigError` if the module or a verb does not exist, or a
    parameter is unknown, missing or wrong.
    """
    if config.name != CUSTOM:
        return load(ROOMS[group].package, config.name, f"{group}.name"), config
    module = user_module(config.module, f"{group}.module", ("Config", "VERSION", *verbs))
    common = {f.name: getattr(config, f.name) for f in fields(type(config).__mro__[1]) if f.name != "name"}
    own = typed(module.Config, {"name": config.module, **common, **config.parameters}, f"{group}.parameters")
    return module, own


def typed(schema: type, values: dict[str, Any], path: str) -> Any:
    """Return a checked instance of a configuration class, with the types and nested classes that Hydra would give it.
    path: The key of the configuration, for messages. Raises `ConfigError` for unknown keys, wrong types, missing values
    and values out of bounds."""
    try:
        tree = OmegaConf.merge(OmegaConf.structured(schema), values)
        missing = sorted(OmegaConf.missing_keys(tree))
        own = OmegaConf.to_object(tree) if not missing else None
    except (OmegaConfBaseException, TypeError) as error:
        raise ConfigError(path, values, str(error).splitlines()[0]) from error
    if missing:
        raise ConfigError(f"{path}.{missing[0]}", "???", "has no default: give a value")
    check(own, path)
    return own


@dataclass(frozen=True)
class Component:
    """A component with several verbs: its module, and its configuration, an instance of the module's `Config`."""

    module: ModuleType
    config: Any

    @property
    def name(self) -> str:
        """The name of the component."""
        return str(self.config.name)


@dataclass(frozen=True)
class Rule:
    """A component with one verb: its function, and the parameters that it is called with. name: the name of the
    component, or `module:function`."""

    name: str
    module: ModuleType
    function: Callable[..., Any]
    parameters: dict[str, Any]

    def __call__(self, argument: Any) -> Any:
        return self.function(argument, **self.parameters)


def rule(group: str, config: Any, verb: str, not_parameters: Sequence[str] = ()) -> Rule:
    """Return the rule that a configuration names, with its parameters.

    Args:
        group: The configuration group.
        config: The configuration of a component of the group, or of its `custom` component.
        verb: The name of the function in a component of the project.
        not_parameters: Fields of the configuration that are not passed to the function.

    Raises:
        ConfigError: There is no such function, or it does not take these parameters.
    """
    room = ROOMS[group]
    name = getattr(config, room.discriminator)
    if name == CUSTOM:
        module, function = user_function(config.function, f"{group}.function")
        try:
            inspect.signature(function).bind(None, **config.parameters)
        except TypeError as error:
            raise ConfigError(f"{group}.parameters", config.parameters, f"{config.function}: {error}") from error
        return Rule(config.function, module, function, config.parameters)
    module = load(room.package, name, f"{group}.{room.discriminator}")
    given = {k: v for k, v in asdict(config).items() if k not in (room.discriminator, *not_parameters)}
    return Rule(name, module, getattr(module, verb), given)


def needs(rule: Rule | None, group: str) -> tuple[str, ...]:
    """Return the evidence that a rule needs, as its module states in `NEEDS` for all rules in it; () without a rule.
    Raises `ConfigError` if an entry is not in this module's `NEEDS`."""
    stated = tuple(getattr(rule.module, "NEEDS", ())) if rule else ()
    unknown = [need for need in stated if need not in NEEDS]
    if rule and unknown:
        raise ConfigError(
            f"{group}.function", rule.name, f"its module needs {unknown[0]!r}; a rule may need {', '.join(NEEDS)}"
        )
    return stated


def version(module: ModuleType, stage: str) -> Any:
    """Return what identifies the code of a component in the spec of a stage: its `VERSION`, which is one number or a
    dict with one number per stage, and for a module outside the project also the SHA-256 of its file. Raises
    `ConfigError` if the module states no version for the stage."""
    number = getattr(module, "VERSION", None)
    if isinstance(number, dict):
        number = number.get(stage)
    if number is None:
        raise ConfigError(
            "VERSION", module.__name__, f"the module must state the VERSION of its code for stage {stage}"
        )
    if module.__name__.split(".")[0] == "bench":
        return number
    return {"module": module.__name__, "version": number, "source_sha256": source_sha256(module)}


def citation(package: str, name: str, config: dict[str, Any]) -> str:
    """Return the BibTeX entries of a component of the project, separated by blank lines; "" if there are none.

    Args:
        package: The package of the room.
        name: The name of the component; "" is returned for the name of a user-defined component.
        config: The component's configuration as a dict, for modules whose `cite(config)` depends on it.
    """
    if name not in names(package):
        return ""
    module = load(package, name, "name")
    return module.cite(config) if hasattr(module, "cite") else module.CITATION


def metric_citations() -> dict[str, str]:
    """Return metric -> BibTeX entry for all score families of the project."""
    families = (load(SCORES, name, "name") for name in names(SCORES))
    return {metric: entry for family in families for metric, entry in family.CITATION.items()}
