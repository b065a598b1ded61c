"""The YAML files of the group `data` compose, pass their checks, and have comments."""

from dataclasses import fields
from pathlib import Path

import configs as schemas
import pytest
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.config import register_schemas
from bench.errors import ConfigError

NAMES = {
    "procedural": schemas.ProceduralConfig,
    "npz": schemas.NpzConfig,
    "folder": schemas.FolderConfig,
    "flowers102": schemas.Flowers102Config,
    "cub200": schemas.Cub200Config,
    "mnist": schemas.MnistConfig,
    "cifar10": schemas.Cifar10Config,
}


def composed(name, *overrides):
    register_schemas()
    with initialize_config_module("bench.conf", version_base="1.3"):
        return schemas.checked(OmegaConf.to_object(compose(overrides=[f"+data={name}", *overrides]).data), "data")


@pytest.mark.parametrize("name", NAMES)
def test_each_file_is_an_instance_of_its_schema(name):
    needed = ["data.path=x"] if name in ("npz", "folder") else []
    assert isinstance(composed(name, *needed), NAMES[name])
    assert composed(name, *needed) == NAMES[name](**({"path": "x"} if needed else {})), "the YAML repeats the defaults"


@pytest.mark.parametrize("name", NAMES)
def test_each_key_has_its_comment(name):
    lines = Path(f"conf/data/{name}.yaml")
    lines = Path(__file__).parents[2].joinpath(lines).read_text().splitlines()
    assert lines[0].startswith("# ")
    for field in fields(NAMES[name]):
        if field.name != "name":
            assert any(line.startswith(f"{field.name}:") and "  # " in line for line in lines), field.name


@pytest.mark.parametrize(
    ("name", "override", "key"),
    [
        ("procedural", "data.knd=birds", "knd"),
        ("procedural", "data.num_train=many", "num_train"),
        ("procedural", "data.num_reserve=1.5", "num_reserve"),
        ("flowers102", "data.download=perhaps", "download"),
        ("cub200", "data.padding=wide", "padding"),
        ("npz", "data.subset=[a]", "subset"),
    ],
)
def test_unknown_keys_and_wrong_types_are_rejected_by_name(name, override, key):
    with pytest.raises((HydraException, OmegaConfBaseException), match=key):
        composed(name, override)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data.resolution=4", "data.resolution"),
        ("data.num_heldout=1", "data.num_heldout"),
        ("data.kind=fish", "data.kind"),
    ],
)
def test_values_out_of_range_are_rejected_by_name(override, key):
    with pytest.raises(ConfigError, match=key):
        composed("procedural", override)
