"""The exchange of gradients between processes that share each batch."""

from collections.abc import Sequence

import torch
import torch.distributed as dist

from bench.machine import distributed

PART = 2**24
"""Number of entries that `_sum_in_rank_order` gathers at a time, which bounds its memory to world_size x 64 MiB."""


class GradientExchange:
    """Sums the gradients of all processes in one permanent buffer, which takes as much memory as the weights.

    By default the sum is taken in the fastest order. The last bits of a sum of more than two gradients depend on that
    order, and thus on the number of processes. With `ordered`, gradients are added in the order of the ranks, exactly
    as in one process that accumulates as many micro-batches as there are processes. Both then train the same model,
    byte for byte if the kernels are deterministic. The cost is world_size/2 times as much data transfer, and
    world_size x 64 MiB more memory.
    """

    def __init__(self, weights: Sequence[torch.nn.Parameter], ordered: bool) -> None:
        """Create the exchange. weights: Float32, on one device. ordered: Whether to add in the order of the ranks."""
        self._weights, self._ordered = list(weights), ordered
        self._buffer = torch.empty(0)
        self._views: list[torch.Tensor] = []

    def __call__(self) -> None:
        """Replace the gradient of every weight by its sum over the processes. A weight must have a gradient in all
        processes or in none."""
        weights = [weight for weight in self._weights if weight.grad is not None]
        if len(self._views) != len(weights):
            self._views = self._reserve(weights)
        torch._foreach_copy_(self._views, [weight.grad for weight in weights if weight.grad is not None])
        if self._ordered:
            _sum_in_rank_order(self._buffer)
        else:
            distributed.all_reduce_sum(self._buffer)
        for weight, view in zip(weights, self._views, strict=True):
            weight.grad = view

    def _reserve(self, weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Allocate the buffer, and return a view of it for each weight, in the weight's memory format, which the fused
        optimiser requires."""
        sizes = [weight.numel() for weight in weights]
        self._buffer = torch.empty(sum(sizes), device=weights[0].device)
        parts = zip(weights, self._buffer.split(sizes), strict=True)
        return [part.as_strided(weight.shape, weight.stride()) for weight, part in parts]


def _sum_in_rank_order(value: torch.Tensor) -> None:
    size = distributed.world_size()
    room = torch.empty(size, min(PART, len(value)), device=value.device)
    for part in value.split(PART):
        gathered = [other[: len(part)] for other in room]
        dist.all_gather(gathered, part)
        part.copy_(gathered[0])
        for other in gathered[1:]:
            part += other
