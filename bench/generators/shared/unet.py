"""The UNet of the image models, from diffusers: building it, placing it on a device, and compiling it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from bench.generators.shared.unet_config import UNetConfig
from bench.machine.device import Runtime

Network = Callable[..., Any]
"""A `UNet2DModel`, compiled or not: (x float32 (n, 3, H, W), times (n,)) -> output of the shape of x. The times are
int64 timesteps or float32."""


def build_unet(config: UNetConfig, resolution: int, seed: int) -> UNet2DModel:
    """Return a network with weights drawn from `seed`. The global random state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return UNet2DModel(
            sample_size=resolution,
            block_out_channels=tuple(config.channels),
            layers_per_block=config.layers_per_block,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in config.attention),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(config.attention)),
            add_attention=any(config.attention),  # in the middle block
            attention_head_dim=config.attention_head_dim,
            norm_num_groups=math.gcd(32, *config.channels),
            dropout=config.dropout,
        )


def place(unet: torch.nn.Module, runtime: Runtime) -> Network:
    """Move `unet` to the device of `runtime`, and return the network to call, compiled if `runtime.compile` is set."""
    # channels_last is not used: its group norms double the time of a step on a CPU. On an H200, a step of the headline
    # training took 180 ms with it and 121 ms without; compiled, 90 ms and 74 ms.
    unet.to(runtime.device)
    return compiled(unet, runtime)


def compiled(unet: torch.nn.Module, runtime: Runtime) -> Network:
    """Return `unet`, compiled by torch if `runtime.compile` is set."""
    if not runtime.compile:
        return unet
    torch._dynamo.config.recompile_limit = MOST_COMPILED
    # dynamic=False: sampling uses another batch size than training, and torch would otherwise compile for any size.
    # fullgraph=True: without it, code that cannot be compiled would run slowly instead of raising an error. Replaying
    # CUDA graphs is safe: weights change in place, so their addresses do not change, and each output is consumed before
    # the next evaluation.
    options: dict[str, Any] = {"triton.cudagraphs": True, "triton.cudagraph_or_error": bool(runtime.cuda_graphs)}
    return torch.compile(unet, dynamic=False, fullgraph=True, options=options if runtime.replays(unet) else None)


MOST_COMPILED = 256
"""Largest number of compiled variants (network shape, batch size, forward or backward) per process. It is the most that
torch allows; the default of 8 is too small for a sweep over networks. Beyond it, torch raises `FailOnRecompileLimitHit`
instead of running uncompiled. Networks of one shape share compiled code, so further generations and seeds add none."""
