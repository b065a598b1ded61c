"""The straight path from an image to noise, and the velocity along it."""

from dataclasses import dataclass

import torch

from bench.generators.flow.settings import TimeConfig
from bench.generators.shared.normal_quantiles import normal_quantiles
from bench.generators.shared.risk_by_level import LEVELS
from bench.generators.shared.unet import Network

SCALE = 1000
"""Factor of the times that the network gets, 1000 t, as in diffusers' flow schedulers. Its embedding of times is
designed for integer timesteps."""


@dataclass(frozen=True)
class FlowProcess:
    """The path x_t = (1 - t) x0 + t eps for t from 0 to 1, whose velocity eps - x0 the network learns (Lipman et al.
    2023; Liu et al. 2023, eq. 1). In both papers time runs in the opposite direction."""

    config: TimeConfig

    def times(self, u: torch.Tensor) -> torch.Tensor:
        """Return the training times, float32 (n,), for uniform numbers in [0, 1], float32 (n,)."""
        if self.config.distribution == "uniform":
            return u
        return (self.config.mean + self.config.deviation * normal_quantiles(u)).sigmoid()

    def levels(self) -> dict[str, float]:
        """Return the times at which the risk is computed, by name: the midpoints of equal parts of the path."""
        times = [(i + 0.5) / LEVELS for i in range(LEVELS)]
        return {f"t{t:g}": t for t in times}

    def loss(self, network: Network, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the velocity over a batch.

        Args:
            network: The network to evaluate.
            x0: float32 (n, 3, H, W), images in [-1, 1].
            eps: float32 (n, 3, H, W), their noise.
            t: float32 (n,), their times.

        Returns:
            A scalar that can be differentiated.
        """
        part = t[:, None, None, None]
        output = network((1 - part) * x0 + part * eps, SCALE * t, return_dict=False)[0].float()
        return (output - (eps - x0)).square().mean()

    def velocity(self, network: Network, x: torch.Tensor, t: float) -> torch.Tensor:
        """Return the network's velocity at x and time t, float32 of the shape of x."""
        return network(x, torch.full((len(x),), SCALE * t, device=x.device), return_dict=False)[0].float()

    def errors(self, network: Network, x0: torch.Tensor, eps: torch.Tensor, t: float) -> torch.Tensor:
        """Return the error of the network's velocity at time t from images to their noise, float32 of their shape."""
        return self.velocity(network, (1 - t) * x0 + t * eps, t) - (eps - x0)
