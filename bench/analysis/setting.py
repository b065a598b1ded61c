"""The setting of a chain: the part of its configuration that must be equal before numbers are averaged or compared."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import registry
from bench.analysis.conditions import free_keys
from bench.analysis.plain_text import plain
from bench.analysis.publishable import without_folders
from bench.config import identity
from bench.errors import LedgerError
from bench.flatten import flatten
from bench.kinds import IMAGES, KINDS, Kind
from bench.ledger import Chain, Row

PLACES = ("data.root", "data.path", "data.subset", "data.download")
"""Keys for where the real images are stored on one machine. `data_content` identifies the images themselves."""
NOT_THE_SETTING = (*PLACES, "seed", "mixing", "selection", "vetting", "watermark", "remedy", "join", "protocol")
"""Keys of a chain's identity in which the chains of one study may differ."""
TRIFLES = (
    "metrics.scores",
    "metrics.references",
    "metrics.extra_spaces",
    "metrics.num_resamples",
    "metrics.num_resplits",
)
"""Keys that decide which scores are computed, and change the value of none. Chains that differ in them are compared,
with a note (`bench.analysis.notes`), because every number carries its feature space, reference, N and parameters."""
COMPARED_GROUPS = ("data", "metrics")
"""Configuration groups in which two comparable results must agree. The generator may differ, as it is what is
compared."""
MOST_OF_A_TITLE = 240
"""Maximum number of characters of a study's title."""
LOCAL_TO_A_MACHINE = (*PLACES, "metrics.weights")
"""Keys of `COMPARED_GROUPS` that change no number."""


def setting_of(row: Row) -> str:
    """Return everything that the chains of one study share, as JSON with sorted keys.

    Values that equal their default are left out, so that a new option does not split the studies of old ledgers.
    """
    return json.dumps(_setting(row), sort_keys=True)


def _setting(row: Row, with_defaults: bool = False) -> dict[str, Any]:
    chosen = flatten(identity(row.config, with_defaults=with_defaults))
    everything = {"dataset": row.dataset, "generator.name": row.generator, **chosen}
    excluded = tuple(f"{key}." for key in (*NOT_THE_SETTING, *TRIFLES, *free_keys(row)))
    kept = {k: v for k, v in everything.items() if not f"{k}.".startswith(excluded)}
    return {**kept, "data.content": data_content(row), "protocol": protocol_of(row)}


def must_be_equal(row: Row) -> dict[str, Any]:
    """Return the flat configuration of data and scores, and the identity of the real images."""
    chosen = flatten({group: row.config.get(group, {}) for group in COMPARED_GROUPS})
    left_out = (*LOCAL_TO_A_MACHINE, *TRIFLES)
    kept = {key: value for key, value in chosen.items() if key not in left_out and value != {}}
    return {**kept, "data.content": data_content(row)}


def data_content(row: Row) -> str:
    """Return the identity of a chain's real images and of their split, independent of where they are stored.

    It is the hash of their spec, which identifies files by checksum. For a ledger without that hash, it is the name of
    the file.
    """
    return Path(row.artifacts.get("real") or row.config.get("data", {}).get("path", "")).name


def protocol_of(row: Row) -> str:
    """Return `collapse-v1 version 2`, with `(deviating)` if values differ from the frozen ones, or `no protocol`."""
    name, version = row.protocol.get("name"), row.protocol.get("version")
    if not name:
        return "no protocol"
    return f"{name} version {version}" + (" (deviating)" if row.protocol.get("deviations") else "")


def check_unmixed(chains: Iterable[Chain]) -> None:
    """Raise an error if chains follow different protocols, or if chains of one generator have no feature space in
    common. For chains of different generators, `bench.analysis.families` states what may be compared.

    Raises:
        LedgerError: the chains are mixed. The option --mixed permits that.
    """
    rows = [row for chain in chains for row in chain.rows]
    protocols = sorted({protocol_of(row) for row in rows})
    mixed = {"protocols": protocols} if len(protocols) > 1 else {}
    for generator in sorted({row.generator for row in rows}):
        # "model" marks the model's own loss, which needs no feature space
        sets = [{s["feature_space"] for s in row.scores} - {"model"} for row in rows if row.generator == generator]
        if any(sets) and not set.intersection(*filter(None, sets)):
            mixed["feature spaces"] = sorted({" + ".join(sorted(names)) for names in sets if names})
    for what, names in mixed.items():
        raise LedgerError(f"these runs mix {what}: {'; '.join(names)}. Give --mixed to show them all, marked")


def title_of(chains: list[Chain], setting: dict[str, Any], differing: list[str]) -> str:
    """Return a study's title: its sweeps, data set and generator, and the keys that distinguish it from other studies.

    Args:
        chains: the study's chains.
        setting: the study's setting as `shown_setting` returns it, with defaults.
        differing: the keys in which the settings of the studies of one report differ.
    """
    sweeps = sorted({chain.rows[0].sweep for chain in chains})
    row = chains[0].rows[0]
    resolution = resolution_of(row)
    size = f" at {resolution} px" if resolution else ""
    title = f"{', '.join(sweeps)}: {row.dataset}{size}, {row.generator}"
    named: tuple[str, ...] = ("dataset", "generator.name", "data.resolution", "data.name", "data.kind")
    if any(key.startswith("data.") for key in differing if key != "data.content"):
        named += ("data.content",)  # it differs because of a key that the title names
    keys = [key for key in differing if key not in named]
    extra = ", ".join(f"{key}={setting.get(key)}" for key in keys[:4])
    return plain(
        without_folders(title + (f" ({extra}{', …' if len(keys) > 4 else ''})" if extra else "")), MOST_OF_A_TITLE
    )


def resolution_of(row: Row) -> int | None:
    """Return the resolution of the images in pixels, or None if the items are not images."""
    return row.config.get("data", {}).get("resolution") if kind_in(row) is IMAGES else None


def data_of(row: Row) -> str:
    """Return the name of a chain's real items: `drawn flowers at 16 px`, `flowers64.npz at 16 px`, `points`."""
    size = resolution_of(row)
    drawn = "drawn " if size and row.environment.get("data_content") == "drawn" else ""
    path = Path(row.config.get("data", {}).get("path") or "").name
    return plain(f"{drawn}{path or row.dataset}") + (f" at {size} px" if size else "")


def kind_in(row: Row) -> Kind:
    """Return the kind of a chain's items: the one that its row records or, in older rows, that of the data module."""
    name, package = str(row.config.get("data", {}).get("name")), registry.ROOMS["data"].package
    known = registry.load(package, name, "data.name") if name in registry.names(package) else None
    return KINDS.get(str(row.environment.get("data_kind") or getattr(known, "KIND", "")), IMAGES)


def shown_setting(row: Row, with_defaults: bool = False) -> dict[str, Any]:
    """Return the setting as titles show it: with files by their names and the hash of the content shortened."""
    setting = _setting(row, with_defaults)
    data = row.config.get("data", {})
    names = {f"data.{key}": Path(data[key]).name for key in ("path", "subset") if data.get(key)}
    return {**setting, **names, "data.content": setting["data.content"][:8]}


def differing_keys(settings: list[dict[str, Any]]) -> list[str]:
    """Return the keys in which these settings differ, sorted."""
    keys = sorted({key for setting in settings for key in setting})
    return [key for key in keys if len({json.dumps(setting.get(key)) for setting in settings}) > 1]
