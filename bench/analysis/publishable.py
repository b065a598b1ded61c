"""Publishable text: without the folders of the machine that produced it, because they contain names of people."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.ledger import Chain

PATH = r"(?:file://)?~?/(?:[^/\s'\"`,;()<>|=]+/)*[^/\s'\"`,;()<>|=:]+/?"
ABSOLUTE = re.compile(
    rf"""(?P<quote>['"])(?P<key>[\w.+]*=)?(?P<quoted>[~/][^'"\n]*/[^'"\n]*)(?P=quote)|(?<![\w.~…/<-]){PATH}"""
)
"""A path from the root or from a home directory: in quotation marks, with or without a key before it, or else up to the
next space. The `/` of `store/ab`, `1 / 2` or `https://` does not match."""


def without_folders(text: str, places: Iterable[Path] = ()) -> str:
    """Return text in which absolute paths are cut to their last part, `…/flowers.npz`.

    Args:
        text: any text, such as a command or a message.
        places: folders of the runs; a path below one of them is cut to begin with its name, `store/train/3f`.
    """
    for place in sorted({str(place) for place in places}, key=len, reverse=True):
        if place.count("/") > 1:
            text = re.sub(rf"{re.escape(place)}(?=/|\b)", Path(place).name.replace("\\", r"\\"), text)
    return ABSOLUTE.sub(_cut, text)


def _cut(found: re.Match[str]) -> str:
    whole = found["quoted"] or found[0]
    if whole.rstrip("/").count("/") < 2 and not whole.startswith("~"):
        return found[0]  # `/` or `/data` reveals nothing about anybody
    name = f"…/{Path(whole).name}"
    return f"{found['quote']}{found['key'] or ''}{name}{found['quote']}" if found["quote"] else name


def everywhere(value: Any, places: Iterable[Path] = ()) -> Any:
    """Return nested dicts and lists with `without_folders` applied to every string in them. A string that is a path as
    a whole may contain spaces."""
    places = list(places)
    if isinstance(value, dict):
        return {key: everywhere(part, places) for key, part in value.items()}
    if isinstance(value, list):
        return [everywhere(part, places) for part in value]
    if not isinstance(value, str):
        return value
    inside = any(value.startswith(f"{place}/") or value == str(place) for place in places)
    whole = re.fullmatch(r"[~/][^\n]*/[^\n]*", value) and not inside
    return f"…/{Path(value).name}" if whole else without_folders(value, places)


def places_of(chains: Iterable[Chain]) -> list[Path]:
    """Return the folders that messages about these chains may name: those of their sweeps and stores."""
    found = {place for chain in chains for place in (chain.directory.parent, Path(chain.rows[-1].store_dir))}
    return sorted({*found, *(place.resolve() for place in found)})
