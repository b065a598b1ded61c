"""One chain on several devices of a node, under torch's own launcher: `torchrun --nproc-per-node 2 -m bench ...`.

Every process runs the same loop on the same configuration. The batch of a training step, the blocks of sampling and the
tiles of feature extraction are divided between the processes (`shard`). Only the first process writes results. In a
process that runs alone, every function here does nothing or returns its argument.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

T = TypeVar("T")

PART = 2**24
"""How many entries `all_reduce_in_rank_order` gathers at a time, which bounds the memory that it needs."""


def rank() -> int:
    """Return the number of this process: 0 for the first one and for a process that runs alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes that run this chain together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process is the one that writes results."""
    return rank() == 0


def local_rank() -> int | None:
    """Return the index of this process's device on its node; None if torch's launcher did not start it."""
    return int(os.environ["LOCAL_RANK"]) if "LOCAL_RANK" in os.environ else None


@contextmanager
def group() -> Iterator[None]:
    """Join the processes that torch's launcher started, for the body of the `with`; nested calls do nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    has_cuda = torch.cuda.is_available()
    if has_cuda:
        torch.cuda.set_device(local_rank() or 0)
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_cuda else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def shard(items: Sequence[T]) -> Sequence[T]:
    """Return this process's part of the items: every world_size-th one, from its own rank on."""
    return items[rank() :: world_size()]


def barrier() -> None:
    """Wait until every process has called this."""
    any_process(False)


def any_process(flag: bool) -> bool:
    """Return whether the flag is true in any process. Every process must call this."""
    if world_size() == 1:
        return flag
    any_flag = torch.tensor(int(flag))
    dist.all_reduce(any_flag, dist.ReduceOp.MAX)
    return bool(any_flag.item())


def all_reduce_sum(value: torch.Tensor) -> torch.Tensor:
    """Replace a tensor by its sum over the processes, and return it."""
    if world_size() > 1:
        dist.all_reduce(value)
    return value


def all_reduce_in_rank_order(value: torch.Tensor) -> None:
    """Replace a tensor by its sum over the processes, added up in the order of their ranks.

    An ordinary reduction adds in whatever order is fastest, so the last bits of its sum depend on the number of
    processes. This function gathers and then adds in rank order, exactly like one process that accumulates as many
    micro-batches as there are processes. Both therefore train the same model, byte for byte where the kernels are
    deterministic. The price: it moves world_size/2 times as much data, and starts only after the backward pass.
    """
    if world_size() == 1:
        return
    for part in value.split(PART):
        gathered = [torch.empty_like(part) for _ in range(world_size())]
        dist.all_gather(gathered, part)
        part.copy_(gathered[0])
        for other in gathered[1:]:
            part += other


def broadcast(value: Any = None) -> Any:
    """Return the first process's value in every process. Every process must call this; the value of the others is
    ignored."""
    values: list[Any] = [value]
    if world_size() > 1:
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]


def all_gather_blocks(array: np.ndarray, starts: Sequence[int], size: int) -> None:
    """Complete an array, in place and in all processes, after each process has computed the blocks
    [start, start + size) for the starts of its `shard`."""
    for index, start in enumerate(starts):
        if world_size() > 1:
            block = torch.from_numpy(np.ascontiguousarray(array[start : start + size]))
            dist.broadcast(block, src=index % world_size())
            array[start : start + size] = block.numpy()
