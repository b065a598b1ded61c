"""Processes that share the batches of a training: one model, one count of losses, one answer to a full device."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks
import torch
from configs import DDPMConfig, TrainingConfig
from tiny_chain import tiny

from bench import generators
from bench.generators.ddpm import process
from bench.generators.shared import steps
from bench.machine import distributed, interrupt
from bench.machine.device import Runtime

STOPPED_AT = 7


def config(folder: Path) -> DDPMConfig:
    generator = tiny(folder).generator
    assert isinstance(generator, DDPMConfig)
    return replace(generator, training=replace(generator.training, num_steps=12, num_micro_batches=2))


def fit(folder: Path, name: str, **more: Any) -> dict[str, Any]:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16)).astype(np.uint8)
    out, runtime = folder / f"{name}{distributed.rank()}", Runtime(torch.device("cpu"), None, False)
    return generators.fit(
        config(folder), images, seed=0, out=out, work=folder / f"{name}-work", runtime=runtime, **more
    )


class Whole(steps.Trainee):
    """A training that every process does whole, with a loss of 1 in every step."""

    def step(self, step: int) -> torch.Tensor:
        return torch.ones(())

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"none": torch.zeros(1)}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        pass


def two_trainings(folder: Path) -> None:
    """Run in two processes: go on where one process was stopped, then run out of memory in the second process."""
    loss = process.Process.loss

    def limited(self: Any, network: Any, x0: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(x0) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")
        return loss(self, network, x0, *rest)

    with distributed.group():
        facts = {"resumed": fit(folder, "cut")}
        training = TrainingConfig(num_steps=12, checkpoint_every=100)
        cpu, work = torch.device("cpu"), folder / "whole-work"
        course = steps.train(Whole(), training, identity="", device=cpu, work=work, progress=lambda done, total: None)
        facts["whole"] = course.facts(training)
        if distributed.rank() == 1:
            process.Process.loss = limited  # type: ignore[method-assign]
        facts["full"] = fit(folder, "full")
        (folder / f"{distributed.rank()}.json").write_text(json.dumps(facts))
        distributed.barrier()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")

    def terminate(done: int, total: int) -> None:
        if done == STOPPED_AT - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(interrupt.Interrupted), interrupt.on_sigterm():
        fit(folder, "cut", progress=terminate)
    ranks.run(two_trainings, 2, folder)
    return folder


def facts(folder: Path, name: str) -> dict[str, Any]:
    first, second = (json.loads((folder / f"{rank}.json").read_text())[name] for rank in range(2))
    assert first["mean_loss"] == second["mean_loss"]
    return dict(first)


def weights(folder: Path) -> bytes:
    return (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()


def test_losses_of_one_process_count_once_in_two(folder: Path, tmp_path: Path) -> None:
    alone, resumed = fit(tmp_path, "whole"), facts(folder, "resumed")
    assert (resumed["resumed_from_step"], resumed["num_processes"], alone["num_processes"]) == (STOPPED_AT, 2, 1)
    assert resumed["mean_loss"] == pytest.approx(alone["mean_loss"], rel=1e-5)
    assert weights(folder / "cut0") == weights(tmp_path / "whole0"), "the sum of two has the same bytes in any order"


def test_the_loss_of_a_training_that_is_not_shared_is_not_added_up(folder: Path) -> None:
    assert facts(folder, "whole")["mean_loss"] == 1.0


def test_an_out_of_memory_of_one_process_is_one_of_both(folder: Path) -> None:
    full = facts(folder, "full")
    assert full["num_micro_batches"] == 4
    assert full["out_of_memory"] == [{"process": 1, "bytes_of_others": 0, "step": 0, "num_micro_batches": 2}]
    assert weights(folder / "full0") == weights(folder / "full1")
    assert full["mean_loss"] == pytest.approx(facts(folder, "resumed")["mean_loss"], rel=1e-3)
