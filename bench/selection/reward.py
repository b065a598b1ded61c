"""Curation by a reward: it models people who keep the sample that they like best of a few (Ferbach et al. 2407.09499).

The reward is the log probability that a classifier of real items gives to one class, such as a colour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.config import SelectionConfig
from bench.errors import ConfigError
from bench.options import option

if TYPE_CHECKING:
    from bench.selection import Candidates

VERSION = 1
NEEDS = ("features",)
CITATION = """@inproceedings{ferbach2024curated,
  title     = {Self-Consuming Generative Models with Curated Data Provably Optimize Human Preferences},
  author    = {Ferbach, Damien and Bertrand, Quentin and Bose, Avishek Joey and Gidel, Gauthier},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2024},
}"""


@dataclass
class Config(SelectionConfig):
    """Keep one candidate of each group, with a probability that grows with its reward. attribute, class_name: an
    attribute and one of its classes, from the labels of the real items; the reward is the log probability of this
    class. temperature: the weight of a candidate is exp(reward / temperature), which at 1 is a Bradley–Terry choice as
    in Ferbach et al. 2024; 0: the candidate with the largest reward is kept."""

    name: str = "reward"
    num_candidates: int = option(at_least=1)
    attribute: str = option()
    class_name: str = option()
    temperature: float = option(1.0, at_least=0)


def check(config: Config, label_names: Mapping[str, list[str]]) -> None:
    """Raise `ConfigError` if the labels of the real items do not have the attribute or the class."""
    if config.attribute not in label_names:
        allowed = ", ".join(label_names) or "none: the data have no labels"
        raise ConfigError("selection.attribute", config.attribute, f"must be one of {allowed}")
    if config.class_name not in label_names[config.attribute]:
        allowed = ", ".join(label_names[config.attribute])
        raise ConfigError("selection.class_name", config.class_name, f"must be one of {allowed}")


def keep(candidates: "Candidates", attribute: str, class_name: str, temperature: float) -> np.ndarray:
    """Return one row from each of `num_kept` random groups of nearly equal size. Parameters are those of `Config`."""
    features, n = candidates.features, candidates.num_kept
    assert features is not None
    names = features.label_names[attribute]
    classifier = features.fit(features.of_real, features.labels[attribute], len(names))
    rewards = classifier.log_probabilities(features.of_candidates)[:, names.index(class_name)]
    if temperature > 0:  # the largest of rewards / temperature + Gumbel noise is a draw from the softmax
        rewards = rewards / temperature + candidates.rng.gumbel(size=len(rewards))
    groups = np.array_split(candidates.rng.permutation(len(rewards)), n)
    return np.array([group[np.argmax(rewards[group])] for group in groups])
