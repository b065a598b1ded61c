"""Whether CUDA graphs compute on the device at hand what the same code computes without them: checked before use.

A graph is replayed with the addresses that it was recorded with. So what could go wrong unseen is a replay that reads
an earlier input, or weights of an earlier step: the check changes both between replays.
"""

import logging
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import nn

log = logging.getLogger(__name__)

MOST_PARAMETERS = 4_000_000
"""Largest network that is replayed without being asked to. On paper, until `make gpu` has measured it: below it,
launching some 500 kernels a pass takes longer than running them."""

STEPS = 6
"""Steps of the check: one that runs as it is, one that is recorded, and replays."""

TOLERANCES = {None: 1e-4, torch.bfloat16: 5e-2}
"""Largest relative distance of outputs and gradients, by type of autocast: compiled code rounds in other places."""


def pay_for(network: nn.Module) -> bool:
    """Return whether a network is so small that launching its kernels takes longer than running them."""
    return sum(weight.numel() for weight in network.parameters()) <= MOST_PARAMETERS


found: dict[tuple[torch.device, torch.dtype | None], str | None] = {}
"""What `problem` has found in this process, by its arguments."""


def problem(device: torch.device, autocast: torch.dtype | None) -> str | None:
    """Return what is wrong with graphs on a device in words, after logging it; None where they replay right values.

    Takes a compilation, some ten seconds, once per process.
    """
    if (device, autocast) not in found:
        found[device, autocast] = _problem(device, autocast)
    return found[device, autocast]


def _problem(device: torch.device, autocast: torch.dtype | None) -> str | None:
    options: dict[str, Any] = {"triton.cudagraphs": True, "triton.cudagraph_or_error": True}
    try:
        wrong = wrong_values(device, autocast, lambda network: torch.compile(network, dynamic=False, options=options))
    except Exception as error:  # of torch, Triton, the compiler or the driver: none of them may end a run
        wrong = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    if wrong:
        log.warning("CUDA graphs are not used: %s", wrong)
    return wrong


def wrong_values(
    device: torch.device, autocast: torch.dtype | None, replayed: Callable[[nn.Module], Callable[..., torch.Tensor]]
) -> str | None:
    """Train a small network as it is and through `replayed`, on a new batch and with new weights in each step, and
    evaluate it as in sampling. Return where the two differ by more than rounding, None where they do not.

    Args:
        device: Where to compute.
        autocast: Type of the products, or None.
        replayed: Makes of a network the function whose values are checked.
    """
    plain = _probe().to(device)
    other = deepcopy(plain)
    call, limit = replayed(other), TOLERANCES[autocast]
    batches = torch.rand(STEPS, 8, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(device)
    for step, batch in enumerate(batches):
        for with_gradient in (True, False):  # training and sampling record graphs of their own
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
    """Return a network of the operations that generators use most, with weights that are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        convolutions = nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 8, 3, stride=2)
        return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(8 * 7 * 7, 16), nn.SiLU(), nn.Linear(16, 4))
