"""What Hydra and OmegaConf find wrong with a command line, as sentences of the project.

They know a value's type and nothing of its bounds, and Hydra's own report ends with status 1 and an invitation to a
stack trace.
"""

import re
from dataclasses import is_dataclass
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException, ValidationError

from bench.errors import ConfigError
from bench.options import fields_by_name

Mistakes = (HydraException, OmegaConfBaseException)
"""What composing a configuration raises."""

TYPES = {"Integer": "a whole number", "Float": "a number", "bool": "true or false"}


def sentence(error: Exception) -> str:
    """Return what is wrong: key, value and what is allowed where a value has the wrong type, else the words of Hydra
    and, where it has more to say, of OmegaConf. error: one of `Mistakes`."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, ValidationError) and cause.full_key:
        wanted = re.search(r"(?:could not be converted to|is not a valid) (\w+)", str(cause))
        if wanted and wanted[1] in TYPES:
            allowed = f"must be {TYPES[wanted[1]]}{_bounds(cause)}"
            return str(ConfigError(cause.full_key, cause.value, allowed))
    return str(error) if cause is error else f"{error}\n{cause}"


def _bounds(cause: Any) -> str:
    """Return what the schema says of the field of an error; "" for an entry of a list, and where it says nothing."""
    schema: type = cause.object_type
    field = fields_by_name(schema).get(cause.key) if is_dataclass(schema) else None
    bounds = field.metadata.get("bounds") if field else None
    return f" and {bounds}" if bounds else ""
