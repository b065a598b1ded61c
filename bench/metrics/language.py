"""Word statistics of texts: distinct n-grams, repetition, Zipf's law, and the survival of rare words."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.metrics.shared.inputs import Inputs, Value
from bench.options import option

NEEDS = ("items",)
KINDS = ("tokens",)
VERSION = 1
LONGEST = 4
"""Largest n of the n-grams."""
DISTINCT = tuple(f"distinct_{n}" for n in range(1, LONGEST + 1))
METRICS = (*DISTINCT, "repetition", "zipf_exponent", "zipf_distance", "rare_survival")
LI = """@inproceedings{li2016diversity,
  title     = {A Diversity-Promoting Objective Function for Neural Conversation Models},
  author    = {Li, Jiwei and Galley, Michel and Brockett, Chris and Gao, Jianfeng and Dolan, Bill},
  booktitle = {Conference of the North American Chapter of the Association for Computational Linguistics},
  year      = {2016},
}"""
CITATION = {
    **dict.fromkeys(DISTINCT, LI),
    "repetition": """@inproceedings{welleck2020unlikelihood,
  title     = {Neural Text Generation with Unlikelihood Training},
  author    = {Welleck, Sean and Kulikov, Ilia and Roller, Stephen and Dinan, Emily and Cho, Kyunghyun and
               Weston, Jason},
  booktitle = {International Conference on Learning Representations},
  year      = {2020},
}""",
    "zipf_exponent": """@inproceedings{holtzman2020curious,
  title     = {The Curious Case of Neural Text Degeneration},
  author    = {Holtzman, Ari and Buys, Jan and Du, Li and Forbes, Maxwell and Choi, Yejin},
  booktitle = {International Conference on Learning Representations},
  year      = {2020},
}""",
}


@dataclass
class Config:
    """rare_mass: the largest share of all tokens of the reference that its rare words may make up together. The rare
    words are the least frequent words up to this share."""

    rare_mass: float = option(0.1, above=0, at_most=0.5)


def score(inputs: Inputs, config: Config) -> Iterator[Value]:
    """Yield `distinct_1` to `distinct_4` for n-grams of 1 to 4 tokens, `repetition` of 4-grams within an item,
    `zipf_exponent`, `zipf_distance` from the exponent of the reference, and `rare_survival`, the share of the rare
    words of the reference that occur in the subject."""
    from bench.metrics.shared import words

    assert inputs.items is not None
    subject, reference = (np.asarray(side) for side in inputs.items)
    for n, name in enumerate(DISTINCT, 1):
        if n <= subject.shape[1]:
            yield Value(name, words.distinct(subject, n), "none")
    if subject.shape[1] >= LONGEST:
        yield Value("repetition", words.repetition(subject, LONGEST), "none", {"n": LONGEST})
    own, real = words.zipf_exponent(subject), words.zipf_exponent(reference)
    if own is not None:
        yield Value("zipf_exponent", own, "none")
    if own is not None and real is not None:
        yield Value("zipf_distance", abs(own - real), "down")
    rare = words.rare_words(reference, config.rare_mass)
    survived = float(np.isin(rare, subject).mean())
    yield Value("rare_survival", survived, "up", {"mass": config.rare_mass}, {"num_rare": len(rare)})
