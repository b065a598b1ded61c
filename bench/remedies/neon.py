"""Neon: weights extrapolated away from self-training (Alemohammad et al. 2025, arXiv 2510.03597).

θ = (1 + w) θ_r − w θ_s, where θ_r are the trained weights and θ_s the weights after a short training on own samples.
Both are averaged weights (EMA), which samples are drawn from. Sampling costs no more than without the remedy.
"""

from dataclasses import dataclass

from bench.config import SelfTrainingConfig
from bench.options import option

VERSION = 1
VERB = "extrapolate"
NUM_NETWORKS = 1
CITATION = """@inproceedings{alemohammad2026neon,
  title     = {{Neon}: Negative Extrapolation From Self-Training Improves Image Generation},
  author    = {Alemohammad, Sina and Wang, Zhangyang and Baraniuk, Richard G.},
  booktitle = {International Conference on Learning Representations},
  year      = {2026},
}"""


@dataclass
class Config(SelfTrainingConfig):
    """Weights extrapolated away from self-training. weight: w of (1 + w) θ_r − w θ_s; 0 changes nothing."""

    name: str = "neon"
    weight: float = option(0.5, at_least=0)
