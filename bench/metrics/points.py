"""A set of features made ready for comparisons with others: centred, and rounded to few bits for fast products."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

FEW = {"cpu": 128, "cuda": 16384}
"""Rows that are computed with in float64 at a time: on the CPU as many as stay in its cache (2 to 4 times faster than
1024)."""

INT8_MAX = 127


@dataclass(frozen=True, eq=False)
class Rough:
    """Vectors in few bits. values: (n, d), times scale (float32, (n, 1)) where there is one. lost: float64 (n,),
    squared norms of what they lack."""

    values: Tensor
    scale: Tensor | None
    lost: Tensor


@dataclass(frozen=True, eq=False)
class Points:
    """A set of features, ready to be compared with another of the same centre.

    features: float (n, d) as given, on the device. centre: float64 (d,). norms: float64 (n,), squared, of features -
    centre. known_own_distances: at most one tensor, what `neighbours.own_distances` has found.
    """

    features: Tensor
    centre: Tensor
    norms: Tensor
    known_own_distances: list[Tensor] = field(default_factory=list)
    _rough: dict[torch.dtype, Rough] = field(default_factory=dict)

    @staticmethod
    def of(
        features: np.ndarray,
        centre: np.ndarray,
        device: str | torch.device = "cpu",
        own_distances: np.ndarray | None = None,
    ) -> "Points":
        """features: float (n, d), possibly memory-mapped and not copied on the CPU; centre: float64 (d,).
        own_distances: what `own_distances` returned for these features earlier, where it is known."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor is it written
            values = torch.from_numpy(features).to(device)
        own = [] if own_distances is None else [torch.from_numpy(own_distances).to(device)]
        norms = torch.empty(len(values), dtype=torch.float64, device=device)
        points = Points(values, torch.from_numpy(centre).to(device), norms, own)
        for rows, x in points.centred():
            norms[rows] = x.square().sum(1)
        return points

    def __len__(self) -> int:
        return len(self.features)

    def centred(self) -> Iterator[tuple[slice, Tensor]]:
        """A few rows at a time, and these: features - centre in float64."""
        count = FEW[self.features.device.type]
        for start in range(0, len(self), count):
            rows = slice(start, start + count)
            yield rows, self.features[rows] - self.centre

    @property
    def spread(self) -> Tensor:
        """Mean squared distance to the set's own mean, float64 ()."""
        offset = self.features.mean(dim=0, dtype=torch.float64) - self.centre
        return self.norms.mean() - offset.square().sum()

    def rough(self, level: torch.dtype) -> Rough:
        """All, centred, in int8 or bf16. Made when it is first asked for."""
        if level not in self._rough:
            values = torch.empty_like(self.features, dtype=level)
            scale = torch.empty(len(self), 1, device=values.device) if level is torch.int8 else None
            lost = torch.empty_like(self.norms)
            eps, d = torch.finfo(torch.float32).eps, self.features.shape[1]
            for rows, exact in self.centred():
                x = exact.float()
                if scale is None:
                    values[rows] = x
                    x -= values[rows]
                else:
                    scale[rows] = (x.abs().amax(1, keepdim=True) / INT8_MAX).clamp_(min=torch.finfo(x.dtype).tiny)
                    values[rows] = (x / scale[rows]).round_()
                    x -= values[rows] * scale[rows]
                # what float32 has rounded, in x, in the difference and in the sum, may have been lost as well, and
                # what is too small for it
                lost[rows] = torch.linalg.vector_norm(x, dim=1) * (1 + d * eps) + 2 * eps * self.norms[rows].sqrt()
                lost[rows] += d * torch.finfo(x.dtype).tiny
            lost.square_()
            self._rough[level] = Rough(values, scale, lost)
        return self._rough[level]


Features = np.ndarray | Points


def paired(subject: Features, reference: Features, device: str | torch.device = "cpu") -> tuple[Points, Points]:
    """Both sets ready to be compared, centred on the reference's mean; as they are where both are `Points` already."""
    if isinstance(subject, Points) and isinstance(reference, Points):
        return subject, reference
    a, b = (x.features.cpu().numpy() if isinstance(x, Points) else x for x in (subject, reference))
    centre = b.mean(axis=0, dtype=np.float64)
    return Points.of(a, centre, device), Points.of(b, centre, device)
