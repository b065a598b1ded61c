"""SIMS: samples guided away from a model of own samples (Alemohammad et al. 2024, arXiv 2408.16333).

The score in every sampling step is (1 + ω) s_r − ω s_s, where s_r is the score of the trained model and s_s that of the
same model after a short training on own samples. Each evaluation takes two networks.
"""

from dataclasses import dataclass

from bench.config import SelfTrainingConfig
from bench.options import option

VERSION = 1
VERB = "guide"
NUM_NETWORKS = 2
CITATION = """@misc{alemohammad2024sims,
  title         = {Self-Improving Diffusion Models with Synthetic Data},
  author        = {Alemohammad, Sina and Humayun, Ahmed Imtiaz and Agarwal, Shruti and Collomosse, John and others},
  year          = {2024},
  eprint        = {2408.16333},
  archivePrefix = {arXiv},
}"""


@dataclass
class Config(SelfTrainingConfig):
    """Samples guided away from self-training. weight: ω of (1 + ω) s_r − ω s_s; 0 changes nothing."""

    name: str = "sims"
    weight: float = option(0.5, at_least=0)
