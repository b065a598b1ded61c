"""The facts for log and ledger when a device runs out of memory, above all whether other programs have taken it."""

import json
from typing import Any

import torch

from bench.machine import distributed

CONTEXT = 2**30
"""Approximate number of bytes of a device that CUDA and its libraries take besides tensors. Up to this amount, missing
memory is not attributed to another process."""


def describe(error: torch.OutOfMemoryError | None, device: torch.device) -> dict[str, Any]:
    """Return the facts about a device that ran out of memory, the same in all processes that run a chain together.

    Args:
        error: The error of this process; None if only other processes ran out of memory.
        device: The device of this process.

    Returns:
        process: The lowest rank that ran out of memory. bytes_of_others: Bytes of its device that other programs hold.
    """
    mine = "" if error is None else json.dumps(bytes_of_others(device))
    said = distributed.all_gather(mine)
    process = next(rank for rank, text in enumerate(said) if text)
    return {"process": process, "bytes_of_others": json.loads(said[process])}


def bytes_of_others(device: torch.device) -> int:
    """Return how many bytes of a device other programs hold; 0 on the CPU, where they cannot be distinguished."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    elsewhere = total - free - torch.cuda.memory_reserved(device)
    return elsewhere if elsewhere > CONTEXT else 0


def sentence(event: dict[str, Any]) -> str:
    """Return the result of `describe` in words."""
    text = "out of device memory"
    text += f" in process {event['process']}" if distributed.world_size() > 1 else ""
    others = event["bytes_of_others"]
    return text + (f", of which other programs hold {others / 2**30:.1f} GiB" if others else "")
