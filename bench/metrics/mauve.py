"""MAUVE (Pillutla et al. 2021): the area under the divergence frontier of two sets of quantised features.

The quantisation is the k-means of scikit-learn, which is in the optional extra `language`. The authors' package
mauve-text also accepts features, but it is under the GPL, needs faiss, and has had no release since July 2024. A test
compares the results with it if it is installed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from bench.errors import ConfigError
from bench.metrics.shared.inputs import Inputs, Value
from bench.options import option

NEEDS = ("features",)
COMPARISON = True
KINDS = ("tokens",)
VERSION = 1
METRICS = ("mauve",)
CITATION = {
    "mauve": """@inproceedings{pillutla2021mauve,
  title     = {{MAUVE}: Measuring the Gap Between Neural Text and Human Text using Divergence Frontiers},
  author    = {Pillutla, Krishna and Swayamdipta, Swabha and Zellers, Rowan and Thickstun, John and Welleck, Sean and
               Choi, Yejin and Harchaoui, Zaid},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2021},
}""",
}


@dataclass
class Config:
    """items_per_cluster: the number of clusters of both sets together is N divided by this number. scale: c, the factor
    of the divergences."""

    items_per_cluster: int = option(10, at_least=2)
    scale: float = option(5.0, above=0)

    def validate(self) -> None:
        if find_spec("sklearn") is None:
            hint = "mauve needs the package scikit-learn: pip install 'diffusion-collapse-bench[language]'"
            raise ConfigError("items_per_cluster", self.items_per_cluster, hint)


def score(inputs: Inputs, config: Config) -> Iterator[Value]:
    """Yield `mauve`, in (0, 1]; equal distributions have 1."""
    from bench.metrics.shared.divergence_frontier import cluster_shares, mauve

    k = max(2, round(len(inputs.subject) / config.items_per_cluster))
    value = mauve(*cluster_shares(inputs.subject, inputs.reference, k), config.scale)
    yield Value("mauve", value, "up", {"num_clusters": k, "scale": config.scale})
