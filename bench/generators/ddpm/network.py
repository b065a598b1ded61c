"""The network and the forward process, both from diffusers, and the loss and the denoiser defined on them."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from bench.config import NoiseConfig, UNetConfig
from bench.machine.device import Runtime

Network = Callable[..., Any]
"""A `UNet2DModel`, compiled or not: (x float32 (n, 3, H, W), t int64 (n,)) -> the same shape as x."""


def build_unet(config: UNetConfig, resolution: int, seed: int) -> UNet2DModel:
    """A network with weights drawn from `seed`; the global random state is left as it was."""
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
    """Moves `unet` to where the work runs, and returns what to call."""
    unet.to(runtime.device)
    if runtime.device.type == "cuda":  # on the CPU group norm is so slow in it that a step takes twice as long
        unet.to(memory_format=torch.channels_last)
    return compiled(unet, runtime)


def compiled(unet: torch.nn.Module, runtime: Runtime) -> Network:
    if not runtime.compile:
        return unet
    torch._dynamo.config.recompile_limit = MOST_COMPILED
    # Static: batches of sampling differ in size from those of training, and would be compiled for any size. A whole
    # graph: else what cannot be compiled would only be slow. CUDA graphs keep the addresses of weights, which change
    # in place, and their output is used up before the next evaluation: so it is safe to replay them.
    options: dict[str, Any] = {"triton.cudagraphs": True, "triton.cudagraph_or_error": True}
    return torch.compile(unet, dynamic=False, fullgraph=True, options=options if runtime.cuda_graphs else None)


MOST_COMPILED = 256
"""Kinds of networks, batch sizes and passes that one process compiles, the most that torch allows; by itself it stops
at 8, too few for a sweep over networks. Beyond it torch raises `FailOnRecompileLimitHit`, rather than going on without
compiling. Networks of one kind share what was compiled for the first, so generations and seeds do not count."""


def autocast(runtime: Runtime) -> contextlib.AbstractContextManager[Any]:
    if runtime.autocast is None:
        return contextlib.nullcontext()
    return torch.autocast(runtime.device.type, runtime.autocast)


def build_scheduler(config: NoiseConfig) -> DDPMScheduler:
    """The forward process of Ho et al. 2020, and the ancestral sampler that belongs to it (x0 clipped to [-1,
    1])."""
    return DDPMScheduler(
        num_train_timesteps=config.num_timesteps,
        beta_schedule=config.beta_schedule,
        prediction_type=config.prediction,
        clip_sample=True,
    )


@dataclass(frozen=True)
class Process:
    """x_t = signal[t] x0 + noise[t] eps (Ho et al. 2020, eq. 4). All fields are float32 (T,) on one device.

    weight: of the squared error in the space that the network predicts in. 1, or with min-SNR-gamma (Hang et
    al. 2023, section 3.4) min(SNR, gamma) on x0, that is min(SNR, gamma)/SNR on epsilon and min(SNR,
    gamma)/(SNR + 1) on v.
    """

    prediction: str
    signal: torch.Tensor
    noise: torch.Tensor
    weight: torch.Tensor

    def loss(self, network: Network, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Mean weighted squared error, a scalar. x0, eps: float32 (n, 3, H, W); t: int64 (n,)."""
        signal, noise = _per_image(self.signal[t]), _per_image(self.noise[t])
        output = network(signal * x0 + noise * eps, t, return_dict=False)[0].float()
        if self.prediction == "epsilon":
            target = eps
        elif self.prediction == "sample":
            target = x0
        else:  # v (Salimans & Ho 2022, appendix D)
            target = signal * eps - noise * x0
        return ((output - target).square().mean(dim=(1, 2, 3)) * self.weight[t]).mean()

    def denoise(self, network: Network, x: torch.Tensor, t: int) -> torch.Tensor:
        """The network's estimate of x0 from x_t, clipped to the range of pixels; float32 like x."""
        steps = torch.full((len(x),), t, device=x.device)
        output = network(x, steps, return_dict=False)[0].float()
        signal, noise = self.signal[t], self.noise[t]
        if self.prediction == "epsilon":
            output = (x - noise * output) / signal
        elif self.prediction == "v_prediction":
            output = signal * x - noise * output
        return output.clamp(-1.0, 1.0)


def build_process(config: NoiseConfig, device: torch.device) -> Process:
    alphas = build_scheduler(config).alphas_cumprod
    snr = alphas / (1 - alphas)
    weight = torch.ones_like(snr)
    if config.min_snr_gamma is not None:
        on_x0 = snr.clamp(max=config.min_snr_gamma)
        weight = {"sample": on_x0, "epsilon": on_x0 / snr, "v_prediction": on_x0 / (snr + 1)}[config.prediction]
    return Process(config.prediction, alphas.sqrt().to(device), (1 - alphas).sqrt().to(device), weight.to(device))


def _per_image(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]
