"""The configuration tree: what is composed, what is rejected and how it is named, what makes two chains one."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from shrunk import composed

from bench.config import chain_id, config_hash
from bench.errors import ConfigError

CONF = Path(__file__).parent.parent / "conf"


@pytest.mark.parametrize(
    "override", ["mixing.synthetic_raio=1", "seed=one", "generator.unet.chanels=[8]", "data.padding=1", "nonsense=1"]
)
def test_unknown_keys_and_wrong_types_are_named_while_composing(override):
    with pytest.raises((HydraException, OmegaConfBaseException)) as error:
        composed(override)
    key = override.split("=")[0].split(".")[-1]
    assert key in str(error.value) + str(error.value.__cause__)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=-1", "seed"),
        ("num_generations=0", "num_generations"),
        ("data.resolution=4", "data.resolution"),
        ("data.kind=cars", "data.kind"),
        ("mixing.synthetic_ratio=1.5", "mixing.synthetic_ratio"),
        ("mixing.synthetic_ratio=[0.1]", "mixing.synthetic_ratio"),
        ("metrics.num_images=5000", "metrics.num_images"),
        ("metrics.k=0", "metrics.k"),
        ("generator.unet.channels=[30,60,60]", "generator.unet.channels"),
        ("generator.sampling.num_steps=2000", "generator.sampling.num_steps"),
        ("generator.sampling.eta=0.5", "generator.sampling.eta"),
        ("generator.noise.prediction=noise", "generator.noise.prediction"),
        ("runtime.device=tpu", "runtime.device"),
        ("tracking.tracker=neptune", "tracking.tracker"),
        ("num_samples=10", "num_samples"),
        ("name=a/b", "name"),
        ("data=npz", "data.path"),
    ],
)
def test_values_out_of_range_are_named(override, key):
    with pytest.raises(ConfigError) as error:
        composed(override)
    assert error.value.key == key
    assert str(error.value).startswith(f"{key}=")


def test_a_chain_is_known_by_what_changes_its_numbers_alone():
    base = composed()
    for same in ("output_dir=/elsewhere", "runtime.device=cpu", "generator.sampling.batch_size=7", "num_generations=9"):
        assert chain_id(composed(same)) == chain_id(base), same
    for other in (
        "seed=1",
        "mixing.synthetic_ratio=0.4",
        "generator.sampling.num_steps=3",
        "metrics.k=4",
        "mixing=replace",
    ):
        assert config_hash(composed(other)) != config_hash(base), other


def test_a_data_file_is_known_by_its_name_wherever_it_lies():
    one, two = composed("data=npz", "data.path=/a/x.npz"), composed("data=npz", "data.path=/b/x.npz")
    assert config_hash(one) == config_hash(two) != config_hash(composed("data=npz", "data.path=/b/y.npz"))


def test_every_experiment_and_protocol_begins_with_the_line_that_runs_it():
    for file in [*CONF.glob("experiment/*.yaml"), *CONF.glob("protocol/*.yaml")]:
        if file.stem != "none":
            header, command, *_ = file.read_text().splitlines()
            assert header == "# @package _global_", file
            assert file.stem in command or "make run" in command, file


def test_every_group_file_is_commented():
    for file in CONF.rglob("*.yaml"):
        assert "#" in file.read_text(), file


def test_a_mistake_is_reported_without_importing_torch():
    code = "import sys; sys.argv = ['bench', 'mixing.synthetic_ratio=2']\nfrom bench.__main__ import main\n"
    code += "try:\n    main()\nexcept SystemExit as e:\n    print(e.code, 'torch' in sys.modules)"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False"], done.stderr
    assert "mixing.synthetic_ratio=2: must lie in [0, 1]" in done.stderr
    assert time.monotonic() - started < 30
