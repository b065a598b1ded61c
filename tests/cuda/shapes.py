"""The headline network at full size on tensors without contents that are on CUDA; run by test_shapes.py. Prints JSON.

A tensor of the CPU in a step, a value that the host reads, or a shape that depends on values raises an error.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pretended
import torch
from shrunk import composed
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.generators.ddpm.sampling import trajectory
from bench.generators.ddpm.solvers import build_solver
from bench.generators.ddpm.training import DDPMTraining
from bench.generators.shared.unet import build_unet, place
from bench.generators.shared.unet_sampling import TILES
from bench.machine.device import resolve_runtime

CONFIG = composed("experiment=flowers64", "runtime.device=cuda", "runtime.compile=false")
WRONG: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "host": lambda loss: loss * torch.ones(3),
    "reading": lambda loss: loss * loss.item(),
    "shape": lambda loss: torch.masked_select(loss, loss > 0).sum(),
}
"""Errors planted in a step."""
SAMPLERS = ("ddpm", "ddim", "dpmsolver++", "sde-dpmsolver++")


def main() -> dict[str, Any]:
    torch.set_num_threads(1)
    generator: Any = CONFIG.generator
    found: dict[str, Any] = {}
    images = np.zeros((256, 3, 64, 64), np.uint8)
    unet = build_unet(generator.unet, 64, 0).eval()
    samplings = [replace(generator.sampling, sampler=name, num_steps=4, eta=0.0) for name in SAMPLERS]
    solvers = [build_solver(sampling, generator.noise) for sampling in samplings]  # reads the schedule, on the host
    with pretended.device():
        runtime = resolve_runtime(CONFIG.runtime)
        with FakeTensorMode(allow_non_fake_inputs=True):
            training = DDPMTraining(generator, images, 0, runtime, None)
            loss = training.step(0)
            found["loss"] = [str(loss.device), str(loss.dtype), list(loss.shape)]
            found["state"] = sorted({str(tensor.device) for tensor in training.tensors().values()})
            found["num_parameters"] = sum(weight.numel() for weight in training.weights.values())
            for name, wrong in WRONG.items():
                gradient = training.gradient
                with mock.patch.object(training, "gradient", lambda *a, g=gradient, w=wrong: w(g(*a))):
                    found[name] = pretended.failure(lambda: training.step(1))
            network, process = place(unet, runtime), training.process
            seeds = torch.zeros(TILES["cuda"], dtype=torch.int64, device="cuda")
            for sampling, solver in zip(samplings, solvers, strict=True):
                with mock.patch("bench.generators.ddpm.sampling.build_solver", lambda *a, s=solver: s):
                    x = trajectory(replace(generator, sampling=sampling), process, network, seeds, 64, runtime)
                found[sampling.sampler] = [str(x.device), str(x.dtype), list(x.shape)]
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
