"""The feature spaces at full size, through `extract`, on CUDA tensors without contents."""

from typing import Any

import pretended
import pytest

pytestmark = pytest.mark.slow  # 15 s


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pytest.importorskip("timm", reason="the extra dinov2 is not installed")
    return pretended.run("extraction.py", tmp_path_factory.mktemp("extraction"))


@pytest.mark.parametrize(
    ("space", "dimension"), [("inception_v3", 2048), ("dinov2", 1024), ("efficientnet_lite0", 1280)]
)
def test_features_are_computed_on_the_device_and_read_once_a_tile(
    found: dict[str, Any], space: str, dimension: int
) -> None:
    read, copies, result = found[space]
    assert read == [["cpu", "torch.float32", [n, dimension]] for n in (64, 36)], "100 images are two tiles"
    assert copies == [2, 2], "each tile goes to the device once, and its features come back once"
    assert result == ["float32", [100, dimension]]


def test_each_check_can_fail(found: dict[str, Any]) -> None:
    assert "Expected all tensors to be on the same device" in found["host"]
    assert "DataDependentOutputException" in found["reading"]
    assert found["read_twice"][1] == [4, 4]
