"""Versions of the code that a chain's numbers depend on, by stage, for ledger rows and for a protocol's fingerprint.

A version is a number that is raised by hand with any change that moves results, not a revision of the repository. Two
machines with different drivers, devices or checkouts have equal versions as long as their results are comparable.
"""

from typing import Any

from bench import registry
from bench.config import Config

REAL_VERSION = 3
SAMPLE_VERSION = 2
SELECT_VERSION = 1
REMEDY_VERSION = 1
VET_VERSION = 2
SCORE_VERSION = 5
JOIN_VERSION = 1
"""Versions of the stages, raised with any change that moves a stage's results. Old results are then recomputed and
never mixed with new ones. (Components state versions of their own.)"""


def code_versions(config: Config) -> dict[str, dict[str, Any]]:
    """Return stage -> part -> the version of its code: one number, with the SHA-256 of the file for user-defined code.

    The stages are real, mix, train, sample and score. A chain with such a component also has vet, remedy, watermark or
    select, and a chain that joins an earlier one has join.

    Raises:
        ConfigError: A component cannot be imported or states no version.
    """
    scored, spaces = config.metrics, (config.metrics.feature_space, *config.metrics.extra_spaces)
    found = {
        "real": {"stage": REAL_VERSION, config.data.name: _of("data", config.data, "real")},
        "mix": {config.mixing.policy: _of("mixing", config.mixing, "mix")},
        "vet": {"stage": VET_VERSION, config.vetting.name: _of("vetting", config.vetting, "vet")},
        "train": {config.generator.name: _of("generator", config.generator, "train")},
        "remedy": {"stage": REMEDY_VERSION, config.remedy.name: _of("remedy", config.remedy, "remedy")},
        "sample": {"stage": SAMPLE_VERSION, config.generator.name: _of("generator", config.generator, "sample")},
        "watermark": {config.watermark.name: _of("watermark", config.watermark, "sample")},
        "select": {"stage": SELECT_VERSION, config.selection.name: _of("selection", config.selection, "select")},
        "score": {
            "stage": SCORE_VERSION,
            **{name: _listed(registry.SCORES, name, "metrics.scores") for name in scored.scores},
            **{name: _listed(registry.FEATURES, name, "metrics.feature_space") for name in spaces},
            **({"features": _of("generator", config.generator, "features")} if "own_network" in spaces else {}),
        },
    }
    found |= {"join": {"stage": JOIN_VERSION}} if config.join.chain else {}
    return {stage: parts for stage, parts in found.items() if registry.NONE not in parts}


def _of(group: str, component: Any, stage: str) -> Any:
    """Return the version of a group's component, or None for the component `none`. A user-defined function need not
    state a version: the checksum of its file identifies the code."""
    room = registry.ROOMS[group]
    name = getattr(component, room.discriminator)
    if name == registry.NONE:
        return None
    if name != registry.CUSTOM:
        return registry.version(registry.load(room.package, name, f"{group}.{room.discriminator}"), stage)
    if hasattr(component, "module"):
        return registry.version(registry.user_module(component.module, f"{group}.module", ("VERSION",)), stage)
    return _checksum(registry.user_function(component.function, f"{group}.function")[0])


def _listed(package: str, name: str, key: str) -> Any:
    """Return the version of a score family or a feature space. key: the configuration key that names it."""
    if ":" in name:
        return _checksum(registry.user_function(name, key)[0])
    return registry.version(registry.load(package, name, key), "score")


def _checksum(module: Any) -> dict[str, Any]:
    return {"version": getattr(module, "VERSION", None), "source_sha256": registry.source_sha256(module)}
