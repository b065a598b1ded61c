"""The training step of the headline network compiles to one graph, and its kernels to machine code, without a GPU."""

from typing import Any

import pretended
import pytest

pytestmark = pytest.mark.slow  # four minutes of one core

TARGETS = ("sm_80", "sm_90", "sm_100")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pytest.importorskip("triton", reason="this build of torch has no triton")
    return pretended.run("compiled_kernels.py", tmp_path_factory.mktemp("kernels"), *TARGETS, timeout=3000)


def test_the_step_is_one_graph_in_bf16(found: dict[str, Any]) -> None:
    assert found["runtime"] == ["cuda", "bf16", True] and found["captured"] == 1
    forward, backward = found["graphs"]
    assert forward["convolutions"] > 40 and backward["convolutions"] >= forward["convolutions"]
    for graph in (forward, backward):
        assert graph["dtypes"] == ["torch.bfloat16"]
        assert graph["attention"], "attention is one operation, not products and a softmax"
        assert graph["waits"] == []


@pytest.mark.parametrize("target", TARGETS)
def test_every_kernel_has_machine_code_for(found: dict[str, Any], target: str) -> None:
    assert found["kernels"] > 100 and found[target] == found["kernels"]


def test_each_check_can_fail(found: dict[str, Any]) -> None:
    assert "Expected all tensors to be on the same device" in found["host"]
    assert "_local_scalar_dense" in found["reading"]
    assert "masked_select" in found["shape"] or "nonzero" in found["shape"]
    assert "PTXASError" in found["no such target"]
