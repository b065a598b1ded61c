"""A spec is every input that can change a stage's result, as plain JSON. Its hash names the result."""

import hashlib
import json
import re
from typing import Any

from bench.errors import StoreError
from bench.flatten import flatten

RESERVED = ("work", "locks", "tmp", "damaged")
"""Folders of the store that are not stages."""

_STAGE = re.compile(r"[a-z][a-z0-9_-]*")


def canonical(value: Any, what: str) -> str:
    """Return the same text for equal values: JSON with sorted keys.

    Raises `StoreError`, with `what` as the name of the value, for NaN, infinity and whatever JSON cannot represent.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        where = _first_bad(value) or "?"
        raise StoreError(f"{what} is not plain JSON at {where}: {error}") from error


def spec_hash(stage: str, spec: dict[str, Any]) -> str:
    """Return 32 hex digits (128 bits) of the SHA-256 of the stage and its canonical spec.

    Raises `StoreError` if the stage's name is invalid or the spec is not plain JSON.
    """
    if not _STAGE.fullmatch(stage) or stage in RESERVED:
        raise StoreError(
            f"stage={stage!r}: must be lower-case letters, digits, - and _, and none of {', '.join(RESERVED)}"
        )
    text = canonical({"stage": stage, "spec": spec}, f"the spec of stage {stage!r}")
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _first_bad(value: Any) -> str | None:
    for key, leaf in flatten(value, lists=True).items():
        try:
            json.dumps(leaf, allow_nan=False)
        except (TypeError, ValueError):
            return f"{key}={leaf!r}"
    return None
