"""The network and the forward process, both from diffusers, with the loss and the denoiser defined on them."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from bench.generators.ddpm.settings import NoiseConfig, UNetConfig
from bench.machine.device import Runtime

Network = Callable[..., Any]
"""A `UNet2DModel`, compiled or not: (x float32 (n, 3, H, W), t int64 (n,)) -> the same shape as x."""


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
    """Move `unet` to the device of `runtime`, and return the network to call, compiled if `runtime` asks for it."""
    unet.to(runtime.device)
    unet.to(memory_format=LAYOUTS[runtime.device.type])
    return compiled(unet, runtime)


LAYOUTS = {"cpu": torch.contiguous_format, "cuda": torch.channels_last}
"""Memory formats of weights and activations, by type of device. On the CPU, slow group norms in `channels_last` double
the time of a step. On CUDA its convolutions are the faster ones, and its group norms read pieces of 8 to 16 bytes:
which of the two weighs more is on paper, until `make gpu` has measured both."""


def compiled(unet: torch.nn.Module, runtime: Runtime) -> Network:
    """Return `unet`, compiled by torch if `runtime.compile` is set."""
    if not runtime.compile:
        return unet
    torch._dynamo.config.recompile_limit = MOST_COMPILED
    # dynamic=False: sampling uses another batch size than training, and torch would then compile for any size.
    # fullgraph=True: without it, code that cannot be compiled would run slowly instead of raising. Replaying CUDA
    # graphs is safe: weights change in place, so their addresses stay, and each output is consumed before the next
    # evaluation.
    options: dict[str, Any] = {"triton.cudagraphs": True, "triton.cudagraph_or_error": bool(runtime.cuda_graphs)}
    return torch.compile(unet, dynamic=False, fullgraph=True, options=options if runtime.replays(unet) else None)


MOST_COMPILED = 256
"""Largest number of compiled variants (network shape, batch size, forward or backward) per process. It is the most that
torch allows; the default of 8 is too few for a sweep over networks. Beyond it torch raises `FailOnRecompileLimitHit`
instead of running uncompiled. Networks of one shape share compiled code, so generations and seeds do not count."""


def autocast(runtime: Runtime) -> contextlib.AbstractContextManager[Any]:
    """Return the autocast context of `runtime`, which does nothing in full precision."""
    if runtime.autocast is None:
        return contextlib.nullcontext()
    return torch.autocast(runtime.device.type, runtime.autocast)


def build_scheduler(config: NoiseConfig) -> DDPMScheduler:
    """Return diffusers' scheduler of Ho et al. 2020: the forward process and its ancestral sampler, with x0 clipped to
    [-1, 1]."""
    return DDPMScheduler(
        num_train_timesteps=config.num_timesteps,
        beta_schedule=config.beta_schedule,
        prediction_type=config.prediction,
        clip_sample=True,
    )


@dataclass(frozen=True)
class Process:
    """The forward process x_t = signal[t] x0 + noise[t] eps (Ho et al. 2020, eq. 4).

    Attributes:
        prediction: What the network predicts: "epsilon", "sample" (x0) or "v_prediction".
        signal: float32 (T,) on one device, as are `noise` and `weight`.
        noise: float32 (T,).
        weight: float32 (T,), the weight of the squared error of the network's output. 1, or with min-SNR-gamma (Hang et
            al. 2023, section 3.4) min(SNR, gamma) for x0, that is min(SNR, gamma) / SNR for epsilon and
            min(SNR, gamma) / (SNR + 1) for v.
    """

    prediction: str
    signal: torch.Tensor
    noise: torch.Tensor
    weight: torch.Tensor

    def loss(self, network: Network, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the mean weighted squared error of a batch.

        Args:
            network: The network to evaluate.
            x0: float32 (n, 3, H, W), images in [-1, 1].
            eps: float32 (n, 3, H, W), their noise.
            t: int64 (n,), their timesteps.

        Returns:
            A scalar, with its graph for the gradient.
        """
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
        """Return the network's estimate of x0 from x_t, clipped to [-1, 1]; float32, of the shape of x."""
        steps = torch.full((len(x),), t, device=x.device)
        output = network(x, steps, return_dict=False)[0].float()
        signal, noise = self.signal[t], self.noise[t]
        if self.prediction == "epsilon":
            output = (x - noise * output) / signal
        elif self.prediction == "v_prediction":
            output = signal * x - noise * output
        return output.clamp(-1.0, 1.0)

    def predicted_noise(self, network: Network, x: torch.Tensor, t: int) -> torch.Tensor:
        """Return the network's estimate of eps from x_t, without clipping; float32, of the shape of x."""
        steps = torch.full((len(x),), t, device=x.device)
        output = network(x, steps, return_dict=False)[0].float()
        signal, noise = self.signal[t], self.noise[t]
        if self.prediction == "epsilon":
            return output
        if self.prediction == "v_prediction":
            return noise * x + signal * output
        return (x - signal * output) / noise


def build_process(config: NoiseConfig, device: torch.device) -> Process:
    """Return the forward process of `config` on a device."""
    alphas = build_scheduler(config).alphas_cumprod
    snr = alphas / (1 - alphas)
    weight = torch.ones_like(snr)
    if config.min_snr_gamma is not None:
        on_x0 = snr.clamp(max=config.min_snr_gamma)
        weight = {"sample": on_x0, "epsilon": on_x0 / snr, "v_prediction": on_x0 / (snr + 1)}[config.prediction]
    return Process(config.prediction, alphas.sqrt().to(device), (1 - alphas).sqrt().to(device), weight.to(device))


def _per_image(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]
