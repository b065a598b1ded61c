"""A training that is asked to stop, or runs out of device memory, ends in the same model as one that is not."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from configs import DDPMConfig
from safetensors.numpy import load_file

from bench import generators
from bench.errors import TrainingError
from bench.generators.ddpm import process
from bench.generators.ddpm import training as ddpm
from bench.generators.shared.noisy_batches import NoisyBatches
from bench.machine import interrupt, out_of_memory
from bench.machine.device import Runtime

Make = Callable[..., DDPMConfig]


@pytest.fixture
def fit(images: np.ndarray, cpu: Runtime, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function fit(config, name, ...) that trains into tmp_path/name; the same name again resumes."""

    def run(config: DDPMConfig, name: str, **more: Any) -> dict[str, Any]:
        return generators.fit(
            config, images, seed=3, out=tmp_path / name, work=tmp_path / f"{name}-work", runtime=cpu, **more
        )

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("at", [2, 6, 8, 11, 12])
def test_sigterm_saves_the_step_and_the_rest_is_the_same(tiny: Make, fit: Any, tmp_path: Path, at: int) -> None:
    """Check steps with and without a regular checkpoint, and the last one."""
    expected = fit(tiny(), "whole")

    def terminate(done: int, total: int) -> None:
        if done == at - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm():
        fit(tiny(), "cut", progress=terminate)
    assert not (tmp_path / "cut").exists()
    facts = fit(tiny(), "cut")
    assert facts["resumed_from_step"] == at
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert facts["mean_loss"] == expected["mean_loss"]


def pretend_out_of_memory(monkeypatch: pytest.MonkeyPatch, limit: int, from_step: int = 0) -> list[int]:
    """Simulate a device with room for `limit` images at a time, from a given call on. Returns the sizes requested."""
    sizes: list[int] = []
    loss = process.Process.loss

    def limited(self: Any, network: Any, x0: torch.Tensor, *rest: Any) -> torch.Tensor:
        sizes.append(len(x0))
        if len(sizes) > from_step and len(x0) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")
        return loss(self, network, x0, *rest)

    monkeypatch.setattr(process.Process, "loss", limited)
    return sizes


def test_out_of_memory_is_retried_with_smaller_micro_batches(
    tiny: Make, fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    expected = fit(tiny(), "whole")
    sizes = pretend_out_of_memory(monkeypatch, limit=3, from_step=5)
    facts = fit(tiny(), "small")
    assert sizes[:8] == [8, 8, 8, 8, 8, 8, 4, 2]
    assert sizes[7:] == [2] * (7 * 4)
    assert facts["num_micro_batches"] == 4 and expected["num_micro_batches"] == 1
    assert facts["images_seen"] == expected["images_seen"]
    assert "out of device memory in step 5: batches of 8 are computed in 4 passes" in caplog.text
    assert facts["mean_loss"] == pytest.approx(expected["mean_loss"], rel=1e-3)
    a, b = (load_file(tmp_path / name / "unet" / "diffusion_pytorch_model.safetensors") for name in ("whole", "small"))
    assert all(np.allclose(a[name], b[name], atol=1e-2) for name in a)


def test_out_of_memory_for_a_single_image_is_an_error(tiny: Make, fit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = pretend_out_of_memory(monkeypatch, limit=0)
    with pytest.raises(TrainingError, match="out of device memory in step 0, for one image at a time"):
        fit(tiny(), "none")
    assert sizes == [8, 4, 2, 1]


def test_an_out_of_memory_beside_another_program_is_told_to_log_and_ledger(
    tiny: Make, fit: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(out_of_memory, "bytes_of_others", lambda device: 30 * 2**30)
    pretend_out_of_memory(monkeypatch, limit=4, from_step=5)
    facts = fit(tiny(), "small")
    assert facts["out_of_memory"] == [{"process": 0, "bytes_of_others": 30 * 2**30, "step": 5, "num_micro_batches": 1}]
    assert "out of device memory, of which other programs hold 30.0 GiB in step 5: batches of 8" in caplog.text


@pytest.mark.parametrize(("free", "reserved", "others"), [(20, 50, 10), (29, 50, 0), (80, 0, 0)])
def test_memory_of_other_programs_is_what_neither_is_free_nor_ours(
    monkeypatch: pytest.MonkeyPatch, free: int, reserved: int, others: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved * 2**30)
    assert out_of_memory.bytes_of_others(torch.device("cuda")) == others * 2**30
    assert out_of_memory.bytes_of_others(torch.device("cpu")) == 0


def gradient(train: ddpm.DDPMTraining) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in train.unet.parameters() if weight.grad is not None])


def test_micro_batches_give_the_gradient_of_the_batch(tiny: Make, images: np.ndarray, cpu: Runtime) -> None:
    outcomes = []
    for passes in (1, 3, 8):
        config = tiny(training={"num_micro_batches": passes})
        train = ddpm.DDPMTraining(config, images, 0, cpu, None)
        batch = NoisyBatches(images, config.training, 0, cpu.device, cpu.draw_on).draw(0)
        loss = train.gradient(batch, 0)
        outcomes.append([loss.item(), gradient(train).numpy()])
    for other in outcomes[1:]:
        for a, b in zip(outcomes[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_out_of_memory_in_a_later_pass_forgets_the_earlier_ones(
    tiny: Make, images: np.ndarray, cpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(training={"num_micro_batches": 2})
    batch = NoisyBatches(images, config.training, 0, cpu.device, cpu.draw_on).draw(0)
    undisturbed, disturbed = (ddpm.DDPMTraining(config, images, 0, cpu, None) for _ in range(2))
    undisturbed.gradient(batch, 0)
    loss, calls = process.Process.loss, iter(range(100))

    def fails_once(*arguments: Any) -> torch.Tensor:
        if next(calls) == 1:
            raise torch.OutOfMemoryError
        return loss(*arguments)

    monkeypatch.setattr(process.Process, "loss", fails_once)
    disturbed.gradient(batch, 0)
    assert disturbed.num_micro_batches == 4 and next(calls) == 2 + 4
    torch.testing.assert_close(gradient(disturbed), gradient(undisturbed), rtol=1e-3, atol=1e-5)


def test_resumed_training_keeps_its_micro_batches(
    tiny: Make, fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 8:
            raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        pretend_out_of_memory(patch, limit=4)
        fit(tiny(), "cut", progress=stop)
    facts = fit(tiny(), "cut")
    assert (facts["resumed_from_step"], facts["num_micro_batches"]) == (8, 2)
    assert [event["step"] for event in facts["out_of_memory"]] == [0], "the ledger forgets why"


@pytest.mark.parametrize("bad", [1, 5, 9, 12])
def test_a_loss_that_is_no_number_names_its_step(
    tiny: Make, fit: Any, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    gradient = ddpm.DDPMTraining.gradient

    def poisoned(self: ddpm.DDPMTraining, batch: Any, step: int) -> torch.Tensor:
        loss = gradient(self, batch, step)
        return loss * float("nan") if step + 1 == bad else loss

    monkeypatch.setattr(ddpm.DDPMTraining, "gradient", poisoned)
    with pytest.raises(TrainingError, match=rf"became nan at step {bad} of 12 .*last good checkpoint"):
        fit(tiny(), "poisoned")
