"""FLOPs of a network, counted on tensors without contents, divided by the peak rate of a machine.

`python -m bench.perf.roofline` prints the resulting times for `experiment=flowers64` on an H100, from its data sheet,
and on this machine, from measured rates.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.config import register_schemas
from bench.generators.shared.unet import build_unet
from bench.perf.machine_limits import device_types, measured_machine
from bench.protocols import compose_config

H100 = 989e3  # GFLOP/s, dense bf16, from the data sheet of the SXM form

NUM_SEEDS, NUM_ARMS = 5, (13, 3)
"""Number of seeds of `collapse_v1`, and numbers of arms with its first and its second split."""


def gflop(unet: Any, shape: tuple[int, int, int, int], training: bool) -> float:
    """Count the GFLOP of a forward pass on a batch (N, 3, H, H); if `training`, add the backward pass. A multiply-add
    counts as two."""
    network = torch.nn.Module.to(build_unet(unet, shape[-1], seed=0), "meta")  # diffusers' own `to` warns
    x = torch.empty(shape, device="meta")
    t = torch.empty(shape[0], device="meta", dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(training):
        output = network(x, t, return_dict=False)[0]
        if training:
            output.sum().backward()
    return counter.get_total_flops() / 1e9


def report(device: str, rate: float) -> Iterator[str]:
    """Describe `experiment=flowers64` and `protocol=collapse_v1`, line by line. rate: GFLOP/s in bf16."""
    register_schemas()
    config = compose_config(["experiment=flowers64"])
    generator: Any = config.generator
    num_parameters = build_unet(generator.unet, config.data.resolution, seed=0).num_parameters()
    later = compose_config(["protocol=collapse_v1_flowers"]).num_generations - 1
    trainings = sum(NUM_SEEDS * (1 + arms * later) for arms in NUM_ARMS)  # a seed's generation 0 is shared
    image = (3, config.data.resolution, config.data.resolution)
    step = gflop(generator.unet, (generator.training.batch_size, *image), training=True)
    sample = gflop(generator.unet, (1, *image), training=False) * generator.sampling.num_steps
    hours = step / rate * generator.training.num_steps / 3600
    yield f"flowers64, {num_parameters / 1e6:.1f} M parameters, on {device} of {rate / 1e3:.3g} TFLOP/s: no less than"
    yield f"  {1e3 * step / rate:.1f} ms a step of {step / 1e3:.1f} TFLOP, {1e3 * sample / rate:.2f} ms a sample"
    yield f"  {hours:.2f} h a training, {hours * trainings:.0f} h for the {trainings} trainings of collapse_v1"


if __name__ == "__main__":
    here = [
        (machine["device"], machine["matrix_rate"]["bfloat16"]) for machine in map(measured_machine, device_types())
    ]
    for device, rate in (("an H100 SXM, on paper", H100), *here):
        print("\n".join(report(device, rate)))
