"""The preconditioning of EDM (Karras et al. 2022): continuous noise x0 + σ eps, and a denoiser scaled by σ."""

from dataclasses import dataclass

import torch

from bench.generators.ddpm.settings import EDMConfig, SigmaConfig
from bench.generators.shared.normal_quantiles import normal_quantiles
from bench.generators.shared.risk_by_level import LEVELS
from bench.generators.shared.unet import Network


@dataclass(frozen=True)
class EDMProcess:
    """The process x0 + σ eps, and the denoiser D(x; σ) = c_skip x + c_out F(c_in x; c_noise) of a network F (eq. 7; the
    factors are those of table 1)."""

    config: EDMConfig

    def times(self, u: torch.Tensor) -> torch.Tensor:
        """Return log-normal σ, float32 (n,), for uniform numbers in [0, 1], float32 (n,)."""
        return (self.config.log_sigma_mean + self.config.log_sigma_deviation * normal_quantiles(u)).exp()

    def levels(self) -> dict[str, float]:
        """Return the σ at which the risk is computed, by name: the midpoints, in probability, of `LEVELS` equally
        likely parts of the training distribution."""
        sigmas = self.times((torch.arange(LEVELS) + 0.5) / LEVELS).tolist()
        return {f"sigma{sigma:.3g}": sigma for sigma in sigmas}

    def noisy(self, x0: torch.Tensor, eps: torch.Tensor, t: float) -> torch.Tensor:
        """Return images with noise of standard deviation t, float32 of the shape of x0."""
        return x0 + t * eps

    def loss(self, network: Network, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the mean of λ(σ) |D(x0 + σ eps; σ) - x0|² over a batch, with λ = 1 / c_out² (eq. 8).

        Args:
            network: The network to evaluate.
            x0: float32 (n, 3, H, W), images in [-1, 1].
            eps: float32 (n, 3, H, W), their noise.
            t: float32 (n,), their σ.

        Returns:
            A scalar that can be differentiated.
        """
        denoised = self._denoised(network, x0 + _per_image(t) * eps, t)
        weight = (t.square() + self.config.sigma_data**2) / (t * self.config.sigma_data).square()
        return ((denoised - x0).square().mean(dim=(1, 2, 3)) * weight).mean()

    def denoise(self, network: Network, x: torch.Tensor, t: float) -> torch.Tensor:
        """Return the network's estimate of x0, not clipped, from x with noise of standard deviation t; float32."""
        return self._denoised(network, x, torch.full((len(x),), t, device=x.device))

    def predicted_noise(self, network: Network, x: torch.Tensor, t: float) -> torch.Tensor:
        """Return the network's estimate of eps from x with noise of standard deviation t, float32 of the shape of x."""
        return (x - self.denoise(network, x, t)) / t

    def _denoised(self, network: Network, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        total = sigma.square() + self.config.sigma_data**2
        c_skip, c_out, c_in = (
            self.config.sigma_data**2 / total,
            sigma * self.config.sigma_data / total.sqrt(),
            total.rsqrt(),
        )
        output = network(_per_image(c_in) * x, sigma.log() / 4, return_dict=False)[0].float()
        return _per_image(c_skip) * x + _per_image(c_out) * output


def sigmas(config: SigmaConfig, num_steps: int) -> list[float]:
    """Return the σ of the sampling steps and the final 0, num_steps + 1 falling numbers (eq. 5)."""
    most, least = config.most ** (1 / config.rho), config.least ** (1 / config.rho)
    parts = [i / max(num_steps - 1, 1) for i in range(num_steps)]
    return [*((most + part * (least - most)) ** config.rho for part in parts), 0.0]


def _per_image(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]
