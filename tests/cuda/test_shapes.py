"""The headline network and its samplers at full size, on CUDA tensors without contents."""

from typing import Any

import pretended
import pytest

pytestmark = pytest.mark.slow  # 20 s


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return pretended.run("shapes.py", tmp_path_factory.mktemp("shapes"))


def test_a_training_step_stays_on_the_device(found: dict[str, Any]) -> None:
    assert found["loss"] == ["cuda:0", "torch.float32", []] and found["state"] == ["cuda:0"]
    assert found["num_parameters"] == 37_064_707


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmsolver++", "sde-dpmsolver++"])
def test_a_trajectory_stays_on_the_device(found: dict[str, Any], sampler: str) -> None:
    assert found[sampler] == ["cuda:0", "torch.float32", [128, 3, 64, 64]]


def test_each_check_can_fail(found: dict[str, Any]) -> None:
    assert "Expected all tensors to be on the same device" in found["host"]
    assert "DataDependentOutputException" in found["reading"]
    assert "DynamicOutputShapeException" in found["shape"]
