"""Only the previous generation's samples: MAD's fully synthetic loop (2307.01850); Martínez et al. (2306.06130)."""

from dataclasses import dataclass

from bench.composition import Composition
from bench.config import MixingConfig
from bench.mixing.shared.history import History
from bench.options import option

VERSION = 1
CITATION = """@misc{alemohammad2023mad,
  title         = {Self-Consuming Generative Models Go {MAD}},
  author        = {Alemohammad, Sina and Casco-Rodriguez, Josue and Luzi, Lorenzo and Humayun, Ahmed Imtiaz and
                   Babaei, Hossein and LeJeune, Daniel and Siahkoohi, Ali and Baraniuk, Richard G.},
  year          = {2023},
  eprint        = {2307.01850},
  archivePrefix = {arXiv},
}"""


@dataclass
class Config(MixingConfig):
    """Only the previous generation's samples. num_images: the number of samples; null: as many as generation 0 trains
    on."""

    policy: str = "replace"
    num_images: int | None = option(None, at_least=1)


def compose(history: History, num_images: int | None = None) -> Composition:
    """Return `num_images` samples of the previous generation; None: `budget` samples."""
    return Composition((history.draw(history.synthetic[-1], num_images or history.budget),))
