"""One chain on several devices of a node, under torch's own launcher: `torchrun --nproc-per-node 2 -m bench ...`.

Every process runs the same loop on the same configuration. What can be divided is (`share`): the batch of a training
step, the blocks of a sampling, the tiles of a feature extraction. The first process alone writes results. Everything
here is the obvious nothing in a process that is alone.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

T = TypeVar("T")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    return rank() == 0


def local_index() -> int | None:
    """Which of the node's devices this process should take; None where it was not started by torch's launcher."""
    return int(os.environ["LOCAL_RANK"]) if "LOCAL_RANK" in os.environ else None


@contextmanager
def group() -> Iterator[None]:
    """Joins the processes that torch's launcher started, for the body of the `with`; nested calls do nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    has_cuda = torch.cuda.is_available()
    if has_cuda:
        torch.cuda.set_device(local_index() or 0)
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_cuda else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def share(items: Sequence[T]) -> Sequence[T]:
    """Every world_size-th item, from this process's own on: all of them for a process that is alone."""
    return items[rank() :: world_size()]


def barrier() -> None:
    """Waits until every process is here."""
    any_process(False)


def any_process(flag: bool) -> bool:
    """Whether the flag is true in any process. All must ask."""
    if world_size() == 1:
        return flag
    found = torch.tensor(int(flag))
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found.item())


def total(value: torch.Tensor) -> torch.Tensor:
    """The sum over the processes, in place."""
    if world_size() > 1:
        dist.all_reduce(value)
    return value


def from_first(value: Any = None) -> Any:
    """What the first process says, in every process. All must ask; only the first one's value counts."""
    said: list[Any] = [value]
    if world_size() > 1:
        dist.broadcast_object_list(said, src=0, device=torch.device("cpu"))
    return said[0]


def fill(array: np.ndarray, starts: Sequence[int], size: int) -> None:
    """Completes an array of which each process has computed the blocks [start, start + size) of its `share` of
    `starts`. In place, for all processes."""
    for index, start in enumerate(starts):
        if world_size() > 1:
            block = torch.from_numpy(np.ascontiguousarray(array[start : start + size]))
            dist.broadcast(block, src=index % world_size())
            array[start : start + size] = block.numpy()


def ordered_total(value: torch.Tensor) -> None:
    """The sum over the processes, in place, in the order of their ranks.

    A reduction sums in whatever order is fastest, so its last bits depend on the number of processes. This gathers
    instead and adds up in rank order, as one process does that accumulates as many micro-batches as there are
    processes: so both train the same model, byte for byte where the kernels are deterministic. It moves world_size/2
    times as much, a part at a time, and not before the backward pass has ended.
    """
    if world_size() == 1:
        return
    for part in value.split(PART):
        gathered = [torch.empty_like(part) for _ in range(world_size())]
        dist.all_gather(gathered, part)
        part.copy_(gathered[0])
        for other in gathered[1:]:
            part += other


PART = 2**24
"""Entries that are gathered at a time, which bounds the memory for it."""
