"""Rephrase the errors that Hydra and OmegaConf raise for a command line as messages in this project's form.

Their own messages state a value's type but not its bounds, name internal objects instead of the user's option, stop at
the first mistake, and end with exit status 1 and a hint on how to show a stack trace.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException, ValidationError

from bench import config, protocols
from bench.errors import ConfigError
from bench.options import fields_by_name

Mistakes = (HydraException, OmegaConfBaseException)
"""The exceptions that composing a configuration raises."""

TYPES = {"Integer": "a whole number", "Float": "a number", "bool": "true or false"}


def sentences(
    error: Exception, overrides: Sequence[str], compose: Callable[[list[str]], Any] = protocols.compose_tree
) -> list[str]:
    """Return a message for every mistake in a command line that composing it reveals.

    Each wrong override is removed and the rest is composed again, until nothing is wrong or an error does not say which
    override causes it.

    Args:
        error: The first mistake, one of `Mistakes`.
        overrides: The command line.
        compose: Composes overrides. For a sweep, it composes one of the chains.
    """
    found, rest = [sentence(error, overrides)], list(overrides)
    while (wrong := _culprit(error, rest)) is not None:
        rest.remove(wrong)
        if isinstance(error, MissingConfigException):
            break  # without the missing file, it is unknown which options the command line may set
        try:
            compose(rest)
            break
        except Mistakes as next_error:
            error = next_error
            found.append(sentence(error, rest))
    return list(dict.fromkeys(found))


def sentence(error: Exception, overrides: Sequence[str] = ()) -> str:
    """Return a message that says what is wrong: key, value and what is allowed, if the error reveals them. Otherwise
    return the first line of Hydra's message, followed by the first line of OmegaConf's message if OmegaConf caused it.

    Args:
        error: One of `Mistakes`.
        overrides: The command line.
    """
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is None:
        return "the package has no configuration (bench.conf): a checkout must be installed, with pip install -e ."
    if isinstance(error, MissingConfigException):
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        known = [option for option in error.options or () if not option.endswith("_schema")]
        return str(ConfigError(group, name, f"there is no such option{_among(known)}{nearest(name, known)}"))
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as key=value; quote a value that has signs such as = or }}"
    if isinstance(cause, ValidationError) and cause.full_key:
        wanted = re.search(r"(?:could not be converted to|is not a valid) (\w+)", str(cause))
        if wanted and wanted[1] in TYPES:
            allowed = f"must be {TYPES[wanted[1]]}{_bounds(cause)}"
            return str(ConfigError(cause.full_key, cause.value, allowed))
        if "is not a ListConfig" in str(cause):
            return str(ConfigError(cause.full_key, _value(cause.full_key, overrides), "must be a list, as in [a,b]"))
    first = str(error).splitlines()[0]
    if unknown := re.match(r"Could not override '(.+)'", first):
        return unknown_option(unknown[1], _value(unknown[1], overrides), overrides)
    if several := re.match(r"Ambiguous value for argument '(.+)'$", first):
        return f"{several[1]}: several values are a sweep, which -m starts; a list is written key=[a,b]"
    if again := re.match(r"Could not append to config. An item is already at '(.+)'", first):
        return f"+{again[1]}={_value(again[1], overrides)}: there is such an option; leave out the +"
    return first if cause is error else f"{first}: {str(cause).splitlines()[0]}"


def unknown_option(key: str, value: str, overrides: Sequence[str]) -> str:
    """Return a message that there is no such key, with similar keys or the components that have this key."""
    known = options()
    if key in known:
        group, have = key.split(".")[0], known[key]
        chosen = _value(group, overrides)
        several = chosen.removeprefix("choice(").removesuffix(")").split(",")
        if len(several) > 1 and set(several) <= set(have):
            return (
                f"{key}={value}: if {group} has several values, Hydra reads a fixed value of this option before it "
                f"chooses one of them; write '{key}=choice({value})'"
            )
        lack = [name for name in several if name not in have]
        chosen = lack[0] if len(several) > 1 else chosen
        who = f"{group}={chosen} has no such option" if chosen else f"the chosen {group} has no such option"
        return f"{key}={value}: {who}; {', '.join(have)} {'has' if len(have) == 1 else 'have'} it"
    hint = nearest(key, known) or "; python -m bench --help lists all options"
    return f"{key}={value}: there is no such option{hint}"


def options() -> dict[str, list[str]]:
    """Return a dict of every dotted key that a command line can set -> the components that have the key."""
    known: dict[str, list[str]] = {}

    def walk(schema: type, prefix: str, owner: str) -> None:
        for name, field in fields_by_name(schema).items():
            known.setdefault(f"{prefix}{name}", []).append(owner)
            if isinstance(field.type, type) and is_dataclass(field.type):
                walk(field.type, f"{prefix}{name}.", owner)

    for group, name, schema in config.schemas():
        walk(schema, f"{group}." if group else "", name)
    return known


def numbered_groups(overrides: Sequence[str]) -> list[str]:
    """Return a message for every component that is chosen by a number or a boolean, for which Hydra raises a bare
    `ValueError`."""
    chosen = (override.partition("=") for override in overrides)
    return [
        str(ConfigError(group, value, "must be the name of a component; python -m bench --help lists them"))
        for group, _, value in chosen
        if group in config.GROUPS and re.fullmatch(r"[-+]?[\d.]+|true|false", value, re.IGNORECASE)
    ]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question that suggests the known names with a similar spelling; "" if there are none."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.7)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _among(names: Sequence[str]) -> str:
    return f" among {', '.join(names)}" if names else ""


def _culprit(error: Exception, overrides: Sequence[str]) -> str | None:
    """Return the override that causes an error, or None if the error does not say which one."""
    if isinstance(error, OverrideParseException):
        return error.override if error.override in overrides else None
    if isinstance(error, MissingConfigException):
        return next((o for o in overrides if o.lstrip("+") == str(error.missing_cfg_file).replace("/", "=")), None)
    named = re.match(
        r"(?:Could not override|Error merging override|Ambiguous value for argument) '?([^'=\s]+)", str(error)
    )
    key = named[1] if named else getattr(error, "full_key", None)
    return next((o for o in overrides if key and _key(o) == key), None)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _value(key: str, overrides: Sequence[str]) -> str:
    """Return the last value that a command line gives a key; "" if it gives none."""
    return next((o.partition("=")[2] for o in reversed(overrides) if _key(o) == key), "")


def _bounds(cause: Any) -> str:
    """Return the bounds that the schema states for the field of an error; "" for an entry of a list, and if the field
    has no bounds."""
    schema: type = cause.object_type
    field = fields_by_name(schema).get(cause.key) if is_dataclass(schema) else None
    bounds = field.metadata.get("bounds") if field else None
    return f" and {bounds}" if bounds else ""
