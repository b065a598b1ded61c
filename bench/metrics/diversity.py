"""Variety of the subject by itself: Vendi score (Friedman & Dieng 2023), entropy, near-duplicates."""

import math
from collections.abc import Iterator

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("features",)
VERSION = 5
METRICS = ("vendi", "vendi_distance", "entropy", "entropy_distance", "near_duplicate_rate")
CITATION = {
    "vendi": """@article{friedman2023vendi,
  title   = {The {Vendi} Score: A Diversity Evaluation Metric for Machine Learning},
  author  = {Friedman, Dan and Dieng, Adji Bousso},
  journal = {Transactions on Machine Learning Research},
  year    = {2023},
}""",
}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield `vendi`, `entropy`, the distances of both from the values of the reference, and `near_duplicate_rate`."""
    from bench.metrics.shared.variety import entropy_estimate, near_duplicate_rate, vendi_score

    subject, reference = inputs.points
    vendi, entropy = vendi_score(inputs.subject, inputs.device), entropy_estimate(subject, inputs.k)
    real_vendi, real_entropy = vendi_score(inputs.reference, inputs.device), entropy_estimate(reference, inputs.k)
    yield Value("vendi", vendi, "none")
    yield Value("vendi_distance", abs(math.log(vendi / real_vendi)), "down")
    yield Value("entropy", entropy, "none", {"k": inputs.k})
    yield Value("entropy_distance", abs(entropy - real_entropy), "down", {"k": inputs.k})
    yield Value("near_duplicate_rate", near_duplicate_rate(subject, reference), "down")
