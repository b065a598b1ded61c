"""A training step on paper: its FLOPs and bytes, counted on the network, over what an accelerator can do at best.

`python -m bench.perf.roofline` prints it for `experiment=flowers64` on an H100 SXM: nothing here was measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.config import Config, DDPMConfig, register_schemas
from bench.perf.counting import training_step
from bench.protocols import compose_config


@dataclass(frozen=True)
class Accelerator:
    """What the data sheet says: dense bf16 FLOP/s, and bytes/s of its memory."""

    name: str
    matrix: float
    bandwidth: float


H100 = Accelerator("H100 SXM", 989e12, 3.35e12)


def report(device: Accelerator = H100) -> Iterator[str]:
    """For `experiment=flowers64` and `protocol=collapse_v1`, line by line."""
    config, trainings = _headline()
    assert isinstance(config.generator, DDPMConfig)
    step = training_step(config.generator, config.data.resolution)
    limits = {name: 1e3 * s for name, s in step.seconds(device.matrix, device.bandwidth).items()}
    peak = f"{device.matrix / 1e12:.0f} TFLOP/s bf16, {device.bandwidth / 1e12} TB/s"
    size = (
        f"{step.num_parameters / 1e6:.1f} M parameters; batch {step.batch_size}; {step.flops / 1e12:.1f} TFLOP a step"
    )
    yield f"flowers64 on one {device.name}, on paper ({peak})"
    yield f"network: {size}"
    for name, milliseconds in limits.items():
        yield f"  limit {name:22s} {milliseconds:6.1f} ms a step"
    steps = config.generator.training.num_steps
    for name, milliseconds in (
        ("at the matrix limit", limits["matrix"]),
        ("matrix and fused memory one after the other", limits["matrix"] + limits["memory, all fused"]),
        ("matrix and unfused memory one after the other", limits["matrix"] + limits["memory, nothing fused"]),
    ):
        hours = milliseconds * steps / 3.6e6
        share = 100 * limits["matrix"] / milliseconds
        yield (
            f"  {name}: {milliseconds:.1f} ms, {share:.0f} % of the matrix rate, {hours:.2f} h a training, "
            f"{hours * trainings:.0f} h for the {trainings} trainings of collapse_v1"
        )


def _headline() -> tuple[Config, int]:
    """The configuration, and how many trainings six ratios and three seeds make: a seed's generation 0 is shared."""
    register_schemas()
    config = compose_config(["experiment=flowers64"])
    return config, 3 * (1 + 6 * (config.num_generations - 1))


if __name__ == "__main__":
    print("\n".join(report()))
