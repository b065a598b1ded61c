import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from bench.config import RuntimeConfig
from bench.errors import MetricError
from bench.features import dinov2
from bench.features.shared import extraction, networks
from bench.features.shared.extraction import extract, feature_space_spec, load_feature_space
from bench.features.shared.weights import sha256_of
from bench.machine.device import resolve_runtime

timm = pytest.importorskip("timm", reason="the extra dinov2 is not installed")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Use the smallest DINOv2 with the same code, because the large one takes 1.2 GB."""
    monkeypatch.setattr(dinov2, "ARCHITECTURE", "vit_small_patch14_dinov2")
    monkeypatch.setattr(dinov2, "DIMENSION", 384)
    monkeypatch.setattr(extraction, "TILE", 2)


def random_state(size: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, img_size=size)
    return {k: torch.randn_like(v) * 0.05 if v.ndim < 2 else v for k, v in network.state_dict().items()}


def pictures(n: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8)


def load(path):
    return load_feature_space("dinov2", resolve_runtime(RuntimeConfig(device="cpu")), str(path))


def test_features_are_the_class_token_of_the_normalised_picture(tmp_path):
    state = random_state(224)
    torch.save(state, tmp_path / "w.pth")
    reference = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=224).eval()
    reference.load_state_dict(state)
    images = torch.from_numpy(pictures(3))
    x = F.interpolate(images.float(), (224, 224), mode="bicubic", antialias=True).clamp(0, 255) / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        expected = reference.forward_features(x)[:, 0]
    result = extract(load(tmp_path / "w.pth"), images.numpy())
    assert result.shape == (3, 384)
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_both_file_layouts_give_the_same_features(tmp_path):
    state = random_state(518)  # the resolution of the published weights
    save_file(state, tmp_path / "timm.safetensors")
    torch.save({**state, "mask_token": torch.zeros(1, 384)}, tmp_path / "original.pth")
    results = [extract(load(tmp_path / name), pictures(2)) for name in ("timm.safetensors", "original.pth")]
    np.testing.assert_array_equal(*results)
    assert results[0].std() > 0.01
    spec = feature_space_spec("dinov2", str(tmp_path / "original.pth"))
    assert spec["dimension"] == 384 and len(spec["weights_sha256"]) == 64


def test_position_embeddings_are_resampled_in_place():
    ramp = torch.linspace(0, 1, 37)
    embedding = torch.cat([torch.full((1, 1), 9.0), ramp.repeat_interleave(37)[:, None]]).unsqueeze(0)
    result = networks.resample_positions(embedding)
    assert result.shape == (1, 1 + 16 * 16, 1) and result[0, 0, 0] == 9
    rows = result[0, 1:, 0].reshape(16, 16)
    assert (rows.diff(dim=0) > 0).all() and rows.diff(dim=1).abs().max() < 1e-5


def test_other_weights_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(MetricError, match="does not fit"):
        load(tmp_path / "w.pth")


def test_position_embeddings_lie_where_the_original_code_puts_them():
    """Check that the grid of 37 is resampled by (16 + 0.1) / 37. Torch's cubic deviates from a straight line by 0.05 at
    most, and without the 0.1 the last rows would be off by 0.2."""
    ramp = torch.arange(37.0)
    embedding = torch.cat([torch.zeros(1, 1), ramp.repeat(37)[:, None]]).unsqueeze(0)
    grid = networks.resample_positions(embedding)[0, 1:, 0].reshape(16, 16)
    expected = (torch.arange(16) + 0.5) * 37 / 16.1 - 0.5
    torch.testing.assert_close(grid[5, 1:-1], expected[1:-1], rtol=0, atol=0.06)


def test_weights_are_downloaded_once_to_where_torch_keeps_them(tmp_path, monkeypatch):
    asked = []

    def download(url, path, *others):
        asked.append(url)
        path.parent.mkdir(parents=True)
        torch.save({"a": torch.zeros(1)}, path)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(dinov2, "download", download)
    path = extraction.prefetch("dinov2")
    assert path == tmp_path / "checkpoints" / "dinov2_vitl14_pretrain.pth" == extraction.prefetch("dinov2")
    assert asked == ["https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth"]
    assert feature_space_spec("dinov2")["weights_sha256"] == sha256_of(path)
    assert extraction.prefetch("dinov2", str(path)) == path
