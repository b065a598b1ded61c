"""One chain on several devices of a node, under torch's own launcher: `torchrun --nproc-per-node 2 -m bench ...`.

Every process runs the same loop on the same configuration. The batch of a training step, the blocks of sampling and the
tiles of feature extraction are divided between the processes (`shard`). Only the first process writes results. In a
process that runs alone, every function here does nothing or returns its argument.

Processes communicate in two ways. Numbers go through torch's collectives, in which a process waits inside C without
handling signals, for at most 10 to 30 minutes; these are for work that all processes do at the same pace. `broadcast`,
`barrier`, `all_gather` and `agreed` go through torch's key-value store, which a waiting process polls; these are for
waits of any length, such as the wait of the first process for another job's lease.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from bench.errors import BenchError, ProcessError
from bench.machine import torchrun

T = TypeVar("T")

LOOK_EVERY = 0.001, 0.2
"""Seconds between two polls of the key-value store: the first pause, and the longest one in a long wait."""


class _Board:
    """Messages in torch's key-value store. All processes write and read them in the same order, so a number identifies
    each. The last reader removes it."""

    def __init__(self, store: dist.Store) -> None:
        self._store = dist.PrefixStore("bench", store)
        self._count = 0

    def exchange(self, text: str, writers: Sequence[int]) -> list[str]:
        """Write a text if this process is among the writers, and return the texts of all writers."""
        self._count += 1
        keys = [f"{self._count}/{writer}" for writer in writers]
        if rank() in writers:
            self._store.set(keys[writers.index(rank())], text)
        pause, longest = LOOK_EVERY
        while not self._store.check(keys):
            time.sleep(pause)
            pause = min(1.5 * pause, longest)
        texts = [self._store.get(key).decode() for key in keys]
        if self._store.add(f"{self._count}/read", 1) == world_size():
            for key in (*keys, f"{self._count}/read"):
                self._store.delete_key(key)
        return texts


_board: _Board | None = None


def rank() -> int:
    """Return the rank of this process: 0 for the first one and for a process that runs alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes that run this chain together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process is the first one, which writes results."""
    return rank() == 0


@contextmanager
def group() -> Iterator[None]:
    """Join the processes that torch's launcher started, for the body of the `with`. Nested calls do nothing. A process
    can join only once."""
    global _board
    if torchrun.num_processes() == 1 or dist.is_initialized():
        yield
        return
    store, number, size = next(dist.rendezvous("env://"))
    backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backends, store=store, rank=number, world_size=size)
    _board = _Board(store)
    try:
        yield
    finally:
        _board = None
        dist.destroy_process_group()


def shard(items: Sequence[T]) -> Sequence[T]:
    """Return this process's part of the items: every world_size-th item, starting at its rank."""
    return items[rank() :: world_size()]


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


def broadcast(value: Any = None) -> Any:
    """Return the first process's value, JSON-compatible, in every process. Every process must call this; the values of
    the others are ignored. The wait has no time limit."""
    if _board is None:
        return value
    return json.loads(_board.exchange(json.dumps(value) if is_first() else "", [0])[0])


def barrier() -> None:
    """Wait, without a time limit, until every process has called this."""
    all_gather("")


def all_gather(text: str) -> list[str]:
    """Return the texts of all processes, in the order of their ranks. Every process must call this. The wait has no
    time limit."""
    return [text] if _board is None else _board.exchange(text, range(world_size()))


@contextmanager
def agreed() -> Iterator[None]:
    """Raise an error from the body of the `with` in all processes, so that none continues to exchange results with a
    process that has failed. For divided work. The wait for all processes to finish their part has no time limit.

    A process that failed raises its own error if that is a `BenchError` or the process runs alone, and otherwise
    `ProcessError`. The other processes raise `ProcessError`, which names the error of the first process that failed.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    said = all_gather("" if failure is None else f"{type(failure).__name__}: {failure}")
    if failure is not None and (isinstance(failure, BenchError) or world_size() == 1):
        raise failure
    for number, text in enumerate(said):
        if text:
            raise ProcessError(f"process {number} of {world_size()} failed: {text}") from failure


def all_gather_blocks(array: np.ndarray, starts: Sequence[int], size: int) -> None:
    """Complete an array in place in all processes, after each process has computed the blocks [start, start + size) for
    the starts in its `shard`."""
    for index, start in enumerate(starts):
        if world_size() > 1:
            block = torch.from_numpy(np.ascontiguousarray(array[start : start + size]))
            dist.broadcast(block, src=index % world_size())
            array[start : start + size] = block.numpy()
