"""Sampling on CUDA: nothing waits for the device between the noise and the image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import device_tests
import numpy as np
import pytest
import torch
from configs import DDPMConfig

from bench import generators
from bench.generators.ddpm.process import build_process
from bench.generators.ddpm.sampling import trajectory
from bench.generators.shared.unet import build_unet, place
from bench.generators.shared.unet_sampling import quantise
from bench.machine.device import Runtime, set_deterministic

pytestmark = device_tests.marks


@device_tests.ways
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(
    ("sampler", "eta"),
    [("ddpm", 0.0), ("ddim", 0.0), ("ddim", 0.5), ("dpmsolver++", 0.0), ("sde-dpmsolver++", 0.0)],
)
def test_no_step_of_a_trajectory_waits_for_the_device(
    tiny: Callable[..., DDPMConfig], prediction: str, sampler: str, eta: float, compiled: bool, graphs: bool
) -> None:
    runtime = Runtime(torch.device(device_tests.KIND), torch.bfloat16, compiled, graphs)
    config = tiny(noise={"prediction": prediction}, sampling={"sampler": sampler, "eta": eta, "num_steps": 10})
    network = place(build_unet(config.unet, 8, 0).eval(), runtime)
    process = build_process(config.noise, runtime.device)
    seeds = torch.arange(6, device=runtime.device)
    for _ in range(3):  # sets things up; graphs are recorded in the second evaluation
        first = quantise(trajectory(config, process, network, seeds, 8, runtime))
    try:
        device_tests.waiting_is("error")
        again = quantise(trajectory(config, process, network, seeds, 8, runtime))
    finally:
        device_tests.waiting_is("default")
    assert (first.int() - again.int()).abs().max() <= 1  # the same images, up to the last bits
    exact, rounded = (plain(config, process, seeds, precision) for precision in (None, torch.bfloat16))
    error = (rounded - exact).abs().mean()  # an untrained network that predicts x0 makes up to 4 of 255 of it
    assert (first.float() - exact).abs().mean() <= 2 * error + 0.1, (
        "those of uncompiled code, up to the rounding of bf16"
    )


def plain(config: DDPMConfig, process: Any, seeds: torch.Tensor, precision: torch.dtype | None) -> torch.Tensor:
    """Return the images of uncompiled code, as float32 of shape (6, 3, 8, 8)."""
    runtime = Runtime(torch.device(device_tests.KIND), precision, compile=False)
    network = place(build_unet(config.unet, 8, 0).eval(), runtime)
    return quantise(trajectory(config, process, network, seeds, 8, runtime)).float()


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_the_size_of_a_block_changes_no_pixel(tmp_path: Path, precision: torch.dtype | None) -> None:
    config = device_tests.headline("generator.sampling.num_steps=5", "generator.training.num_steps=1")
    generator: Any = config.generator
    images = np.zeros((128, 3, config.data.resolution, config.data.resolution), np.uint8)
    runtime = Runtime(torch.device(device_tests.KIND), precision, False, deterministic=True)
    set_deterministic(True)
    try:
        generators.fit(generator, images, seed=0, out=tmp_path / "model", work=tmp_path / "work", runtime=runtime)
        drawn = []
        for size in (64, 512):
            generator.sampling.batch_size = size
            work = tmp_path / str(size)
            drawn.append(generators.sample(generator, tmp_path / "model", np.arange(200), work=work, runtime=runtime))
    finally:
        set_deterministic(False)
    assert (drawn[0] == drawn[1]).all()
