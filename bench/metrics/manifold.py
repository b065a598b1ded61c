"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020): the share of each set that
lies on the k-NN manifold of the other."""

from collections.abc import Iterator

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("features",)
COMPARISON = True
VERSION = 4
METRICS = ("precision", "recall", "density", "coverage")
KYNKAANNIEMI = """@inproceedings{kynkaanniemi2019precision,
  title     = {Improved Precision and Recall Metric for Assessing Generative Models},
  author    = {Kynk{\\"a}{\\"a}nniemi, Tuomas and Karras, Tero and Laine, Samuli and Lehtinen, Jaakko and Aila, Timo},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019},
}"""
NAEEM = """@inproceedings{naeem2020reliable,
  title     = {Reliable Fidelity and Diversity Metrics for Generative Models},
  author    = {Naeem, Muhammad Ferjad and Oh, Seong Joon and Uh, Youngjung and Choi, Yunjey and Yoo, Jaejun},
  booktitle = {International Conference on Machine Learning},
  year      = {2020},
}"""
CITATION = {"precision": KYNKAANNIEMI, "recall": KYNKAANNIEMI, "density": NAEEM, "coverage": NAEEM}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield `precision`, `recall`, `density` and `coverage`."""
    from bench.metrics.shared.precision_recall import manifold_scores

    result = manifold_scores(*inputs.points, inputs.k)
    for metric in ("precision", "recall", "density", "coverage"):
        yield Value(metric, getattr(result, metric), "up", {"k": inputs.k})
