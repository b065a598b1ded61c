"""The check, before use, that CUDA graphs compute the same values on the present device as the code without graphs.

A graph is replayed with the addresses that it was recorded with. So an undetected error would be a replay that reads an
earlier input or the weights of an earlier step. The check changes both between replays.
"""

import logging
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import nn

log = logging.getLogger(__name__)

MOST_PARAMETERS = 4_000_000
"""Largest number of parameters of a network that is replayed by default. Below it, launching some 500 kernels per pass
takes longer than running them. This is an estimate until `make gpu` has measured it."""

STEPS = 6
"""Steps of the check: one without a graph, one that is recorded, and the others replayed."""

TOLERANCES = {None: 1e-4, torch.bfloat16: 5e-2}
"""Largest relative distance of outputs and gradients, by type of autocast. It is not 0, because compiled code rounds
differently."""


def pay_for(network: nn.Module) -> bool:
    """Return whether CUDA graphs pay for a network: whether it is so small that launching its kernels takes longer than
    running them."""
    return sum(weight.numel() for weight in network.parameters()) <= MOST_PARAMETERS


found: dict[tuple[torch.device, torch.dtype | None], str | None] = {}
"""The results of `problem` in this process, by its arguments."""


def problem(device: torch.device, autocast: torch.dtype | None) -> str | None:
    """Return what is wrong with CUDA graphs on a device, in words, and log it; None if they replay correct values.

    The check compiles a network, which takes some ten seconds, once per process for the same arguments.
    """
    if (device, autocast) not in found:
        found[device, autocast] = _problem(device, autocast)
    return found[device, autocast]


def _problem(device: torch.device, autocast: torch.dtype | None) -> str | None:
    options: dict[str, Any] = {"triton.cudagraphs": True, "triton.cudagraph_or_error": True}
    try:
        wrong = wrong_values(device, autocast, lambda network: torch.compile(network, dynamic=False, options=options))
    except Exception as error:  # from torch, Triton, the compiler or the driver: no error of these may end a run
        wrong = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    if wrong:
        log.warning("CUDA graphs are not used: %s", wrong)
    return wrong


def wrong_values(
    device: torch.device, autocast: torch.dtype | None, replayed: Callable[[nn.Module], Callable[..., torch.Tensor]]
) -> str | None:
    """Compare a small network with and without `replayed`, on a new batch and with new weights in each step, with
    gradients as in training and without as in sampling. Return the step in which they differ by more than rounding, in
    words, or None if they agree.

    Args:
        device: The device to compute on.
        autocast: The type of autocast, or None.
        replayed: Returns the function, for a network, whose values are checked.
    """
    plain = _probe().to(device)
    other = deepcopy(plain)
    call, limit = replayed(other), TOLERANCES[autocast]
    batches = torch.rand(STEPS, 8, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(device)
    for step, batch in enumerate(batches):
        for with_gradient in (True, False):  # training and sampling record separate graphs
            sides: list[list[torch.Tensor]] = []
            for network, run in ((plain, plain), (other, call)):
                network.zero_grad()
                with torch.set_grad_enabled(with_gradient), torch.autocast(device.type, autocast, autocast is not None):
                    output = run(batch).float()
                    if with_gradient:
                        output.square().mean().backward()
                gradients = [_or_zero(weight.grad, weight) for weight in network.parameters()]
                sides.append([output.detach().clone(), *gradients])
            for ours, theirs in zip(*sides, strict=True):
                if not (theirs - ours).norm() <= limit * ours.norm():
                    return f"step {step} of a replayed network differs from the plain one"
        with torch.no_grad():
            for weight, copy in zip(plain.parameters(), other.parameters(), strict=True):
                weight.mul_(1.0 + 0.3 * (-1) ** step)
                copy.copy_(weight)
    return None


def _or_zero(gradient: torch.Tensor | None, weight: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(weight) if gradient is None else gradient


def _probe() -> nn.Module:
    """Return a network of the operations that generators use most, with fixed weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        convolutions = nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 8, 3, stride=2)
        return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(8 * 7 * 7, 16), nn.SiLU(), nn.Linear(16, 4))
