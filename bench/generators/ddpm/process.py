"""The forward process, from diffusers, and the loss and the denoiser that are defined on it."""

from dataclasses import dataclass

import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from bench.generators.ddpm.edm import EDMProcess
from bench.generators.ddpm.settings import NoiseConfig
from bench.generators.shared.risk_by_level import LEVELS
from bench.generators.shared.unet import Network


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
        signal: float32 (T,), the factor of x0, on the same device as `noise` and `weight`.
        noise: float32 (T,), the factor of eps.
        weight: float32 (T,), the weight of the squared error of the network's output. It is 1, or with min-SNR-gamma
            (Hang et al. 2023, section 3.4) min(SNR, gamma) for x0, min(SNR, gamma) / SNR for epsilon, and
            min(SNR, gamma) / (SNR + 1) for v.
    """

    prediction: str
    signal: torch.Tensor
    noise: torch.Tensor
    weight: torch.Tensor

    def times(self, u: torch.Tensor) -> torch.Tensor:
        """Return timesteps, int64 (n,), for uniform numbers in [0, 1], float32 (n,)."""
        num_timesteps = len(self.signal)
        return (u * num_timesteps).long().clamp(max=num_timesteps - 1)

    def levels(self) -> dict[str, int]:
        """Return the timesteps at which the risk is computed, by name: the midpoints of `LEVELS` equal ranges."""
        timesteps = [int((i + 0.5) * len(self.signal) / LEVELS) for i in range(LEVELS)]
        return {f"t{t}": t for t in timesteps}

    def noisy(self, x0: torch.Tensor, eps: torch.Tensor, t: int) -> torch.Tensor:
        """Return x_t for images and their noise, float32 of their shape."""
        return self.signal[t] * x0 + self.noise[t] * eps

    def loss(self, network: Network, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the mean weighted squared error over a batch.

        Args:
            network: The network to evaluate.
            x0: float32 (n, 3, H, W), images in [-1, 1].
            eps: float32 (n, 3, H, W), their noise.
            t: int64 (n,), their timesteps.

        Returns:
            A scalar that can be differentiated.
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


def build_process(config: NoiseConfig, device: torch.device) -> Process | EDMProcess:
    """Return the forward process of `config` on a device."""
    if config.prediction == "edm":
        return EDMProcess(config.edm)
    alphas = build_scheduler(config).alphas_cumprod
    snr = alphas / (1 - alphas)
    weight = torch.ones_like(snr)
    if config.min_snr_gamma is not None:
        on_x0 = snr.clamp(max=config.min_snr_gamma)
        weight = {"sample": on_x0, "epsilon": on_x0 / snr, "v_prediction": on_x0 / (snr + 1)}[config.prediction]
    return Process(config.prediction, alphas.sqrt().to(device), (1 - alphas).sqrt().to(device), weight.to(device))


def _per_image(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]
