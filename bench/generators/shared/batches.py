"""The training items, and the choice of items that each step reads.

Where the items are kept never changes a draw. Items that fit are resident: on a GPU they are copied to its memory; on a
CPU they stay in memory or memory-mapped. Items that do not fit on the device are streamed to it step by step.
"""

import logging
import math
from abc import ABC, abstractmethod

import numpy as np
import torch

from bench.generators.shared.schedule import TrainingConfig
from bench.kinds import Items
from bench.machine.device import free_memory
from bench.seeds import derive_seed

log = logging.getLogger(__name__)

RESIDENT_SHARE = 0.25
"""Share of the device's free memory (on the CPU: of the available memory) that resident items may take. The rest is for
activations and moments, which are not yet allocated at the time of this choice."""

_BLOCK = 4096


def open_batches(items: Items, training: TrainingConfig, seed: int, device: torch.device) -> "Batches":
    """Return the source of each step's items, chosen by the free memory of the device, and log the choice.

    Args:
        items: The training items, (N, ...), possibly memory-mapped.
        training: Gives the batch size.
        seed: Seed of the order of items.
        device: Device of the batches.

    Returns:
        A source with `data` set to "resident" or "streamed".
    """
    size = math.prod(items.shape) * np.dtype(items.dtype).itemsize
    free = free_memory(device)
    resident = size <= RESIDENT_SHARE * free
    on_device = resident and device.type != "cpu"
    batches = (OnDevice if on_device else OnHost)(items, training, seed, device)
    batches.data = "resident" if resident else "streamed"
    log.info("training items: %.1f MB, with %.0f MB free on %s: %s", size / 1e6, free / 1e6, device, batches.data)
    return batches


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device. The host waits only if the tensor comes from a device other than the CPU."""
    if tensor.device.type != "cpu" or device.type == "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Order:
    """The rows that each step trains on: every item once per epoch; a batch may span two epochs.

    Args:
        num_items: Number of training items.
        training: Gives the batch size.
        seed: Seed of the order.
        keep_on: Device that keeps the order of an epoch. The order is drawn on the host, so that it is the same on
            every device and streaming does not wait for the device.
    """

    def __init__(self, num_items: int, training: TrainingConfig, seed: int, keep_on: torch.device) -> None:
        self.keep_on = keep_on
        self.num_items = num_items
        self.batch_size = training.batch_size
        self.seed = seed
        self.generator = torch.Generator()
        self.epochs: dict[int, torch.Tensor] = {}

    def rows(self, step: int) -> torch.Tensor:
        """Return the rows of a step's batch, int64 (B,)."""
        position, end = step * self.batch_size, (step + 1) * self.batch_size
        pieces = []
        while position < end:
            epoch, first = divmod(position, self.num_items)
            piece = self.epoch(epoch)[first : first + end - position]
            pieces.append(piece)
            position += len(piece)
        return torch.cat(pieces)

    def epoch(self, epoch: int) -> torch.Tensor:
        """Return the order of the items in an epoch, int64 (N,). It is drawn once."""
        if epoch not in self.epochs:
            random = self.generator.manual_seed(derive_seed(self.seed, 0, "epoch", epoch))
            order = torch.randperm(self.num_items, generator=random)
            self.epochs = {epoch: to_device(order, self.keep_on)}
        return self.epochs[epoch]


class Batches(ABC):
    """The source of each step's items. `data` says where they are kept: "resident" or "streamed"."""

    data = "resident"

    @abstractmethod
    def of_step(self, step: int) -> torch.Tensor:
        """Return the items of a step, on the device."""


class OnDevice(Batches):
    """Items in the device's memory."""

    def __init__(self, items: Items, training: TrainingConfig, seed: int, device: torch.device) -> None:
        self.order = Order(len(items), training, seed, keep_on=device)
        self.items = torch.empty(items.shape, dtype=torch.from_numpy(np.empty(0, items.dtype)).dtype, device=device)
        for start in range(0, len(items), _BLOCK):
            part = self.items[start : start + _BLOCK]
            part.copy_(torch.from_numpy(items[np.arange(start, start + len(part))]))

    def of_step(self, step: int) -> torch.Tensor:
        return self.items[self.order.rows(step)]


class OnHost(Batches):
    """Items that stay in memory or on disk. The host gathers the items of a step while the device computes earlier
    steps, and never waits for the device."""

    def __init__(self, items: Items, training: TrainingConfig, seed: int, device: torch.device) -> None:
        self.items = items
        self.order = Order(len(items), training, seed, keep_on=torch.device("cpu"))
        self.device = device

    def of_step(self, step: int) -> torch.Tensor:
        return to_device(torch.from_numpy(self.items[self.order.rows(step).numpy()]), self.device)
