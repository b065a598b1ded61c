"""Flattens nested values to one level of dotted keys, the form in which two configurations or specs are compared."""

from typing import Any


def flatten(value: Any, lists: bool = False, prefix: str = "") -> dict[str, Any]:
    """Return {"a.b": 1} for {"a": {"b": 1}}. An empty dict or list below the top counts as a leaf.

    Args:
        value: nested dicts. Anything else is one leaf, with the key `prefix`.
        lists: also flatten lists and tuples, with indices as keys.
        prefix: the key of `value` itself.
    """
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif lists and isinstance(value, list | tuple):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {prefix: value}
    if prefix and not items:
        return {prefix: value}
    leaves: dict[str, Any] = {}
    for key, item in items:
        leaves |= flatten(item, lists, f"{prefix}.{key}" if prefix else key)
    return leaves
