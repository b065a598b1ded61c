"""Kernel distance between two sets of features: KID (Bińkowski et al. 2018)."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.metrics.shared.inputs import Inputs, Value
from bench.options import option

NEEDS = ("features",)
COMPARISON = True
OWN_SPREAD = True
VERSION = 4
METRICS = ("kid",)
CITATION = {
    "kid": """@inproceedings{binkowski2018kid,
  title     = {Demystifying {MMD} {GANs}},
  author    = {Bi{\\'n}kowski, Miko{\\l}aj and Sutherland, Danica J. and Arbel, Michael and Gretton, Arthur},
  booktitle = {International Conference on Learning Representations},
  year      = {2018},
}""",
}


@dataclass
class Config:
    """num_subsets: number of random subsets over which the estimate is averaged. subset_size: number of items per
    subset, reduced to N / 2 if it is larger."""

    num_subsets: int = option(100, at_least=2)
    subset_size: int = option(1000, at_least=2)


def score(inputs: Inputs, config: Config) -> Iterator[Value]:
    """Yield `kid`, with its standard deviation over the subsets."""
    from bench.metrics.shared.kernel_distance import kernel_distance

    size = max(min(config.subset_size, len(inputs.subject) // 2), 2)  # larger subsets would overlap too much to differ
    result = kernel_distance(inputs.subject, inputs.reference, config.num_subsets, size, device=inputs.device)
    parameters = {"num_subsets": config.num_subsets, "subset_size": size}
    yield Value("kid", result.mean, "down", parameters, {"subset_sd": result.sd})
