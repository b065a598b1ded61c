"""How varied the subject is by itself: Vendi score (Friedman & Dieng 2023), entropy, near-duplicates."""

from collections.abc import Iterator

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("features",)
VERSION = 4
CITATION = {
    "vendi": """@article{friedman2023vendi,
  title   = {The {Vendi} Score: A Diversity Evaluation Metric for Machine Learning},
  author  = {Friedman, Dan and Dieng, Adji Bousso},
  journal = {Transactions on Machine Learning Research},
  year    = {2023},
}""",
}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield `vendi`, `entropy` and `near_duplicate_rate`."""
    from bench.metrics.shared.variety import entropy_estimate, near_duplicate_rate, vendi_score

    subject, reference = inputs.points
    yield Value("vendi", vendi_score(inputs.subject, inputs.device), "up")
    yield Value("entropy", entropy_estimate(subject, inputs.k), "up", {"k": inputs.k})
    yield Value("near_duplicate_rate", near_duplicate_rate(subject, reference), "down")
