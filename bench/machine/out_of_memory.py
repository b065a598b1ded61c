"""What the log and the ledger tell when a device runs out of memory: above all, whether others have taken it."""

import json
from typing import Any

import torch

from bench.machine import distributed

CONTEXT = 2**30
"""Bytes of a device that CUDA and its libraries take beside tensors, roughly: no sign of another process."""


def describe(error: torch.OutOfMemoryError | None, device: torch.device) -> dict[str, Any]:
    """Return how a device ran out of memory, the same in all processes that run a chain together.

    Args:
        error: What this process ran into; None: only another one did.
        device: Of this process.

    Returns:
        process: the rank of the first process that ran out. bytes_of_others: of its device, what other programs hold.
    """
    mine = "" if error is None else json.dumps(bytes_of_others(device))
    said = distributed.all_gather(mine)
    process = next(rank for rank, text in enumerate(said) if text)
    return {"process": process, "bytes_of_others": json.loads(said[process])}


def bytes_of_others(device: torch.device) -> int:
    """Return how many bytes of a device other programs hold; 0 on the CPU, where none can be told apart."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    elsewhere = total - free - torch.cuda.memory_reserved(device)
    return elsewhere if elsewhere > CONTEXT else 0


def sentence(event: dict[str, Any]) -> str:
    """Return in words what `describe` returned."""
    text = "out of device memory"
    text += f" in process {event['process']}" if distributed.world_size() > 1 else ""
    others = event["bytes_of_others"]
    return text + (f", of which other programs hold {others / 2**30:.1f} GiB" if others else "")
