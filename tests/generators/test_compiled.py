"""Compilation pays only if it happens once: a chain trains and samples many networks of one shape in one process."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from configs import DDPMConfig, UNetConfig

from bench import generators
from bench.generators.ddpm.training import DDPMTraining
from bench.generators.shared import unet_training
from bench.generators.shared.unet import build_unet, place
from bench.machine.device import Runtime

Graphs = list[list[Any]]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graphs]:
    """Yield the inputs of every graph that torch.compile captures; each graph then runs uncompiled."""
    captured: Graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        captured.append(inputs)
        return graph.forward

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **how: compile_(module, backend=backend, **how))
    torch.compiler.reset()
    yield captured
    torch.compiler.reset()


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_later_generations_compile_nothing(
    tiny: Callable[..., DDPMConfig],
    images: np.ndarray,
    tmp_path: Path,
    graphs: Graphs,
    precision: torch.dtype | None,
) -> None:
    config, runtime = tiny(training={"num_steps": 3}), Runtime(torch.device("cpu"), precision, True)
    counts = []
    for generation in range(3):
        out, work = tmp_path / f"model{generation}", tmp_path / f"work{generation}"
        generators.fit(config, images, seed=generation, out=out, work=work, runtime=runtime)
        generators.sample(config, out, np.arange(3) + generation, work=work, runtime=runtime)
        counts.append(len(graphs))
    assert counts == [2, 2, 2], "one whole graph for training, one for sampling"
    assert all(isinstance(x, torch.Tensor) for inputs in graphs for x in inputs), "none for sizes that are not known"


@pytest.mark.slow
def test_a_sweep_over_more_networks_than_torch_compiles_by_itself(graphs: Graphs) -> None:
    for width in range(1, 11):
        unet = build_unet(UNetConfig([8 * width, 8 * width], [False, False], 1), 8, 0).eval()
        network = place(unet, Runtime(torch.device("cpu"), None, True))
        with torch.no_grad():
            network(torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64))
    assert len(graphs) == 10


def test_passes_of_a_batch_add_up_where_a_replayed_graph_leaves_its_gradients_in_one_place(
    tiny: Callable[..., DDPMConfig], images: np.ndarray, cpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check with a stand-in for a CUDA graph, whose backward pass writes each gradient where it wrote the last one."""

    def replayed(unet: torch.nn.Module, runtime: Runtime) -> torch.nn.Module:
        for weight in unet.parameters():
            place = torch.empty_like(weight)
            weight.register_hook(lambda gradient, place=place: place.copy_(gradient).view_as(place))
        return unet

    def gradient(runtime: Runtime) -> torch.Tensor:
        training = DDPMTraining(tiny(training={"num_micro_batches": 2}), images, 0, runtime, None)
        training.step(0)
        training.gradient(training.batches.draw(1), 1)
        return torch.cat([w.grad.flatten() for w in training.weights.values() if w.grad is not None])

    expected = gradient(cpu)
    monkeypatch.setattr(unet_training, "place", replayed)
    assert torch.equal(gradient(replace(cpu, compile=True)), expected)
    assert not torch.allclose(gradient(cpu), expected), "the stand-in overwrites gradients"
