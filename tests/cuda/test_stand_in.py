"""A chain on a stand-in for a CUDA device ends where it ends on the CPU, and no step of it waits for the device."""

from typing import Any

import pretended
import pytest

pytestmark = pytest.mark.slow  # a whole chain in an interpreter of its own: 20 s


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("chain")
    return pretended.run("chain.py", folder, str(folder))


def test_a_chain_ends_where_it_ends_on_the_cpu(found: dict[str, Any]) -> None:
    assert found["devices"] == ["cpu", "cpu", "a pretended GPU", "a pretended GPU"]
    assert max(found["weights"]) < 5e-3 and max(found["pixels"]) <= 1  # attention is computed another way
    rows = [row for generation in found["scores"] for row in generation]
    assert {"fid", "kid", "precision", "coverage", "risk"} <= {name for name, *_ in rows}
    for name, ours, theirs in rows:
        assert ours == pytest.approx(theirs, rel=0.02, abs=0.05), name


def test_it_trained_and_sampled_and_scored_on_the_device(found: dict[str, Any]) -> None:
    for operation in ("convolution_backward.default", "_fused_adamw_.default", "_linalg_eigh.default", "topk.default"):
        assert found["operations"].get(operation, 0) > 0, operation


def test_a_stopped_training_goes_on_from_its_last_step(found: dict[str, Any]) -> None:
    assert found["stop"].startswith("Interrupted") and found["resumed_from"] == 5


def test_no_step_waits_for_the_device(found: dict[str, Any]) -> None:
    first, *others = found["waits"]
    assert others == [0] * 11, "the second process, and the second generation, run 1 and 6 steps"
    assert first == 0


def test_each_check_can_fail(found: dict[str, Any]) -> None:
    assert min(found["waits_of_a_reading"]) == 1
    assert "tensors on cuda:0 and cpu meet" in found["mixed"]
    assert "does not have a deterministic implementation" in found["unordered"]
