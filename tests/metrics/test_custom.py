import numpy as np
import pytest

from bench.config import MetricsConfig, RuntimeConfig
from bench.errors import ConfigError, MetricError
from bench.metrics.features import extract, feature_space_spec, load_feature_space, prefetch
from bench.runtime import resolve

MODULE = """
import torch

class Means(torch.nn.Module):
    dimension, input_size = 3, 16

    def forward(self, images):
        return images.double().mean((2, 3))

def make_extractor(weights):
    return Means()

def wrong(weights):
    return lambda images: images

def unsized(weights):
    return torch.nn.Identity()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the working directory, under a name of its own per test."""
    name = f"space_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_module_of_ones_own_is_a_feature_space(module, tmp_path):
    name = MetricsConfig(feature_space=f"{module}:make_extractor").feature_space
    space = load_feature_space(name, resolve(RuntimeConfig(device="cpu")))
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    result = extract(space, images)
    np.testing.assert_allclose(result, images.mean((2, 3)), rtol=1e-6)
    assert result.dtype == np.float32 and space.dimension == 3
    assert prefetch(name) is None

    before = feature_space_spec(name)
    (tmp_path / f"{module}.py").write_text(MODULE + "\n# changed\n")
    assert feature_space_spec(name)["source_sha256"] != before["source_sha256"]
    (tmp_path / "w.bin").write_bytes(b"1")
    assert feature_space_spec(name, str(tmp_path / "w.bin"))["weights_sha256"] != before["weights_sha256"] == ""


def test_what_is_no_feature_space_is_refused(module):
    runtime = resolve(RuntimeConfig(device="cpu"))
    with pytest.raises(ConfigError, match="cannot import"):
        feature_space_spec("no_such_module_here:f")
    with pytest.raises(ConfigError, match="no function 'absent'"):
        feature_space_spec(f"{module}:absent")
    with pytest.raises(MetricError, match=r"expected a torch\.nn\.Module"):
        load_feature_space(f"{module}:wrong", runtime)
    with pytest.raises(MetricError, match="'dimension'"):
        load_feature_space(f"{module}:unsized", runtime)
    with pytest.raises(ConfigError, match="vgg"):
        MetricsConfig(feature_space="vgg")
