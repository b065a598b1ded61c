"""A watermark in the signs of the initial noise, read by inverting the deterministic sampler.

The key sets the signs at a share of the positions, which are drawn from the key; the magnitudes are not changed. Marked
noise is therefore distributed like normal noise that is conditioned on one orthant of these positions, as in Gaussian
Shading (Yang et al. 2024, arXiv 2404.04956) with one message for all samples. It is read as in Tree-Ring (Wen et al.
2023).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config import KeyedWatermarkConfig
from bench.options import option

if TYPE_CHECKING:
    import torch

VERSION = 1
CITATION = """@inproceedings{wen2023treering,
  title     = {{Tree-Ring} Watermarks: Fingerprints for Diffusion Images that are Invisible and Robust},
  author    = {Wen, Yuxin and Kirchenbauer, John and Geiping, Jonas and Goldstein, Tom},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2023},
}

@inproceedings{yang2024gaussian,
  title     = {{Gaussian Shading}: Provable Performance-Lossless Image Watermarking for Diffusion Models},
  author    = {Yang, Zijin and Zeng, Kai and Chen, Kejiang and Fang, Han and Zhang, Weiming and Yu, Nenghai},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2024},
}"""


@dataclass
class Config(KeyedWatermarkConfig):
    """A watermark in the signs of the initial noise. strength: the share of its positions whose sign the key sets."""

    name: str = "initial_noise"
    strength: float = option(1.0, above=0, at_most=1)


def signs(config: Config, key: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return which positions carry the mark, bool of `shape`, and the signs of the key, float32 of `shape`, 1 or −1."""
    rng = np.random.default_rng(key)
    size = int(np.prod(shape))
    marked = np.zeros(size, bool)
    marked[rng.permutation(size)[: max(1, round(config.strength * size))]] = True
    return marked.reshape(shape), rng.choice(np.array([-1, 1], np.float32), shape)


def mark_noise(config: Config, key: int, noise: "torch.Tensor") -> "torch.Tensor":
    """Return initial noise, float32 (n, 3, H, H), with the signs of the key at the marked positions."""
    import torch

    marked, wanted = (torch.from_numpy(a).to(noise.device) for a in signs(config, key, tuple(noise.shape[1:])))
    return torch.where(marked, noise.abs() * wanted, noise)


def scores(config: Config, key: int, items: Any, noise: np.ndarray) -> np.ndarray:
    """Return the share of the marked positions whose sign in the inverted noise agrees with the key, float64 (N,): 1/2
    on average without a mark. noise: float32 (N, 3, H, H), from inverting the sampler."""
    marked, wanted = signs(config, key, noise.shape[1:])
    return ((noise * wanted)[:, marked] > 0).mean(axis=1)
