"""Fields of a configuration: bounds are declared with each field as metadata, and one function checks them all.

`option` declares a field. `check` checks every value of an instance and reports its full key. `stage_values` returns
the values that the key of a stage contains, and `identifying` those that identify a chain. Both leave out values that
equal the default of their class, so a new field with a default renames no chain and invalidates no stored result.
"""

import math
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from bench.errors import ConfigError, ConfigErrors, raise_all


@dataclass(frozen=True)
class Bounds:
    """The values that a field may have. Whether it may be null is decided by the field's type. at_least, at_most:
    inclusive limits. above: an exclusive limit. some_of: the names that a list of distinct names may contain.
    multiple_of: a divisor of every entry of a list."""

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    multiple_of: int | None = None
    one_of: Collection[Any] | None = None
    some_of: Collection[str] | None = None

    def __str__(self) -> str:
        """Return the bounds as messages and docs/configuration.md show them."""
        if self.one_of is not None:
            return f"must be one of {', '.join(map(str, self.one_of))}"
        if self.some_of is not None:
            return f"must be different ones of {', '.join(self.some_of)}"
        if self.multiple_of is not None:
            return f"must not be empty, and each must be a multiple of {self.multiple_of}"
        if self.at_least is not None and self.at_most is not None:
            return f"must lie in [{self.at_least:g}, {self.at_most:g}]"
        limits = (("at least", self.at_least), ("greater than", self.above), ("at most", self.at_most))
        return "must be " + " and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)

    def allow(self, value: Any) -> bool:
        """Return whether a value lies within the bounds."""
        if self.one_of is not None:
            return value in self.one_of
        if self.some_of is not None:
            return bool(value) and len(set(value)) == len(value) and set(value) <= set(self.some_of)
        if self.multiple_of is not None:
            return bool(value) and all(x >= self.multiple_of and x % self.multiple_of == 0 for x in value)
        return (
            math.isfinite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
        )


def option(
    default: Any = MISSING,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    multiple_of: int | None = None,
    one_of: Collection[Any] | None = None,
    some_of: Collection[str] | None = None,
    stage: str | None = "",
    local: bool = False,
    file: bool = False,
) -> Any:
    """Return a dataclass field with its bounds and with metadata on which keys and identities its value is part of.

    Args:
        default: The default of the field. A class is called to make the default, and a list or dict is copied. Without
            a default the user must give a value.
        at_least, at_most, above, multiple_of, one_of, some_of: See `Bounds`.
        stage: The stage whose key contains the value: "train", "sample", "risk" or "features" for a generator. None: no
            key, because the value changes no result, such as a checkpoint interval. "" (the default): the stage of the
            enclosing field, and without one the stage that the caller of `stage_values` passes.
        local: Whether the value is left out of the chain's identity, because it only decides where, how far or how fast
            a chain runs.
        file: Whether the value is a path, of which only the last part identifies the chain.
    """
    assert stage in ("", None, "train", "sample", "risk", "features"), f"stage={stage!r}: there is no such stage"
    limits = (at_least, at_most, above, multiple_of, one_of, some_of)
    bounds = Bounds(*limits) if any(limit is not None for limit in limits) else None
    about = {"bounds": bounds, "stage": stage, "local": local, "file": file}
    if isinstance(default, type):
        return field(default_factory=default, metadata=about)
    if isinstance(default, list | dict):
        return field(default_factory=lambda: deepcopy(default), metadata=about)
    return field(default=default, metadata=about)


def check(config: Any, path: str = "") -> None:
    """Check every value of a configuration, nested ones first. Then call `config.validate()` if there is one, which
    checks combinations and raises `ConfigError` with a key relative to the configuration.

    Raises `ConfigError`, which names the full key, the value and what is allowed; `ConfigErrors` if several values are
    wrong. An error about a combination is left out if it concerns a value that is wrong by itself.
    """
    raise_all(mistakes_in(config, path))


def mistakes_in(config: Any, path: str) -> list[ConfigError]:
    """Return the errors that `check` raises, one for each mistake."""
    found: list[ConfigError] = []
    for f in fields(config):
        value, key = getattr(config, f.name), f"{path}.{f.name}" if path else f.name
        bounds = f.metadata.get("bounds")
        if is_dataclass(value):
            found += mistakes_in(value, key)
        elif bounds is not None and value is not None and not bounds.allow(value):
            found.append(ConfigError(key, value, str(bounds)))
        elif isinstance(value, float) and not math.isfinite(value):
            found.append(ConfigError(key, value, "must be a finite number"))
    if not hasattr(config, "validate"):
        return found
    try:
        config.validate()
    except ConfigError as error:
        wrong = [one.key for one in found]
        for one in error.errors if isinstance(error, ConfigErrors) else (error,):
            full = f"{path}.{one.key}" if path else one.key
            if full not in wrong and not any(key in one.allowed for key in wrong):
                found.append(ConfigError(full, one.value, one.allowed))
    except Exception:
        if not found:  # `validate` may rely on values within their bounds
            raise
    return found


def default_of(f: Field) -> Any:
    """Return the default of a field; a new object at each call if the field has a default factory."""
    return f.default_factory() if f.default_factory is not NO_DEFAULT else f.default


def stage_values(config: Any, stage: str, inherited: str | None = None) -> dict[str, Any]:
    """Return the part of a configuration that the key of a stage contains, without the values that equal the default.

    inherited: The stage of the fields that declare none.
    """
    kept: dict[str, Any] = {}
    for f in fields(config):
        value, own = getattr(config, f.name), f.metadata.get("stage", "")
        belongs = inherited if own == "" else own
        if is_dataclass(value):
            nested = stage_values(value, stage, belongs)
            kept |= {f.name: nested} if nested else {}
        elif belongs == stage and value != default_of(f):
            kept[f.name] = value
    return kept


def identifying(tree: Mapping[str, Any], schema: type, *, with_defaults: bool = False) -> dict[str, Any]:
    """Return the part of a configuration's dict that identifies a chain: without local values and, unless
    `with_defaults`, without values that equal the default of the schema. Keys that are not in the schema are kept."""
    known = fields_by_name(schema)
    kept: dict[str, Any] = {}
    for name, value in tree.items():
        f = known.get(name)
        if f is None:
            kept[name] = value
        elif f.metadata.get("local"):
            continue
        elif isinstance(value, Mapping) and isinstance(f.type, type) and is_dataclass(f.type):
            nested = identifying(value, f.type, with_defaults=with_defaults)
            kept |= {name: nested} if nested or with_defaults else {}
        elif with_defaults or value != default_of(f):
            kept[name] = Path(value).name if f.metadata.get("file") and value is not None else value
    return kept


def local_keys(schema: type, prefix: str = "") -> list[str]:
    """Return the dotted keys in which two runs of one chain may differ."""
    keys: list[str] = []
    for f in fields(schema):
        if f.metadata.get("local"):
            keys.append(f"{prefix}{f.name}")
        elif isinstance(f.type, type) and is_dataclass(f.type):
            keys += local_keys(f.type, f"{prefix}{f.name}.")
    return keys


def fields_by_name(schema: type) -> dict[str, Field]:
    """Return the fields of a dataclass by name."""
    return {f.name: f for f in fields(schema)}
