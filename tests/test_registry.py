"""Components: found by file name, cheap to import, named once, and with defaults that do not move unnoticed."""

import hashlib
import json
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.config import SCHEMA, Config, schemas
from bench.errors import ConfigError
from bench.options import default_of

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden_defaults.json"
VERBS = {
    "bench.datasets": ["Config", "open_source"],
    "bench.generators": ["Config", "fit", "sample", "risk"],
    "bench.mixing": ["Config", "compose"],
    "bench.selection": ["Config", "keep"],
    "bench.vetting": ["Config", "keep"],
    "bench.watermarks": ["Config", "scores"],
    "bench.remedies": ["Config", "VERB", "NUM_NETWORKS"],
    "bench.metrics": ["NEEDS", "score"],
    "bench.features": ["identity", "prefetch", "load"],
}
COMPONENTS = [(package, name) for package in VERBS for name in registry.names(package)]


def test_rooms_are_where_the_registry_looks():
    assert {room.package for room in registry.ROOMS.values()} | {registry.SCORES, registry.FEATURES} == VERBS.keys()
    assert {"blend", "replace"} <= set(registry.names("bench.mixing"))
    assert "ddpm" in registry.names("bench.generators") and "shared" not in registry.names("bench.generators")


@pytest.mark.parametrize(("package", "name"), COMPONENTS, ids=[f"{p}.{n}" for p, n in COMPONENTS])
def test_every_component_offers_its_verbs_a_version_and_a_citation(package, name):
    module = registry.load(package, name, "key")
    assert not [verb for verb in (*VERBS[package], "VERSION", "CITATION") if not hasattr(module, verb)]
    assert module.__doc__
    entries = module.CITATION.values() if package == registry.SCORES else [module.CITATION]
    assert all(entry == "" or entry.startswith("@") for entry in entries)
    for group, room in registry.ROOMS.items():
        if room.package == package:
            assert registry.schema(group, name) is module.Config
            assert default_of({f.name: f for f in fields(module.Config)}[room.discriminator]) == name


def test_no_component_imports_torch_when_it_is_imported():
    names = [f"{package}.{name}" for package, name in COMPONENTS]
    code = f"import sys, importlib; [importlib.import_module(n) for n in {names!r}]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_is_not_there_is_named_with_what_is():
    with pytest.raises(ConfigError, match=r"mixing\.policy='blnd': must be one of accumulate, .*blend"):
        registry.load("bench.mixing", "blnd", "mixing.policy")
    assert registry.schema("mixing", "blnd") is None
    assert registry.schema("vetting", "none") is not None and registry.schema("mixing", "none") is None


def test_a_users_module_is_known_by_its_name_its_version_and_what_is_in_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "theirs_for_registry.py"
    file.write_text("VERSION = {'train': 1, 'sample': 2}\n")
    module = registry.user_module("theirs_for_registry", "key")
    train, sample = (registry.version(module, stage) for stage in ("train", "sample"))
    assert (train["version"], sample["version"]) == (1, 2) and train["module"] == "theirs_for_registry"
    assert train["source_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text("VERSION = {'train': 1, 'sample': 2}  # retouched while it runs\n")
    assert (
        registry.version(registry.user_module("theirs_for_registry", "key"), "train") == train
    )  # what runs is the old one
    with pytest.raises(ConfigError, match=r"VERSION='theirs_for_registry': the module must state .* for stage risk"):
        registry.version(module, "risk")
    assert registry.version(registry.load("bench.mixing", "blend", "key"), "any") == 1


def defaults(schema: type, prefix: str) -> dict[str, Any]:
    """Dotted key -> default, of a class and all that is nested in it."""
    values: dict[str, Any] = {}
    for f in fields(schema):
        key = f"{prefix}.{f.name}"
        values |= defaults(f.type, key) if is_dataclass(f.type) else {key: default_of(f)}  # type: ignore[arg-type]
    return values


def test_a_default_moves_only_with_the_version_of_the_schema():
    """Chains are identified without the values that are the default. A new option may be added here at any time; a
    default that changes needs another `bench.config.SCHEMA`, unless it is one of a local option, which identifies
    nothing. Then the file is written anew: python tests/test_registry.py"""
    golden = json.loads(GOLDEN.read_text())
    assert golden["schema"] == SCHEMA
    now = all_defaults()
    moved = {k: (v, now[k]) for k, v in golden["defaults"].items() if k in now and now[k] != v}
    assert not moved, "raise SCHEMA in bench/config.py and write the file anew"
    assert now.keys() == golden["defaults"].keys(), "add the new options: python tests/test_registry.py"


def all_defaults() -> dict[str, Any]:
    groups = [(group, name, schema) for group, name, schema in schemas() if schema is not Config]
    values = {k: v for k, v in defaults(Config, "chain").items() if not k.endswith(("data", "generator", "mixing"))}
    for group, name, schema in groups:
        values |= defaults(schema, f"{group}={name}")
    for name in registry.names(registry.SCORES):
        module = registry.load(registry.SCORES, name, "key")
        values |= defaults(module.Config, f"metrics.options.{name}") if hasattr(module, "Config") else {}
    return json.loads(json.dumps(values))


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({"schema": SCHEMA, "defaults": all_defaults()}, indent=1) + "\n")
