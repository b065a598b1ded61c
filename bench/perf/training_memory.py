"""Memory of a training step, from the sizes of its tensors alone: `python -m bench.perf.training_memory`.

Counts the bytes that are allocated at once in a step of `experiment=flowers64` in bf16, with the CPU's operators, and
with group norms in float32, as CUDA's autocast computes them. Other memory of a device is not counted: its context,
cuDNN's workspaces, and gaps between blocks. An H200 used 1.01 times the counted memory. Compiled code uses half of it:
it fuses the group norms with the operations that follow, and keeps no float32 copies.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from weakref import finalize

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.config import register_schemas
from bench.generators.shared.unet import build_unet
from bench.generators.shared.unet_config import UNetConfig
from bench.protocols import compose_config

BATCH_SIZES = (16, 32, 64, 128, 256, 512)


class Allocated(TorchDispatchMode):
    """Counts the bytes of live storages that operations have allocated. peak: the most bytes so far."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor.untyped_storage())
        return result

    def add(self, storage: torch.UntypedStorage) -> None:
        name, size = storage._cdata, storage.nbytes()
        if name in self.known:
            return
        self.known.add(name)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        finalize(storage, self.remove, name, size)

    def remove(self, name: int, size: int) -> None:
        self.known.discard(name)
        self.bytes -= size


def training_memory(unet: UNetConfig, resolution: int, batch_size: int) -> int:
    """Return the peak number of bytes that a training step in bf16 allocates: weights, their moving average, the
    optimiser's moments, gradients, and what the backward pass needs.

    Args:
        unet: The configuration of the network.
        resolution: The side of the images, in pixels.
        batch_size: The number of images that go through the network at once.
    """
    with FakeTensorMode():
        network = build_unet(unet, resolution, seed=0)
        for module in network.modules():
            if isinstance(module, torch.nn.GroupNorm):
                module.register_forward_pre_hook(lambda module, inputs: inputs[0].float())
        with Allocated() as allocated:
            x = torch.empty(batch_size, 3, resolution, resolution)
            with torch.autocast("cpu", torch.bfloat16):
                output = network(x, torch.empty(batch_size, dtype=torch.int64), return_dict=False)[0]
            (output.float() - x).square().mean().backward()
    kept = 4  # float32 numbers per weight: itself, its average, two moments; its gradient is counted above
    return allocated.peak + kept * 4 * network.num_parameters()


def report(batch_sizes: Iterable[int] = BATCH_SIZES) -> Iterator[str]:
    """Describe `experiment=flowers64`, one line per batch size."""
    register_schemas()
    config = compose_config(["experiment=flowers64"])
    generator: Any = config.generator
    for batch_size in batch_sizes:
        memory = training_memory(generator.unet, config.data.resolution, batch_size)
        yield f"flowers64, batch {batch_size:3d}: {memory / 2**30:.1f} GiB"


if __name__ == "__main__":
    for line in report():
        print(line, flush=True)
