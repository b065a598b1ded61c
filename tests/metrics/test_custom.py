import hashlib

import numpy as np
import pytest
from configs import checked

from bench.config import MetricsConfig, RuntimeConfig
from bench.errors import ConfigError, MetricError
from bench.features.shared.extraction import extract, feature_space_spec, load_feature_space, prefetch
from bench.machine.device import resolve_runtime

MODULE = """
import torch

class Means(torch.nn.Module):
    dimension, input_size = 3, 16

    def forward(self, images):
        return images.double().mean((2, 3))

def make_extractor(weights):
    return Means()

class Told(Means):
    def __init__(self, weights):
        super().__init__()
        self.told, self.noise = weights, torch.nn.Dropout(0.9)

    def forward(self, images):
        return self.noise(super().forward(images))

def told(weights):
    return Told(weights)

def wrong(weights):
    return lambda images: images

def unsized(weights):
    return torch.nn.Identity()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module to the working directory, with a different name for each test."""
    name = f"space_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_module_of_ones_own_is_a_feature_space(module, tmp_path):
    name = MetricsConfig(feature_space=f"{module}:make_extractor").feature_space
    space = load_feature_space(name, resolve_runtime(RuntimeConfig(device="cpu")))
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    result = extract(space, images)
    np.testing.assert_allclose(result, images.mean((2, 3)), rtol=1e-6)
    assert result.dtype == np.float32 and space.dimension == 3
    assert prefetch(name) is None

    before = feature_space_spec(name)
    assert before["source_sha256"] == hashlib.sha256((tmp_path / f"{module}.py").read_bytes()).hexdigest()
    (tmp_path / f"{module}.py").write_text(MODULE + "\n# changed while it runs\n")
    assert feature_space_spec(name)["source_sha256"] == before["source_sha256"]  # of the code that runs
    (tmp_path / "w.bin").write_bytes(b"1")
    assert feature_space_spec(name, str(tmp_path / "w.bin"))["weights_sha256"] != before["weights_sha256"] == ""


def test_what_is_no_feature_space_is_refused(module):
    runtime = resolve_runtime(RuntimeConfig(device="cpu"))
    with pytest.raises(ConfigError, match="cannot be imported"):
        feature_space_spec("no_such_module_here:f")
    with pytest.raises(ConfigError, match="cannot be imported"):
        prefetch("no_such_module_here:f")  # the error must come before long work
    with pytest.raises(ConfigError, match="no function 'absent'"):
        feature_space_spec(f"{module}:absent")
    with pytest.raises(MetricError, match=r"expected a torch\.nn\.Module"):
        load_feature_space(f"{module}:wrong", runtime)
    with pytest.raises(MetricError, match="'dimension'"):
        load_feature_space(f"{module}:unsized", runtime)
    with pytest.raises(ConfigError, match="vgg"):
        checked(MetricsConfig(feature_space="vgg"), "metrics")


def test_a_custom_space_gets_its_weights_and_runs_in_evaluation_mode(module, tmp_path):
    """Check that the network runs in evaluation mode and without gradients: dropout has no effect."""
    path = tmp_path / "w.bin"
    path.write_bytes(b"abc")
    space = load_feature_space(f"{module}:told", resolve_runtime(RuntimeConfig(device="cpu")), str(path))
    assert space.network.told == str(path) and prefetch(f"{module}:told", str(path)) == path
    assert (space.name, space.dimension, space.input_size) == (f"{module}:told", 3, 16)
    assert space.weights_sha256 == hashlib.sha256(b"abc").hexdigest() and space.version == 1
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    np.testing.assert_allclose(extract(space, images), images.mean((2, 3)), rtol=1e-6)
    assert load_feature_space(f"{module}:told", resolve_runtime(RuntimeConfig(device="cpu"))).network.told is None
    with pytest.raises(MetricError, match="absent"):
        prefetch(f"{module}:told", str(tmp_path / "absent"))


def test_the_version_of_ones_own_space_is_part_of_its_identity(tmp_path, monkeypatch):
    name = f"versioned_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE + "\nVERSION = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = feature_space_spec(f"{name}:make_extractor")
    assert (spec["name"], spec["version"]) == (f"{name}:make_extractor", 7)
    assert load_feature_space(f"{name}:make_extractor", resolve_runtime(RuntimeConfig(device="cpu"))).version == 7
