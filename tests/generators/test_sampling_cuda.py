"""Sampling on CUDA: nothing waits for the device between the noise and the image."""

from collections.abc import Callable

import pytest
import torch
from configs import DDPMConfig

from bench.generators.ddpm.network import build_process, build_unet, place
from bench.generators.ddpm.sampling import quantise, trajectory
from bench.machine.device import Runtime

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize(("compiled", "graphs"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(
    ("sampler", "eta"),
    [("ddpm", 0.0), ("ddim", 0.0), ("ddim", 0.5), ("dpmsolver++", 0.0), ("sde-dpmsolver++", 0.0)],
)
def test_no_step_of_a_trajectory_waits_for_the_device(
    tiny: Callable[..., DDPMConfig], prediction: str, sampler: str, eta: float, compiled: bool, graphs: bool
) -> None:
    runtime = Runtime(torch.device("cuda"), torch.bfloat16, compiled, graphs)
    config = tiny(noise={"prediction": prediction}, sampling={"sampler": sampler, "eta": eta, "num_steps": 10})
    network = place(build_unet(config.unet, 8, 0).eval(), runtime)
    process = build_process(config.noise, runtime.device)
    seeds = torch.arange(6, device=runtime.device)
    for _ in range(3):  # sets things up; graphs are recorded in the second evaluation
        first = quantise(trajectory(config, process, network, seeds, 8, runtime))
    try:
        torch.cuda.set_sync_debug_mode("error")
        again = quantise(trajectory(config, process, network, seeds, 8, runtime))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (first.int() - again.int()).abs().max() <= 1  # the same images, up to the last bits
