"""FLOPs and bytes of a network, counted on tensors without contents, and how near a measured time comes to the limits
that they set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from bench.config import DDPMConfig
from bench.generators.network import build_process, build_unet
from bench.generators.upsampling import merge_upsampling
from bench.perf.machine import measured_machine
from bench.runtime import Runtime

META = torch.device("meta")

MATRIX_OPS = ("conv", "mm", "linear", "attention")
"""Substrings of the operators that no compiler fuses into others."""

OPTIMIZER_PASSES = 13
"""Reads and writes of all parameters, in float32, in one update: clipping reads the gradient twice and writes it, AdamW
reads parameter, gradient and two moments and writes three, the average reads two and writes one; 13 in all."""


@dataclass(frozen=True)
class Count:
    """Of one batch. flops: a multiply-add counts as two. bytes_fused: read and written by convolutions, products and
    attention alone, as if everything between them were fused into them. bytes_plain: by every operator on its own.
    bytes_update: by clipping, optimiser and average."""

    batch_size: int
    num_parameters: int
    flops: int
    bytes_fused: int
    bytes_plain: int
    bytes_update: int = 0

    def seconds(self, matrix: float, bandwidth: float) -> dict[str, float]:
        """At each limit. matrix: FLOP/s; bandwidth: bytes/s."""
        return {
            "matrix": self.flops / matrix,
            "memory, all fused": (self.bytes_fused + self.bytes_update) / bandwidth,
            "memory, nothing fused": (self.bytes_plain + self.bytes_update) / bandwidth,
        }


def training_step(config: DDPMConfig, resolution: int, dtype: torch.dtype = torch.bfloat16) -> Count:
    """Forward, backward and update, with activations and weights in dtype."""
    batch = config.training.batch_size
    process = build_process(config.noise, META)

    def step(unet: UNet2DModel, x: Tensor, t: Tensor) -> None:
        process.loss(lambda x, t, **kw: unet(x.to(dtype), t, **kw), x, torch.empty_like(x), t).backward()

    return _count(config, resolution, batch, dtype, step, updated=True)


def evaluation(config: DDPMConfig, resolution: int, batch_size: int, dtype: torch.dtype = torch.bfloat16) -> Count:
    """Forward alone, as in sampling."""

    def step(unet: UNet2DModel, x: Tensor, t: Tensor) -> None:
        with torch.no_grad():
            unet.eval()(x, t)

    return _count(config, resolution, batch_size, dtype, step, updated=False)


def _count(
    config: DDPMConfig,
    resolution: int,
    batch_size: int,
    dtype: torch.dtype,
    step: Callable[[UNet2DModel, Tensor, Tensor], None],
    updated: bool,
) -> Count:
    unet = build_unet(config.unet, resolution, seed=0)
    merge_upsampling(unet)
    torch.nn.Module.to(unet, META, dtype)  # that of diffusers warns of layers that it does not have
    x = torch.empty(batch_size, 3, resolution, resolution, device=META, dtype=dtype)
    t = torch.empty(batch_size, device=META, dtype=torch.int64)
    num_parameters = sum(p.numel() for p in unet.parameters())
    flops, fused, plain = counted(lambda: step(unet, x, t))
    update = OPTIMIZER_PASSES * 4 * num_parameters if updated else 0
    return Count(batch_size, num_parameters, flops, fused, plain, update)


def counted(work: Callable[[], object]) -> tuple[int, int, int]:
    """FLOPs of the products of `work`, and its bytes: fused and plain, as in `Count`."""
    moved = _Bytes()
    with FlopCounterMode(display=False) as flops, moved:
        work()
    return flops.get_total_flops(), moved.matrix, moved.total


class _Bytes(TorchDispatchMode):
    """Adds up the sizes of what each operator reads and writes; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.matrix = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        known = {x.untyped_storage()._cdata for x in read}
        written = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        if any(x.untyped_storage()._cdata in known for x in written) and not func._schema.is_mutable:
            return result
        size = sum(x.numel() * x.element_size() for x in (*read, *written))
        self.total += size
        self.matrix += size if any(name in str(func) for name in MATRIX_OPS) else 0
        return result


def beside_limits(count: Count, seconds: float, runtime: Runtime) -> dict[str, Any]:
    """How far `seconds` for what was counted is from this machine's limits, in the precision that it ran in. Of memory:
    what stays in a cache between two operators does not count against the bandwidth, so a CPU may beat that limit."""
    machine = measured_machine(runtime.device.type)
    rate = machine.matrix_rate["bfloat16" if runtime.precision == "bf16" else "float32"]
    return {
        "gflop": count.flops / 1e9,
        "gflop_per_second": count.flops / 1e9 / seconds,
        "share_of_matrix_rate": count.flops / 1e9 / seconds / rate,
        "seconds": seconds,
        "seconds_at_limit": count.seconds(1e9 * rate, 1e9 * machine.bandwidth),
    }
