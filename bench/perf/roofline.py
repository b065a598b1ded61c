"""A training step on paper: its FLOPs and bytes, counted on the network, over what an accelerator can do at best.

`python -m bench.perf.roofline` prints it for `experiment=flowers64` on an H100 SXM: nothing here was measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from bench.config import Config, DDPMConfig, register_schemas
from bench.generators.network import build_process, build_unet
from bench.generators.upsampling import merge_upsampling
from bench.protocols import compose_config

MATRIX_OPS = ("conv", "mm", "attention")
"""Substrings of the operators that no compiler fuses into others."""

OPTIMIZER_PASSES = 13
"""Reads and writes of all parameters, in float32, in one update: clipping reads the gradient twice and writes it, AdamW
reads parameter, gradient and two moments and writes three, the average reads two and writes one; 13 in all."""


@dataclass(frozen=True)
class Accelerator:
    """What the data sheet says: dense bf16 FLOP/s, and bytes/s of its memory."""

    name: str
    matrix: float
    bandwidth: float


H100 = Accelerator("H100 SXM", 989e12, 3.35e12)


@dataclass(frozen=True)
class Step:
    """flops: forward and backward of one batch, a multiply-add counting as two. bytes_fused: read and written by
    convolutions, products and attention alone, as if everything between them were fused into them. bytes_plain: by
    every operator on its own. bytes_update: clipping, optimiser and average."""

    batch_size: int
    num_parameters: int
    flops: int
    bytes_fused: int
    bytes_plain: int
    bytes_update: int

    def limits(self, device: Accelerator) -> dict[str, float]:
        """Milliseconds at each limit."""
        return {
            "matrix": 1e3 * self.flops / device.matrix,
            "memory, all fused": 1e3 * (self.bytes_fused + self.bytes_update) / device.bandwidth,
            "memory, nothing fused": 1e3 * (self.bytes_plain + self.bytes_update) / device.bandwidth,
        }


def count(config: DDPMConfig, resolution: int) -> Step:
    """Counts a step of training in bf16, on tensors without contents; takes seconds."""
    batch = config.training.batch_size
    unet = build_unet(config.unet, resolution, seed=0)
    merge_upsampling(unet)
    torch.nn.Module.to(unet, "meta", torch.bfloat16)  # that of diffusers warns of layers that it does not have
    process = build_process(config.noise, torch.device("meta"))
    x0 = torch.empty(batch, 3, resolution, resolution, device="meta", dtype=torch.bfloat16)
    t = torch.empty(batch, device="meta", dtype=torch.int64)
    num_parameters = sum(p.numel() for p in unet.parameters())
    moved = _Bytes()
    with FlopCounterMode(display=False) as flops, moved:
        process.loss(lambda x, t, **kw: unet(x.bfloat16(), t, **kw), x0, torch.empty_like(x0), t).backward()
    update = OPTIMIZER_PASSES * 4 * num_parameters
    return Step(batch, num_parameters, flops.get_total_flops(), moved.matrix, moved.total, update)


class _Bytes(TorchDispatchMode):
    """Adds up the sizes of what each operator reads and writes; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.matrix = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        known = {x.untyped_storage()._cdata for x in read}
        written = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        if any(x.untyped_storage()._cdata in known for x in written) and not func._schema.is_mutable:
            return result
        size = sum(x.numel() * x.element_size() for x in (*read, *written))
        self.total += size
        self.matrix += size if any(name in str(func) for name in MATRIX_OPS) else 0
        return result


def report(device: Accelerator = H100) -> Iterator[str]:
    """For `experiment=flowers64` and `protocol=collapse_v1`, line by line."""
    config, trainings = _headline()
    assert isinstance(config.generator, DDPMConfig)
    step = count(config.generator, config.data.resolution)
    limits = step.limits(device)
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
